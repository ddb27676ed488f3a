"""The meta.json beside a file of weights: what it must say before it is believed."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError
from pydantic_core import ErrorDetails

from stages.config.errors import UserError
from stages.config.params import ScaleMean, ScaleStd, Share
from stages.config.references import architecture
from stages.modeling.checkpoint import load_meta, one_line

LONGEST_VALUE = 80  # characters of a value that an error shows


class KnownTask(BaseModel):
    """What weights know of their own task, as `Knowledge.to_json` writes it."""

    model_config = ConfigDict(frozen=True)

    task: str
    n: Annotated[StrictInt, Field(ge=1)]
    accuracy: Share
    low: Share
    high: Share
    chance: Share
    better_than_chance: StrictBool


class WeightsMeta(BaseModel):
    """What is read of a meta.json, which may say more."""

    model_config = ConfigDict(frozen=True)

    mean: ScaleMean
    std: ScaleStd
    model: str | None = None
    knows: KnownTask | None = None
    licence: str | None = None
    origin: str | None = None


def read_weights_meta(folder: Path, model: str) -> WeightsMeta:
    """Read and check the meta.json of weights for a model.

    Raises:
        UserError: there is none, a value is none that can be, or it is of another architecture.
    """
    path = folder / "meta.json"
    try:
        meta = WeightsMeta.model_validate(load_meta(folder))
    except ValidationError as error:
        problems = "; ".join(map(_explain, error.errors()))
        raise UserError(f"{path}: {problems}") from None
    if meta.model is not None and architecture(meta.model) != architecture(model):
        raise UserError(
            f"{path}: model: got {meta.model!r}; allowed here: {model!r}, as params.yaml says"
        )
    return meta


def _explain(details: ErrorDetails) -> str:
    where = ".".join(map(str, details["loc"]))
    if details["type"] == "missing":
        return f"{where}: is missing"
    got = one_line(repr(details["input"]), LONGEST_VALUE)
    return f"{where}: got {got}; allowed: {details['msg'].removeprefix('Input should be ')}"
