"""What a JSON file of another stage is read as."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stages.evaluation.statistics.records import Estimate, Paired, unflatten

UNKNOWN = Estimate(None)


class Document(BaseModel):
    """Base of all; values cannot change.

    Beside the keys of the file there are three to read from: each figure with an interval, and in
    `figures` all of them; in `parts` all entries that have entries; in `whole` everything.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _arrange(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        reasons = values.get("undefined")  # by name, or of a single test as text
        figures = unflatten(values, reasons if isinstance(reasons, dict) else {})
        parts = {name: value for name, value in values.items() if isinstance(value, dict)}
        return {**values, **figures, "figures": figures, "parts": parts, "whole": values}


def at(*path: str) -> Any:
    """A field that stands deeper in the file."""
    return Field(validation_alias=AliasPath(*path))


def estimate_of(*keys: str) -> BeforeValidator:
    """Reads a figure and its ends by these keys, and what may stand beside a difference."""

    def read(values: Mapping[str, Any]) -> Estimate:
        names = ("undefined", "p_value", "p_value_holm", "detectable", "detectable_holm")
        beside = (values.get(name) for name in names)
        return Estimate(*(values[key] for key in keys), *beside)

    return BeforeValidator(read)


Auroc = Annotated[Estimate, estimate_of("auroc", "auroc_low", "auroc_high")]
Difference = Annotated[Estimate, estimate_of("difference", "low", "high")]
PairedFigure = Annotated[Paired, BeforeValidator(Paired.from_json)]


class Figures(Document):
    """Flat figures, each with an interval."""

    figures: dict[str, Estimate]

    def get(self, name: str) -> Estimate:
        """A figure; undefined where the file has none of that name, as of an empty stratum."""
        return self.figures.get(name, UNKNOWN)
