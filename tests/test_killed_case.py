"""A case of several trainings that is killed between them or in one: what is finished stays so."""

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stages import train
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.modeling import resume
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights

RawParams = dict[str, Any]
EPOCHS = 2
WRITTEN = ("data/weights/folds", "data/predictions", "plots/history/folds")


class Killed(BaseException):
    """As nothing in the program expects."""


class Work(NamedTuple):
    """A root with all that the case needs."""

    params: Params
    root: Path


@pytest.fixture(scope="module")
def work(shared_tiny_params: RawParams, tmp_path_factory: pytest.TempPathFactory) -> Work:
    raw = shared_tiny_params | {}
    raw["recipes"] = {"short": raw["recipes"]["short"] | {"epochs": EPOCHS, "patience": EPOCHS}}
    raw["protocols"] = {"folds": raw["protocols"]["once"] | {"folds": 2, "seeds": [1, 2]}}
    raw["cases"] = {"folds": raw["cases"]["full-ce"] | {"protocol": "folds"}}
    raw["comparisons"] = {}
    params, paths = parse_params(raw), Paths(tmp_path_factory.mktemp("work"))
    prepare_dataset(params, "ct", paths)
    crop_view(params, "full", paths)
    make_weights(params, "cnn3-random", paths)
    return Work(params, paths.root)


def outputs(root: Path) -> dict[str, bytes]:
    files = [path for name in WRITTEN for path in (root / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["save_model", "predict_run"])
def test_finished_trainings_of_a_killed_case_are_not_trained_again(
    work: Work,
    tmp_path: Path,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(resume, "COST_SHARE", 1e9)  # every epoch is written
    alone, killed = (shutil.copytree(work.root, tmp_path / name) for name in ("alone", "killed"))
    train_case(work.params, "folds", Paths(alone))
    taken, left = getattr(train, step), iter(range(2))

    def kill_in_the_third(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return taken(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(train, step, kill_in_the_third)
        with pytest.raises(Killed):
            train_case(work.params, "folds", Paths(killed))
    for name in WRITTEN:  # as DVC does before it runs the stage again
        shutil.rmtree(killed / name, ignore_errors=True)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="stages.modeling"):
        train_case(work.params, "folds", Paths(killed))
    assert caplog.text.count("the training goes on from here") == 3
    assert sum(record.getMessage().startswith("epoch ") for record in caplog.records) == EPOCHS
    assert outputs(killed) == outputs(alone)
    assert len(outputs(alone)) > 10
    assert not list(Paths(killed).scratch("").glob("train-*"))
