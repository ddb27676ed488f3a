"""What the validation images of a case decided: temperatures and thresholds of its models."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.evaluation.external_report import Chosen


class Decided(NamedTuple):
    """What metrics/reports/<case>.json has of it.

    Attributes:
        chosen: temperatures and thresholds, by run.
        is_optimistic: whether they were chosen by a protocol that is.
    """

    chosen: Chosen
    is_optimistic: bool


def load_decided(name: str, runs: Sequence[str], paths: Paths) -> Decided:
    """Read the report of a case.

    Args:
        name: of the case.
        runs: names of its models.
        paths: of the repository.

    Raises:
        UserError: there is none, it is no JSON, or of other models.
    """
    path = paths.case_report(name)
    if not path.exists():
        raise UserError(
            f"{path}: does not exist; temperature and thresholds stand there; run: dvc repro "
            f"evaluate@{name}, or dvc pull"
        )
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not readable JSON ({error}); run: dvc checkout") from None
    chosen = Chosen.from_report(report)
    if [*chosen.temperatures] != [*runs]:
        raise UserError(
            f"{path}: is of the runs {[*chosen.temperatures]}, the models are of {[*runs]}; run: "
            f"dvc repro evaluate@{name}"
        )
    return Decided(chosen, bool(report["optimistic"]))
