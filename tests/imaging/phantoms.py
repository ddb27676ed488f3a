"""Phantoms for the tests of what is done with chest images."""

from stages.config.params import Cohort
from stages.phantoms.cohort import PHANTOM_CLASSES, plan_cohort
from stages.phantoms.picture import Phantom


def draw_phantoms(kind: str, *, patients: int, size_px: int, seed: int) -> list[Phantom]:
    """One picture of each of some patients of each class, half of them with a marker."""
    classes = PHANTOM_CLASSES[kind]
    cohort = Cohort.model_validate(
        {
            "kind": kind,
            "patients": dict.fromkeys(classes, patients),
            "images_per_patient": 1,
            "marker_share": dict.fromkeys(classes, 0.5),
        }
    )
    return [image.draw() for image in plan_cohort(cohort, size_px=size_px, seed=seed)]
