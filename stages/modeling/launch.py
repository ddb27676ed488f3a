"""How the processes of one training come to be, and which of them this one is.

On one machine the first process starts the others by itself: Lightning runs its command again, with
`LOCAL_RANK` set. On several machines torchrun starts them, or srun of SLURM.
"""

import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import distributed

from stages.config.errors import UserError
from stages.config.params import Recipe
from stages.modeling.compute import Hardware

# The others wait while the first one predicts. One that died ends all the same: its connection is
# lost, and who started it (Lightning, torchrun, srun) ends the rest.
PATIENCE = timedelta(days=7)
WATCH_S = 1.0
PORT = 29500  # torchrun's own choice
# Of a step of srun, and of no batch script: there nobody starts further processes.
SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
GLOO = "third_party/gloo"  # in what it says of lost connections
# Fabric's own mixed precision would round images to bf16 before they are scaled.
PRECISION: Literal["32-true"] = "32-true"
FINDING_UNUSED = "ddp_find_unused_parameters_true"


def process_rank(recipe: Recipe) -> int:
    """The number of this process among those of a training, from 0."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment().global_rank()
    if recipe.processes == 1:
        return 0
    if _is_task_of_srun(recipe):
        return int(os.environ["SLURM_PROCID"])
    return LightningEnvironment().local_rank()


def launch(recipe: Recipe, hardware: Hardware, case: str) -> Fabric:
    """Start the processes of a training, or join those that were started; see the module.

    With `devices: 1` and `num_nodes: 1` nothing is started, and no process group is made.

    Args:
        recipe: of the training.
        hardware: device and precision.
        case: that is trained, for the commands in messages.

    Raises:
        UserError: there are fewer GPUs, nobody started the processes of other machines, or
            torchrun started another number.
    """
    environment = _environment(recipe, case)
    if recipe.processes == 1:
        return one_process(hardware)
    require_gpus(recipe, hardware)
    if isinstance(environment, LightningEnvironment) and environment.local_rank():
        _end_with_parent()
    # Each process has four lines about itself.
    logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)
    # A weight of 1 x 1 pixels is channels last and channels first at once.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    fabric = Fabric(
        accelerator=hardware.device,
        devices=recipe.devices,
        num_nodes=recipe.num_nodes,
        strategy=_strategy(recipe),
        plugins=[environment],
        precision=PRECISION,
    )
    fabric.launch()
    return fabric


@contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """Say in a line that another process of the training has ended, which ends this one.

    Raises:
        UserError: its connection is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistBackendError) and GLOO not in str(error):
            raise
        raise UserError(
            "another process of this training has ended, and said why if it could (one that is "
            "killed, for its memory say, cannot); run again to go on from the last checkpoint"
        ) from None


def one_process(hardware: Hardware) -> Fabric:
    """Fabric with one device and no other process."""
    # Named, or Lightning looks around for SLURM, and warns where a job is not run by srun.
    alone = LightningEnvironment()
    return Fabric(accelerator=hardware.device, devices=1, plugins=[alone], precision=PRECISION)


def require_gpus(recipe: Recipe, hardware: Hardware) -> None:
    """Refuse more devices than there are; processes on CPUs may be as many as one likes.

    Raises:
        UserError: torch sees fewer GPUs.
    """
    if hardware.device != "cuda" or recipe.devices <= (there := torch.cuda.device_count()):
        return
    raise UserError(
        f"devices: got {recipe.devices}, but torch sees {there} GPUs here; allowed: 1 to {there}, "
        "or compute.accelerator: cpu"
    )


def _environment(recipe: Recipe, case: str) -> ClusterEnvironment:
    """Who started the processes, or is to."""
    if TorchElasticEnvironment.detect():
        _require_torchrun_as_asked(recipe, case)
        return TorchElasticEnvironment()
    if _is_task_of_srun(recipe):
        _require_srun_as_asked(recipe, case)
        return SLURMEnvironment()
    if recipe.num_nodes > 1:
        raise UserError(
            f"num_nodes: got {recipe.num_nodes}, but this process is alone; run on each machine "
            f"`{_command(recipe, case)}`, or in a job of SLURM `{_srun(recipe, case)}`; or give "
            "num_nodes: 1"
        )
    return LightningEnvironment()


def _is_task_of_srun(recipe: Recipe) -> bool:
    """Whether srun started as many processes as the training has.

    Others are none of it: inside of a batch script, say, or of a task that serves another purpose.
    """
    return recipe.processes > 1 and os.environ.get(SLURM_TASKS) == str(recipe.processes)


def _require_torchrun_as_asked(recipe: Recipe, case: str) -> None:
    started, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if (started, here) != (recipe.processes, recipe.devices):
        raise UserError(
            f"devices: got {recipe.devices}, num_nodes: {recipe.num_nodes}, but torchrun started "
            f"{here} processes here, {started} in all; allowed: `{_command(recipe, case)}`, or "
            f"devices: {here} and num_nodes: {started // here}"
        )


def _require_srun_as_asked(recipe: Recipe, case: str) -> None:
    """Lightning tells the nodes' processes apart by what srun was asked for of each node."""
    said = {"SLURM_NTASKS_PER_NODE": recipe.devices, "SLURM_NNODES": recipe.num_nodes}
    got = {name: os.environ.get(name, "nothing") for name in said}
    if got != {name: str(value) for name, value in said.items()}:
        raise UserError(
            f"devices: got {recipe.devices}, num_nodes: {recipe.num_nodes}, but of srun "
            f"{', '.join(f'{name} {value}' for name, value in got.items())}; allowed: "
            f"`{_srun(recipe, case)}`"
        )


def _srun(recipe: Recipe, case: str) -> str:
    """The command that starts all processes inside of a job."""
    return (
        f"srun --nodes {recipe.num_nodes} --ntasks-per-node {recipe.devices} "
        f"python -m stages.train {case}"
    )


def _command(recipe: Recipe, case: str) -> str:
    """The command that starts the processes of one machine."""
    if recipe.processes == 1:
        return f"python -m stages.train {case}"
    of_nodes = ""
    if recipe.num_nodes > 1:
        of_nodes = (
            f" --nnodes {recipe.num_nodes} --node-rank <0 to {recipe.num_nodes - 1}>"
            f" --master-addr <address of machine 0> --master-port {PORT}"
        )
    return f"torchrun{of_nodes} --nproc-per-node {recipe.devices} -m stages.train {case}"


def _strategy(recipe: Recipe) -> DDPStrategy:
    return DDPStrategy(
        timeout=PATIENCE,
        # Batch statistics are those of the whole batch, so all processes have the same buffers.
        forward_sync_buffers=False,
        find_unused_parameters=recipe.strategy == FINDING_UNUSED,
    )


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
