import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from stages.modeling.distributed import Team
from tests.modeling.shared_training import FP32, N_TRAIN, N_VAL, SETTINGS, Setting, train

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 2
# Of losses about 0.7: sums are added up in another order. In bf16 a number has 8 bits.
TOLERANCE = {"fp32": 2e-5, "bf16": 2e-2}


class Shared(NamedTuple):
    """What each process says, by number, and the folder of their weights."""

    said: list[dict[str, Any]]
    folder: Path

    def state(self, name: str, rank: int) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = torch.load(
            self.folder / f"{name}-{rank}.pt", weights_only=True
        )
        return state


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("shared")
    program = ["-m", "tests.modeling.shared_training", str(PROCESSES), str(folder)]
    done = subprocess.run(
        [sys.executable, *program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    texts = [(folder / f"{rank}.json").read_text(encoding="utf-8") for rank in range(PROCESSES)]
    return Shared([json.loads(text) for text in texts], folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_have_the_figures_of_one(shared: Shared, name: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]
    alone = train(setting, Team.of_one(setting.hardware), tmp_path)
    losses = alone.result.epochs["loss"]
    assert len(set(losses)) == len(losses)  # something is learned
    tolerance = TOLERANCE[setting.hardware.precision]
    assert shared.said[0][name]["epoch"] == list(alone.result.epochs["epoch"])
    np.testing.assert_allclose(shared.said[0][name]["loss"], losses, rtol=0, atol=tolerance)
    if setting.hardware == FP32:
        assert shared.said[0][name]["accuracy"] == list(alone.result.epochs["accuracy"])
    state = shared.state(name, 0)
    for key, tensor in alone.state.items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-3, atol=5 * tolerance, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_all_processes_say_the_same_and_end_with_the_same_bits(shared: Shared, name: str) -> None:
    assert shared.said[0][name] == shared.said[1][name]
    first, second = (shared.state(name, rank) for rank in range(PROCESSES))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_each_image_is_seen_once_by_one_process(shared: Shared, split: str) -> None:
    first, second = (said["seen"][split] for said in shared.said)
    assert sorted(first + second) == list(range(14))
    assert len(first), len(second) == {"train": (6, 8), "val": (6, 8)}[split]


@pytest.mark.slow
def test_a_training_that_stops_early_does_so_in_all_processes(shared: Shared) -> None:
    epochs = [said["stopped early"]["epoch"] for said in shared.said]
    assert epochs[0] == epochs[1]
    assert max(epochs[0]) < 5


def test_the_last_batch_of_validation_leaves_a_process_without_an_image() -> None:
    assert N_VAL % Setting().val_batch == 1  # or the figures above would not show it
    assert N_TRAIN % PROCESSES == 0


@pytest.mark.slow
def test_fewer_images_than_processes_are_refused(shared: Shared) -> None:
    said = "devices: got 2 processes in all for 1 training images; allowed: up to 1"
    assert [of_one["too few"] for of_one in shared.said] == [said, said]


@pytest.mark.slow
def test_a_parameter_that_gets_no_gradient_names_the_strategy_that_bears_it(
    shared: Shared,
) -> None:
    assert all(
        said["unused"].endswith("give strategy: ddp_find_unused_parameters_true")
        for said in shared.said
    )
