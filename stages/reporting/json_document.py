"""What a JSON file of another stage is read as."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from stages.evaluation.statistics.records import unflatten


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
