"""What a case must have left behind to be put to work."""

import logging
from pathlib import Path

from stages.config.errors import UserError, suggest
from stages.config.params import Params
from stages.config.paths import Paths
from stages.dataset.image_set import DATASET_INFO
from stages.dataset.runs import RUNS_FILE, load_runs

logger = logging.getLogger(__name__)

MODEL_FILES = ("meta.json", "model.safetensors", "familiar.safetensors")


def require_trained(name: str, params: Params, paths: Paths) -> None:
    """Look whether a case has what it takes to predict.

    Raises:
        UserError: it is no case, is not trained here, or a file of its is missing.
    """
    trained = [folder.parent.name for folder in _trained(paths)]
    if name in trained:
        if name not in params.cases:
            logger.warning("%s is no longer in params.yaml; it is used as it was trained", name)
        _require_models(name, paths)
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


def _require_models(name: str, paths: Paths) -> None:
    folder = paths.weights(name)
    _require(folder / RUNS_FILE, name)
    for run in load_runs(folder).runs:
        for file in MODEL_FILES:
            _require(folder / run.name / file, name)


def _require(path: Path, name: str) -> None:
    if not path.exists():
        raise UserError(
            f"{path}: does not exist; run: dvc repro train@{name}, or, where a remote has it, "
            "dvc pull"
        )


def _trained(paths: Paths) -> list[Path]:
    return sorted(paths.case_predictions("x").parent.glob(f"*/{DATASET_INFO}"))
