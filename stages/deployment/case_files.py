"""What a case must have left behind to be put to work."""

import json
import logging
from pathlib import Path
from typing import Any

from stages.config.errors import UserError, suggest
from stages.config.params import Params
from stages.config.paths import Paths
from stages.dataset.image_set import DATASET_INFO

logger = logging.getLogger(__name__)


def require_trained(name: str, params: Params, paths: Paths) -> None:
    """Look whether a case has what it takes to predict.

    Raises:
        UserError: it is no case, or is not trained here.
    """
    trained = [folder.parent.name for folder in _trained(paths)]
    if name in trained:
        if name not in params.cases:
            logger.warning("%s is no longer in params.yaml; what it was trained to is used", name)
        return
    if name in params.cases:
        raise UserError(
            f"case: {name} is in params.yaml, and not trained here; run: dvc repro "
            f"evaluate@{name}, or, where a remote has its results, dvc pull"
        )
    known = sorted({*params.cases, *trained})
    raise UserError(
        f"case: got {name!r}{suggest(name, known)}; trained here: {', '.join(trained) or 'none'}; "
        f"in params.yaml: {', '.join(params.cases) or 'none'}"
    )


def _trained(paths: Paths) -> list[Path]:
    return sorted(paths.case_predictions("x").parent.glob(f"*/{DATASET_INFO}"))


def load_report(name: str, paths: Paths) -> dict[str, Any]:
    """Read metrics/reports/<case>.json.

    Raises:
        UserError: there is none.
    """
    path = paths.case_report(name)
    if not path.exists():
        raise UserError(
            f"{path}: does not exist; temperature and thresholds stand there; run: dvc repro "
            f"evaluate@{name}, or dvc pull"
        )
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
