"""What the files say of class activation maps, as records."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from stages.evaluation.statistics.records import Estimate
from stages.reporting.json_document import (
    Document,
    PairedFigure,
    at,
    estimate_of,
)

REGIONS = ("lungs", "lesions")


def _read_check(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Means by name, also of a check that has but one; how many images stands in each of them."""
    if "mean" in values:
        return {"mean": values}
    return {name: value for name, value in values.items() if name != "n"}


class Mean(Document):
    """Over n images."""

    estimate: Annotated[Estimate, estimate_of("mean", "low", "high")] = at("whole")
    n: int


class RegionScore(Document):
    """A map's share inside a region, None of an empty map, and the region's of the image."""

    share: float | None
    area: float


class MapScores(Document):
    """Where one map of one image lies; lesions are known of phantoms alone."""

    regions: dict[str, RegionScore]
    peak_in_lesions: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_regions(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        regions = {
            name: {"share": values[f"in_{name}"], "area": values[f"{name}_area"]}
            for name in REGIONS
            if f"in_{name}" in values
        }
        return {**values, "regions": regions}


class ExplainedImage(Document):
    """One image of the gallery, with the scores of its maps by method."""

    image_id: str
    label: str
    prediction: str
    probability: float
    selected_as: list[str]
    maps: dict[str, MapScores] = at("parts")

    @property
    def is_error(self) -> bool:
        """Whether another class was predicted."""
        return self.label != self.prediction


Checks = dict[str, Annotated[dict[str, Mean], BeforeValidator(_read_check)]]


class Pointing(Document):
    """Maps of the true class against known lesions, by method and figure, beside a Gaussian."""

    n: int
    n_groups: int
    n_known: int
    n_out_of_view: int
    methods: dict[str, dict[str, PairedFigure]]


class CamScores(Document):
    """A file of metrics/cam/."""

    target_layer: str
    lung_masks: str
    not_class_specific: list[str]
    images: list[ExplainedImage]
    summary: dict[str, dict[str, Mean]]
    agreement: Checks
    randomisation: Checks
    road: Checks
    pointing: Pointing | None
