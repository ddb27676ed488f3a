from pathlib import Path

import pytest

from stages.modeling.weights_file import read_weights
from tests.faults.weights_files import Fault, all_faults, find_problem, saved, state_of

# All of them: python -m tests.faults.weights_files
SELECTED = {
    "names behind module.backbone.",
    "in model, beside an optimiser",
    "in the old format",
    "three colours and 1000 classes",
    "without counters",
    "old head inside a part that stays",
    "meta.json of three colours",
    "scaling of the entry",
    "nan in a bias",
    "too large for float32",
    "int64",
    "complex64",
    "quantised",
    "sparse",
    "a negative variance",
    "a deeper network",
    "a header longer than the file",
    "cut in its data",
    "a pointer of Git LFS",
    "a .pth cut short",
    "a .pth named .safetensors",
    "a whole network",
    "code",
    "TorchScript",
    "meta.json: std 0",
    "meta.json: std NaN",
    "meta.json: for images up to 255",
    "meta.json: another network",
    "meta.json: cut short",
    "meta.json: knows in part",
}
FAULTS = [fault for fault in all_faults() if fault.name in SELECTED]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_file_loads_rightly_or_is_refused_in_one_line(fault: Fault, tmp_path: Path) -> None:
    assert find_problem(fault, tmp_path) == ""


def test_every_selected_file_exists() -> None:
    assert {fault.name for fault in FAULTS} == SELECTED


def test_tensors_are_named_with_the_dictionaries_that_they_are_in(tmp_path: Path) -> None:
    state = state_of()
    path = saved({"epoch": 3, "a": {"b": state}, "lists": [state]})(tmp_path)
    assert list(read_weights(path)) == [f"a.b.{name}" for name in state]
