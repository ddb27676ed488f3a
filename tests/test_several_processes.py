"""`python -m stages.train` of a case that several processes share, however these are started."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.prepare import prepare_dataset
from stages.weights import make_weights
from tests.conftest import write_params

RawParams = dict[str, Any]
REPOSITORY = Path(__file__).parents[1]
TRAIN = ("-m", "stages.train")
TORCHRUN = ("-m", "torch.distributed.run")
TOLERANCE = 1e-4  # of losses about 0.7: AdamW's first steps take a rounding for a direction


@pytest.fixture(scope="module")
def work(shared_tiny_params: RawParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with all that its cases need: `one`, `two` by two processes, `nodes` by two nodes."""
    raw = shared_tiny_params | {}
    source = {"kind": "random", "path": "stages/modeling/initial.py"}
    raw["weights"] = {"start": {"model": "test_resnet", "source": source}}
    short = raw["recipes"]["short"] | {"epochs": 2, "patience": 2, "batch_size": 7}
    long = short | {"epochs": 20, "patience": 20, "devices": 2}
    raw["recipes"] = {
        "short": short,
        "shared": short | {"devices": 2},
        "over-nodes": short | {"num_nodes": 2},
        "long": long,
    }
    raw["protocols"] = {
        "once": raw["protocols"]["once"],
        "twice": raw["protocols"]["once"] | {"seeds": [1, 2]},
    }
    case = raw["cases"]["full-ce"] | {"model": "test_resnet", "weights": "start"}
    case |= {"dropout": 0.0, "protocol": "twice"}
    raw["cases"] = {
        "one": case,
        "two": case | {"recipe": "shared"},
        "nodes": case | {"recipe": "over-nodes"},
        "killed": case | {"recipe": "long", "dropout": 0.3, "protocol": "once"},
        "without-start": case | {"recipe": "shared", "weights": "killed"},
    }
    raw["comparisons"] = {}
    params, paths = parse_params(raw), Paths(tmp_path_factory.mktemp("work"))
    prepare_dataset(params, "ct", paths)
    crop_view(params, "full", paths)
    make_weights(params, "start", paths)
    write_params(paths.root / "params.yaml", raw)
    return paths.root


@pytest.fixture
def root(work: Path, tmp_path: Path) -> Path:
    return shutil.copytree(work, tmp_path / "root")


@pytest.fixture(scope="module")
def alone(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which one process trained the case `one`."""
    folder: Path = shutil.copytree(work, tmp_path_factory.mktemp("alone") / "root")
    done = run(folder, *TRAIN, "one")
    assert done.returncode == 0, done.stderr
    return folder


def start(root: Path, *arguments: str, **surroundings: str) -> subprocess.Popen[str]:
    threads = {"OMP_NUM_THREADS": "1"}  # or one process would have other sums than one of two
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | threads | surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(root, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def outputs(root: Path, case: str) -> dict[str, bytes]:
    paths = Paths(root)
    folders = (paths.weights(case), paths.case_predictions(case), paths.history_epochs(case).parent)
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {
        file.relative_to(root).as_posix().replace(case, "<case>"): file.read_bytes()
        for file in [*files, paths.predictions(case)]
    }


def require_figures_of_one(alone: Path, root: Path, case: str) -> None:
    """As many files, the same learning curves, and predictions of the same images."""
    assert outputs(root, case).keys() == outputs(alone, "one").keys()
    epochs = [
        pd.read_csv(Paths(of).history_epochs(name)) for of, name in ((alone, "one"), (root, case))
    ]
    pd.testing.assert_frame_equal(*epochs, rtol=0, atol=TOLERANCE)
    whole = [
        pd.read_csv(Paths(of).predictions(name)) for of, name in ((alone, "one"), (root, case))
    ]
    assert list(whole[0]["image_id"]) == list(whole[1]["image_id"])
    probabilities = [rows["prob_covid"] for rows in whole]
    np.testing.assert_allclose(*probabilities, rtol=0, atol=10 * TOLERANCE)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_a_case_of_two_devices_starts_its_second_process_and_has_the_figures_of_one(
    root: Path, alone: Path
) -> None:
    done = run(root, *TRAIN, "two")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("batches of 7 shared by 2 processes") == 2  # seeds
    assert done.stdout.count("epoch 0: train loss") == 2
    require_figures_of_one(alone, root, "two")
    assert [path.name for path in Paths(root).scratch("times").iterdir()] == ["train@two.json"]
    # As torchrun starts both, to the bit.
    first = outputs(root, "two")
    done = run(root, *TORCHRUN, "--standalone", "--nproc-per-node", "2", *TRAIN, "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 0: train loss") == 2
    assert outputs(root, "two") == first


def torchrun_of_node(node: int, port: str) -> tuple[tuple[str, ...], dict[str, str]]:
    of_nodes = f"--nnodes 2 --node-rank {node} --nproc-per-node 1".split()
    address = f"--master-addr 127.0.0.1 --master-port {port}".split()
    return (*TORCHRUN, *of_nodes, *address), {}


def task_of_srun(node: int, port: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """As a step of SLURM says it to its tasks."""
    return (), {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "localhost",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": str(node),
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(node),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [torchrun_of_node, task_of_srun])
def test_a_case_of_two_nodes_has_the_figures_of_one(root: Path, alone: Path, launcher: Any) -> None:
    port = free_port()
    started = [launcher(node, port) for node in range(2)]
    nodes = [start(root, *by, *TRAIN, "nodes", **said) for by, said in started]
    said = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert [out.count("epoch 0: train loss") for out, _ in said] == [2, 0]
    require_figures_of_one(alone, root, "nodes")


@pytest.mark.slow
def test_a_shared_training_that_is_killed_goes_on_to_the_same_bits(
    root: Path, tmp_path: Path
) -> None:
    undisturbed: Path = shutil.copytree(root, tmp_path / "undisturbed")
    assert run(undisturbed, *TRAIN, "killed").returncode == 0
    process = start(root, *TRAIN, "killed")
    notes = Paths(root).scratch("train-killed") / "run"
    end = time.monotonic() + 120
    while not list(notes.glob("epoch-*.json")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)  # when the other one has let go of the pipe, too
    assert (process.returncode, err) == (-signal.SIGKILL, "")
    done = run(root, *TRAIN, "killed")
    assert done.returncode == 0, done.stderr
    assert "the training goes on from here" in done.stdout
    assert "epoch 0:" not in done.stdout
    assert outputs(root, "killed") == outputs(undisturbed, "killed")


@pytest.mark.slow
def test_an_error_that_all_processes_meet_is_said_once(root: Path) -> None:
    done = run(root, *TRAIN, "without-start")
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: cases.without-start: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_other_machines_need_a_launcher_which_the_error_names(root: Path) -> None:
    done = run(root, *TRAIN, "nodes")
    assert done.returncode == 1
    assert done.stderr == (
        "error: params.yaml: cases.nodes: recipes.over-nodes: num_nodes: got 2, but this process "
        "is alone; run on each machine `torchrun --nnodes 2 --node-rank <0 to 1> --master-addr "
        "<address of machine 0> --master-port 29500 --nproc-per-node 1 -m stages.train nodes`, or "
        "in a job of SLURM `srun --nodes 2 --ntasks-per-node 1 python -m stages.train nodes`; or "
        "give num_nodes: 1\n"
    )


@pytest.mark.slow
def test_srun_must_be_told_how_many_processes_a_node_has(root: Path) -> None:
    _, surroundings = task_of_srun(0, "1")
    del surroundings["SLURM_NTASKS_PER_NODE"]
    process = start(root, *TRAIN, "nodes", **surroundings)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == (
        "error: params.yaml: cases.nodes: recipes.over-nodes: devices: got 1, num_nodes: 2, but of "
        "srun SLURM_NTASKS_PER_NODE nothing, SLURM_NNODES 2; allowed: `srun --nodes 2 "
        "--ntasks-per-node 1 python -m stages.train nodes`\n"
    )


@pytest.mark.slow
def test_torchrun_must_start_as_many_processes_as_the_recipe_asks_for(root: Path) -> None:
    done = run(root, *TORCHRUN, "--standalone", "--nproc-per-node", "2", *TRAIN, "one")
    assert done.returncode == 1
    assert done.stderr.count("error: params.yaml") == 1
    assert (
        "recipes.short: devices: got 1, num_nodes: 1, but torchrun started 2 processes here, 2 in "
        "all; allowed: `python -m stages.train one`, or devices: 2 and num_nodes: 1"
    ) in done.stderr
