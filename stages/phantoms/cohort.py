"""Cohorts of phantoms: how many patients of which class, and the images of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stages.config.errors import UserError
from stages.config.params import Cohort
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
MIN_SIZE_PX, MAX_SIZE_PX = 48, 1024


@dataclass(frozen=True)
class CohortImage:
    """One image before it is drawn: all that it depends on; drawing twice gives the same pixels.

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

    def draw(self) -> Phantom:
        """The image with its truth."""
        patterns = _CLASS_PATTERNS[self.label]
        pattern = patterns[int(self._stream("pattern").integers(len(patterns)))]
        return _DRAW[self.kind](
            pattern,
            self._stream("patient"),
            self._stream("image", self.number),
            size_px=self.size_px,
            marker=self.has_marker,
        )

    def _stream(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Random numbers of one purpose, independent of all other images and purposes."""
        words = f"{self.kind}/{purpose}".encode()
        key = (*words, self.patient, *numbers)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def plan_cohort(cohort: Cohort, *, size_px: int, seed: int) -> list[CohortImage]:
    """The images of a cohort, by class, patient and number.

    An image depends on the kind, the seed, its size, its patient and its number only, not on how
    many others there are.

    Args:
        cohort: its patients and marker shares are of exactly the classes of its kind.
        size_px: nominal side in pixels, 48 to 1024.
        seed: seed of the cohort, 0 or more.

    Raises:
        UserError: the size is out of range.
    """
    if not MIN_SIZE_PX <= size_px <= MAX_SIZE_PX:
        raise UserError(
            f"size_px: got {size_px}; allowed for phantoms: {MIN_SIZE_PX} to {MAX_SIZE_PX}"
        )
    classes = PHANTOM_CLASSES[cohort.kind]
    return [
        CohortImage(
            kind=cohort.kind,
            label=label,
            # Classes take turns, so that more patients of one class renumber no other.
            patient=index * len(classes) + position,
            number=number,
            marker_share=cohort.marker_share[label],
            size_px=size_px,
            seed=seed,
        )
        for position, label in enumerate(classes)
        for index in range(cohort.patients[label])
        for number in range(cohort.images_per_patient)
    ]
