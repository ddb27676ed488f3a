"""Class activation maps as pictures: errors first, and all cases side by side."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from stages.explain.sheets import draw_side_by_side
from stages.reporting.map_documents import ExplainedImage, MapScores
from stages.reporting.results import CaseResults, Results
from stages.reporting.wording import METHOD_NAMES, percent

SIDE_PX = 240  # an overlay of `cam` with its caption and scale is smaller, and stays sharp
QUALITY = 60  # of WebP, 0 to 100; noise is most of an image's bytes
DRAWN = "drawn"
SELECTED_AS = {DRAWN: "drawn at random", "error": "confident error", "uncertain": "uncertain"}


class Picture(NamedTuple):
    """An overlay: of which method, and as a data URI."""

    method: str
    uri: str


class Shown(NamedTuple):
    """One test image of the gallery."""

    is_error: bool
    title: str
    lines: list[str]
    pictures: list[Picture]


class Gallery(NamedTuple):
    """The images of one case, errors first."""

    summary: str
    images: list[Shown]


def build_gallery(case: CaseResults, methods: Sequence[str]) -> Gallery:
    """The images of one case, errors first."""
    images = sorted(case.cam.images, key=lambda image: not image.is_error)
    errors = sum(image.is_error for image in images)
    return Gallery(
        f"{case.title}: {len(images)} test images, {errors} of them errors",
        [_show(image, case.maps, methods) for image in images],
    )


def _show(image: ExplainedImage, folder: Path, methods: Sequence[str]) -> Shown:
    selected = ", ".join(SELECTED_AS[reason] for reason in image.selected_as)
    return Shown(
        image.is_error,
        f"{'Error: ' if image.is_error else ''}true {image.label}, predicted {image.prediction} "
        f"{image.probability:.2f}",
        [f"{image.image_id}, {selected}"]
        + [f"{METHOD_NAMES[method]}: {_describe_map(image.maps[method])}" for method in methods],
        [
            Picture(METHOD_NAMES[method], encode(folder / method / f"{image.image_id}.png"))
            for method in methods
        ],
    )


def _describe_map(scores: MapScores) -> str:
    """Where a map lies, and how large that part of the image is."""
    parts = [
        f"{percent(found.share)} in the {region} ({percent(found.area)} of the image)"
        for region, found in scores.regions.items()
    ]
    if scores.peak_in_lesions is not None:
        parts.append(f"{percent(scores.peak_in_lesions)} of its peak in the lesions")
    return ", ".join(parts)


def draw_sheets(results: Results) -> dict[str, Image.Image]:
    """Per data set that has cases, the same test images as all of its cases see them."""
    method = results.params.cam.methods[0]
    return {
        name: _draw_sheet(dataset.cases, method)
        for name, dataset in results.datasets.items()
        if dataset.cases
    }


def _draw_sheet(cases: Sequence[CaseResults], method: str) -> Image.Image:
    """The images that all of these cases explain, drawn with the seed.

    Optimistic cases may test others, and stand aside unless there is nothing else.
    """
    cases = [case for case in cases if not case.is_optimistic] or cases
    drawn = [
        [image.image_id for image in case.cam.images if DRAWN in image.selected_as]
        for case in cases
    ]
    common = [image_id for image_id in drawn[0] if all(image_id in ids for ids in drawn)]
    return draw_side_by_side({case.name: case.maps / method for case in cases}, common)


def encode(path: Path) -> str:
    """A picture, at most SIDE_PX wide and high, as a data URI."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return to_uri(picture)


def to_uri(picture: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
