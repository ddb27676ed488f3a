"""Cohorts of phantoms: how many patients of which class, and the images of each."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from stages.config.errors import UserError
from stages.sources.item import RawImage, SourceItem
from stages.phantoms.ct import LOUD_SCANNER, draw_ct
from stages.phantoms.picture import Phantom
from stages.phantoms.xray import draw_xray

PHANTOM_CLASSES: dict[str, tuple[str, ...]] = {
    "ct": ("covid", "normal"),
    "ct_b": ("covid", "normal"),
    "xray": ("infected", "normal"),
    "xray3": ("covid", "pneumonia", "normal"),
}
_DRAW: dict[str, Callable[..., Phantom]] = {
    "ct": draw_ct,
    "ct_b": partial(draw_ct, scanner=LOUD_SCANNER),
    "xray": draw_xray,
    "xray3": draw_xray,
}
# The lesion patterns of a class; a patient has one of them.
_CLASS_PATTERNS = {
    "covid": ("ground_glass",),
    "pneumonia": ("consolidation",),
    "infected": ("ground_glass", "consolidation"),
    "normal": ("none",),
}


@dataclass(frozen=True)
class _Recipe:
    """All that one image depends on; drawing it twice gives the same bytes.

    Attributes:
        kind: a key of PHANTOM_CLASSES.
        label: class of the patient.
        patient: number of the patient, unique over the classes.
        number: number of the image of this patient.
        marker_share: chance of a marker in an image of this class.
        size_px: nominal side in pixels.
        seed: seed of the cohort.
    """

    kind: str
    label: str
    patient: int
    number: int
    marker_share: float
    size_px: int
    seed: int

    @property
    def patient_id(self) -> str:
        """Identifier of the patient, for instance p0012."""
        return f"p{self.patient:04d}"

    @property
    def has_marker(self) -> bool:
        """Whether this image has a marker: one throw per image, the same for any share."""
        return bool(self._stream("marker", self.number).random() < self.marker_share)

    def draw(self) -> RawImage:
        """The image as PNG bytes with its truth mask."""
        patterns = _CLASS_PATTERNS[self.label]
        pattern = patterns[int(self._stream("pattern").integers(len(patterns)))]
        phantom = _DRAW[self.kind](
            pattern,
            self._stream("patient"),
            self._stream("image", self.number),
            size_px=self.size_px,
            marker=self.has_marker,
        )
        return RawImage(_encode_png(phantom), phantom.truth)

    def _stream(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Random numbers of one purpose, independent of all other images and purposes."""
        words = f"{self.kind}/{purpose}".encode()
        key = (*words, self.patient, *numbers)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def phantom_items(
    kind: str,
    *,
    patients: Mapping[str, int],
    images_per_patient: int,
    marker_share: Mapping[str, float],
    size_px: int,
    seed: int,
) -> list[SourceItem]:
    """The images of a phantom cohort, each drawn when it is read.

    An image depends on the kind, the seed, its size, its patient and its number only, not on how
    many others there are.

    Args:
        kind: a key of PHANTOM_CLASSES.
        patients: number of patients of each class; a class left out has none.
        images_per_patient: images of each patient.
        marker_share: chance in [0, 1] of a planted marker, per class; 0 for a class left out.
        size_px: nominal side in pixels, at least 48.
        seed: seed of the cohort, 0 or more.

    Raises:
        UserError: unknown kind or class, or a number out of range.
    """
    classes = _classes_of(kind)
    _check_labels("patients", patients, kind)
    _check_labels("marker_share", marker_share, kind)
    _check_numbers(kind, patients, images_per_patient, marker_share, size_px, seed)
    return [
        _to_item(
            _Recipe(
                kind=kind,
                label=label,
                # Classes take turns, so that more patients of one class renumber no other.
                patient=index * len(classes) + position,
                number=number,
                marker_share=marker_share.get(label, 0.0),
                size_px=size_px,
                seed=seed,
            )
        )
        for position, label in enumerate(classes)
        for index in range(patients.get(label, 0))
        for number in range(images_per_patient)
    ]


def _to_item(recipe: _Recipe) -> SourceItem:
    return SourceItem(
        source_path=f"{recipe.label}/{recipe.patient_id}-{recipe.number:02d}.png",
        label=recipe.label,
        split=None,
        patient_id=recipe.patient_id,
        subgroup="marker" if recipe.has_marker else "no-marker",
        read=recipe.draw,
    )


def _encode_png(phantom: Phantom) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(phantom.image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _classes_of(kind: str) -> tuple[str, ...]:
    if kind not in PHANTOM_CLASSES:
        raise UserError(
            f"phantoms: kind {kind!r} is unknown; allowed: {', '.join(PHANTOM_CLASSES)}"
        )
    return PHANTOM_CLASSES[kind]


def _check_labels(where: str, values: Mapping[str, float], kind: str) -> None:
    allowed = PHANTOM_CLASSES[kind]
    unknown = [label for label in values if label not in allowed]
    if unknown:
        raise UserError(
            f"phantoms: {where} names {', '.join(map(repr, unknown))}, which kind {kind} does not "
            f"have; allowed: {', '.join(allowed)}"
        )


def _check_numbers(
    kind: str,
    patients: Mapping[str, int],
    images_per_patient: int,
    marker_share: Mapping[str, float],
    size_px: int,
    seed: int,
) -> None:
    """Raise UserError at the first number out of range."""
    limits: list[tuple[str, float, float, float]] = [
        *((f"patients.{label}", count, 0, 10**6) for label, count in patients.items()),
        *((f"marker_share.{label}", share, 0, 1) for label, share in marker_share.items()),
        ("images_per_patient", images_per_patient, 1, 100),
        ("size_px", size_px, 48, 1024),
        ("seed", seed, 0, 2**32 - 1),
    ]
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise UserError(f"phantoms: {name} of kind {kind} is {value}; allowed: {low} to {high}")
