"""Class activation maps: pictures, errors first, and the scores of the maps."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from stages.explain.sheets import draw_side_by_side
from stages.reporting.discussion import METHOD_NAMES
from stages.reporting.html_table import (
    Cell,
    Table,
    case_cell,
    figure_cell,
    interval_cell,
    label,
    text_cell,
)
from stages.reporting.results import CaseResults, Results

Json = dict[str, Any]

SIDE_PX = 240  # an overlay of `cam` with its caption and scale is smaller, and stays sharp
QUALITY = 60  # of WebP, 0 to 100; noise is most of an image's bytes
BASELINES = {"constant": "a constant map", "gaussian": "a centred Gaussian"}
CHECK_COLUMNS = {"head": "head random", "all": "all weights random"}
SELECTED_AS = {"drawn": "drawn at random", "error": "confident error", "uncertain": "uncertain"}


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

    case: str
    summary: str
    images: list[Shown]


def build_galleries(results: Results, cases: Sequence[str]) -> list[Gallery]:
    """One gallery per case."""
    return [_gallery(case, results.cases[case], results.params.cam.methods) for case in cases]


def _gallery(case: str, found: CaseResults, methods: Sequence[str]) -> Gallery:
    images = sorted(found.cam["images"], key=lambda image: image["label"] == image["prediction"])
    shown = [_show(image, found.maps, methods) for image in images]
    errors = sum(image.is_error for image in shown)
    return Gallery(case, f"{case}: {len(shown)} test images, {errors} of them errors", shown)


def _show(image: Json, folder: Path, methods: Sequence[str]) -> Shown:
    is_error = bool(image["label"] != image["prediction"])
    selected = ", ".join(SELECTED_AS[reason] for reason in image["selected_as"])
    return Shown(
        is_error,
        f"{'Error: ' if is_error else ''}true {image['label']}, predicted {image['prediction']} "
        f"{image['probability']:.2f}",
        [f"{image['image_id']}, {selected}"]
        + [f"{METHOD_NAMES[method]}: {_score_text(image[method])}" for method in methods],
        [
            Picture(METHOD_NAMES[method], encode(folder / method / f"{image['image_id']}.png"))
            for method in methods
        ],
    )


def _score_text(scores: Json) -> str:
    """Where a map lies, and how large that part of the image is."""
    parts = [
        f"{_percent(scores[f'in_{part}'])} in the {part} ({_percent(scores[f'{part}_area'])} of "
        "the image)"
        for part in ("lungs", "lesions")
        if f"in_{part}" in scores
    ]
    if "peak_in_lesions" in scores:
        parts.append(f"{_percent(scores['peak_in_lesions'])} of its peak in the lesions")
    return ", ".join(parts)


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.0%}"


def draw_sheets(results: Results) -> dict[str, Image.Image]:
    """Per data set that has cases, the same test images as all of its cases see them."""
    return {
        dataset: _draw_sheet(results, cases)
        for dataset in results.datasets
        if (cases := results.cases_of(dataset))
    }


def _draw_sheet(results: Results, cases: Sequence[str]) -> Image.Image:
    """The images that all of these cases explain, drawn with the seed, by the first method."""
    method = results.params.cam.methods[0]
    drawn = [
        [image["image_id"] for image in results.cases[case].cam["images"] if _is_drawn(image)]
        for case in cases
    ]
    common = [image_id for image_id in drawn[0] if all(image_id in ids for ids in drawn)]
    return draw_side_by_side({case: results.cases[case].maps / method for case in cases}, common)


def _is_drawn(image: Json) -> bool:
    return "drawn" in image["selected_as"]


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


def build_score_table(results: Results, cases: Sequence[str]) -> Table:
    """Mean scores of the maps of each case and method, and of maps that look at nothing."""
    summaries = {case: results.cases[case].cam["summary"] for case in cases}
    scores = _keys(found for summary in summaries.values() for found in summary.values())
    masks = sorted({results.cases[case].cam["lung_masks"] for case in cases})
    return Table(
        "Scores of the maps: means over the images drawn at random, those of lesions over the "
        f"right predictions among them. Lungs from: {' and '.join(masks)}",
        ["case", "map", "target layer", *(label(score) for score in scores)],
        [
            [
                case_cell(results, case),
                text_cell(METHOD_NAMES.get(method) or BASELINES[method]),
                text_cell(results.cases[case].cam["target_layer"]),
                *(_mean_cell(found.get(score)) for score in scores),
            ]
            for case, summary in summaries.items()
            for method, found in summary.items()
        ],
    )


def build_check_tables(results: Results, cases: Sequence[str]) -> list[Table]:
    """Agreement of the methods, randomised weights and ROAD, as far as the cases have them."""
    captions = {
        "agreement": "Agreement of two methods: rank correlation of their maps",
        "randomisation": "Maps of the same network with random weights: rank correlation with its "
        "own (a map that explains the network must change; Adebayo et al. 2018)",
        "road": "ROAD: change of the class's probability as pixels are removed, the most and the "
        "least relevant first; combined: half the difference, the higher the better (Rong et al. "
        "2022)",
    }
    return [
        _check_table(results, cases, check, caption)
        for check, caption in captions.items()
        if any(results.cases[case].cam[check] for case in cases)
    ]


def _check_table(results: Results, cases: Sequence[str], check: str, caption: str) -> Table:
    found = {
        (case, name): {"mean": entry} if "mean" in entry else entry
        for case in cases
        for name, entry in results.cases[case].cam[check].items()
    }
    columns = [column for column in _keys(found.values()) if column != "n"]
    return Table(
        caption,
        ["case", "map", *(CHECK_COLUMNS.get(column, label(column)) for column in columns)],
        [
            [
                case_cell(results, case),
                text_cell(_method_text(name)),
                *(_mean_cell(entry.get(column)) for column in columns),
            ]
            for (case, name), entry in found.items()
        ],
    )


def _mean_cell(figure: Json | None) -> Cell:
    """A mean over its interval and the number of images that it rests on."""
    if figure is None:
        return figure_cell(None)
    cell = interval_cell(figure, "mean", ("low", "high"))
    return cell._replace(note=f"{cell.note}; n = {figure['n']}".lstrip("; "))


def name_not_class_specific(results: Results, cases: Sequence[str]) -> str:
    """The methods whose maps are the same for every class, in words."""
    methods = _keys(dict.fromkeys(results.cases[case].cam["not_class_specific"]) for case in cases)
    return ", ".join(METHOD_NAMES[method] for method in methods)


def _method_text(name: str) -> str:
    """The methods' names, as in `gradcam v eigencam`."""
    return " v ".join(METHOD_NAMES.get(part, label(part)) for part in name.split(" v "))


def _keys(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys, in the order in which they first come."""
    return list(dict.fromkeys(key for entry in entries for key in entry))
