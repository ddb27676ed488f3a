import pytest
import torch

from stages.config.errors import UserError
from stages.modeling.compute import Hardware
from stages.modeling.distributed import Team
from stages.modeling.launch import launch, noticing_lost_processes, process_rank, require_gpus
from tests.modeling.recipes import recipe_with

CPU, GPU = Hardware("cpu", "fp32"), Hardware("cuda", "fp32")
OF_SRUN = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "train"}


def set_all(monkeypatch: pytest.MonkeyPatch, surroundings: dict[str, str]) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)


def test_one_device_makes_no_process_group() -> None:
    team = Team(launch(recipe_with(), CPU, "a-case"))
    assert (team.size, team.rank, team.is_first) == (1, 0, True)
    assert not torch.distributed.is_initialized()


def test_a_training_of_one_device_is_none_of_the_tasks_of_srun_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, OF_SRUN | {"SLURM_STEP_NUM_TASKS": "4"})
    assert process_rank(recipe_with()) == 0


def test_in_a_batch_script_of_slurm_the_processes_are_still_to_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, OF_SRUN)
    assert process_rank(recipe_with(devices=4)) == 0
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert process_rank(recipe_with(devices=4)) == 3


def test_torchrun_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"TORCHELASTIC_RUN_ID": "none", "RANK": "5"})
    assert process_rank(recipe_with(devices=4, num_nodes=2)) == 5


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_gpus(recipe_with(devices=2), GPU)
    require_gpus(recipe_with(devices=3), CPU)
    said = r"devices: got 3, but torch sees 2 GPUs here; allowed: 1 to 2, or compute\.accelerator"
    with pytest.raises(UserError, match=said):
        require_gpus(recipe_with(devices=3), GPU)


def test_only_lost_connections_are_taken_for_such() -> None:
    with pytest.raises(UserError, match="another process of this training has ended"):
        with noticing_lost_processes():
            raise RuntimeError("[/x/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error")
    with pytest.raises(RuntimeError, match="shapes"), noticing_lost_processes():
        raise RuntimeError("shapes")
