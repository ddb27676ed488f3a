"""Test images with their maps: errors first, what is known of each, and all cases side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from PIL import Image

from stages.config.text import visible
from stages.dataset.predictions import load_predictions, probability_columns
from stages.explain.overlay import NOT_CLASS_SPECIFIC
from stages.explain.sheets import draw_side_by_side
from stages.reporting.map_documents import ExplainedImage, MapScores
from stages.reporting.picture_store import Picture, PictureStore
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.shortcuts import probe_label
from stages.reporting.wording import METHOD_NAMES, percent

DRAWN = "drawn"
SELECTED_AS = {DRAWN: "drawn at random", "error": "confident error", "uncertain": "uncertain"}
RIGHT = "right"
FALSE_POSITIVE, FALSE_NEGATIVE, CONFUSION = "false positive", "false negative", "confusion"
KINDS = {
    FALSE_POSITIVE: "false positives",
    FALSE_NEGATIVE: "false negatives",
    CONFUSION: "confusions of other classes",
    RIGHT: "right decisions",
}
# By the probability of the decision, from so much on.
CERTAINTIES = {"sure": 0.9, "fairly sure": 0.7, "unsure": 0.0}


class Panel(NamedTuple):
    """One picture of a test image, and what stands below it."""

    title: str
    picture: Picture


class Shown(NamedTuple):
    """One test image of the gallery.

    Attributes:
        kind: of the decision, a key of KINDS.
        label: the true class.
        certainty: a key of CERTAINTIES.
        title: true class, decision and its probability.
        lines: what is known of the image and of its maps.
        warnings: what of it may be due to a shortcut.
        panels: the original, and a map of each method.
    """

    kind: str
    label: str
    certainty: str
    title: str
    lines: list[str]
    warnings: list[str]
    panels: list[Panel]

    @property
    def is_error(self) -> bool:
        """Whether the decision is wrong."""
        return self.kind != RIGHT


class Gallery(NamedTuple):
    """The images of one case, errors first."""

    case: str
    title: str
    summary: str
    images: list[Shown]


class SideBySideRow(NamedTuple):
    """An image: what it is, the original, and of each case the map above its decision."""

    title: str
    original: Picture
    panels: list[Panel]


class SideBySide(NamedTuple):
    """The same images as several cases see them: a column per case."""

    cases: list[str]
    rows: list[SideBySideRow]


def build_gallery(
    case: CaseResults, dataset: DatasetResults, methods: Sequence[str], store: PictureStore
) -> Gallery:
    """The images of one case, errors first.

    Args:
        case: one of the data set's.
        dataset: what is known of the images.
        methods: of maps, in the order in which they are shown.
        store: takes the pictures.
    """
    images = sorted(case.cam.images, key=lambda image: not image.is_error)
    errors = sum(image.is_error for image in images)
    probe = _what_the_shortcut_says(case, dataset)
    return Gallery(
        case.name,
        case.title,
        f"{case.title}: {len(images)} test images, {errors} of them errors",
        [_show(image, case, dataset, methods, probe, store) for image in images],
    )


def _show(
    image: ExplainedImage,
    case: CaseResults,
    dataset: DatasetResults,
    methods: Sequence[str],
    probe: Mapping[str, tuple[str, float]],
    store: PictureStore,
) -> Shown:
    return Shown(
        kind=find_kind(image, dataset.info.positive),
        label=image.label,
        certainty=_find_certainty(image.probability),
        title=f"{'Error: ' if image.is_error else ''}true {image.label}, predicted "
        f"{image.prediction} {image.probability:.2f}",
        lines=[
            *_describe_image(image, dataset),
            *(f"{METHOD_NAMES[m]}: {_describe_map(image.maps[m])}" for m in methods),
        ],
        warnings=[*_shortcut_warnings(image, case, dataset, probe, methods[0])],
        panels=[
            Panel("original", store.add_original(dataset, image.image_id)),
            *(Panel(_name_map(m, image), add_map(case, dataset, m, image, store)) for m in methods),
        ],
    )


def add_map(
    case: CaseResults,
    dataset: DatasetResults,
    method: str,
    image: ExplainedImage,
    store: PictureStore,
) -> Picture:
    """The map of an image by one method, in the store."""
    path = case.maps / method / f"{image.image_id}.png"
    return store.add_overlay(dataset, image.image_id, path)


def find_kind(image: ExplainedImage, positive: str) -> str:
    """What the decision is, by the positive class: a key of KINDS."""
    if not image.is_error:
        return RIGHT
    if image.prediction == positive:
        return FALSE_POSITIVE
    return FALSE_NEGATIVE if image.label == positive else CONFUSION


def _find_certainty(probability: float) -> str:
    return next(name for name, least in CERTAINTIES.items() if probability >= least)


def _name_map(method: str, image: ExplainedImage) -> str:
    """Of what the map is evidence."""
    evidence = "any class" if method in NOT_CLASS_SPECIFIC else f"for {image.prediction}"
    return f"{METHOD_NAMES[method]}, {evidence}"


def _describe_image(image: ExplainedImage, dataset: DatasetResults) -> Iterator[str]:
    """Its file, whose it is, why it is here."""
    facts = dataset.facts_of(image.image_id)
    selected = ", ".join(SELECTED_AS[reason] for reason in image.selected_as)
    yield f"{image.image_id}, {selected}"
    yield f"file {visible(facts['source_path'])}; patient group {facts['group_id']}"
    if facts["subgroup"]:
        yield f"stratum {facts['subgroup']}"


def _describe_map(scores: MapScores) -> str:
    """Where a map lies, and how large that part of the image is."""
    parts = [
        f"{percent(found.share)} in the {region} ({percent(found.area)} of the image)"
        for region, found in scores.regions.items()
    ]
    if scores.peak_in_lesions is not None:
        parts.append(f"{percent(scores.peak_in_lesions)} of its peak in the lesions")
    return ", ".join(parts)


def _what_the_shortcut_says(
    case: CaseResults, dataset: DatasetResults
) -> dict[str, tuple[str, float]]:
    """By image, the decision of the best shortcut of the case's view, and its probability."""
    view = case.settings.view
    said = load_predictions(dataset.probes[view])
    said = said[said["probe"] == dataset.audits[view].best_shortcut]
    probabilities = said[probability_columns(dataset.info.class_names)].max(axis=1)
    decisions = zip(said["prediction"], probabilities, strict=True)
    return dict(zip(said["image_id"], decisions, strict=True))


def _shortcut_warnings(
    image: ExplainedImage,
    case: CaseResults,
    dataset: DatasetResults,
    probe: Mapping[str, tuple[str, float]],
    method: str,
) -> Iterator[str]:
    """That a shortcut decides alike, that a map is no more in the lungs than by chance, a leak."""
    decision, probability = probe[image.image_id]
    if decision == image.prediction:
        shortcut = probe_label(dataset.audits[case.settings.view].best_shortcut)
        yield f"the best shortcut ({shortcut}) alone says {decision} too, {probability:.2f}"
    lungs = image.maps[method].regions.get("lungs")
    if lungs and lungs.share is not None and lungs.share <= lungs.area:
        yield f"{METHOD_NAMES[method]} is no more in the lungs than a map that looks at nothing"
    if dataset.facts_of(image.image_id)["group_id"] in dataset.grouping.leaks:
        yield "its patient group stands in more than one split"


def build_side_by_side(dataset: DatasetResults, method: str, store: PictureStore) -> SideBySide:
    """The images that all cases of the sheet explain; their pictures are those of the galleries."""
    cases = _cases_of_sheet(dataset.cases)
    by_id = [{image.image_id: image for image in case.cam.images} for case in cases]
    rows = [
        SideBySideRow(
            f"{image_id}, true {by_id[0][image_id].label}",
            store.add_original(dataset, image_id),
            [
                Panel(
                    _describe_decision(images[image_id]),
                    add_map(case, dataset, method, images[image_id], store),
                )
                for case, images in zip(cases, by_id, strict=True)
            ],
        )
        for image_id in _common_images(cases)
    ]
    return SideBySide([case.title for case in cases], rows)


def _describe_decision(image: ExplainedImage) -> str:
    said = f"{image.prediction} {image.probability:.2f}"
    return f"Error: {said}" if image.is_error else said


def draw_sheets(results: Results) -> dict[str, Image.Image]:
    """Per data set that has cases, the same test images as all of its cases see them."""
    method = results.params.cam.methods[0]
    return {
        name: _draw_sheet(_cases_of_sheet(dataset.cases), method)
        for name, dataset in results.datasets.items()
        if dataset.cases
    }


def _draw_sheet(cases: Sequence[CaseResults], method: str) -> Image.Image:
    return draw_side_by_side(
        {case.name: case.maps / method for case in cases}, _common_images(cases)
    )


def _cases_of_sheet(cases: Sequence[CaseResults]) -> Sequence[CaseResults]:
    """Optimistic cases may test others, and stand aside unless there is nothing else."""
    return [case for case in cases if not case.is_optimistic] or cases


def _common_images(cases: Sequence[CaseResults]) -> list[str]:
    """The images that all of these cases explain, drawn with the seed."""
    drawn = [
        [image.image_id for image in case.cam.images if DRAWN in image.selected_as]
        for case in cases
    ]
    return [image_id for image_id in drawn[0] if all(image_id in ids for ids in drawn)]
