"""The same files wherever and in whatever surroundings the pipeline runs."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import load_raw_params, shrink, write_params

REPOSITORY = Path(__file__).parents[1]
STAGES = """
from stages.check import check_params
from stages.config.load import load_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.evaluate import evaluate_case
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights

params, paths = load_params(), Paths()
check_params(params, paths)
prepare_dataset(params, "ct", paths)
crop_view(params, "lungs", paths)
make_weights(params, "cnn3-pretext", paths)
train_case(params, "lungs-bce", paths)
evaluate_case(params, "lungs-bce", paths)
"""
DRAWING = """
from stages.config.load import load_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.prepare import prepare_dataset

params, paths = load_params(), Paths()
prepare_dataset(params, "ct", paths)
crop_view(params, "lungs", paths)
"""
PLAIN = {
    "OMP_NUM_THREADS": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "1",
}
# Half a day ahead, no locale but bytes, other orders of sets.
ODD = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "POSIX",
    "LANG": "tr_TR",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONHASHSEED": "2",
    "COLUMNS": "20",
    "OMP_NUM_THREADS": "2",
    "HOME": "/nonexistent",
}


# What OpenBLAS and OpenCV choose on an older processor of another maker. Off x86 they know none of
# these names, and do as always.
OTHER_PROCESSOR = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENCV_IPP": "disabled",
    "OPENCV_CPU_DISABLE": "AVX2,AVX512_SKL,AVX512_COMMON",
}


def raw_params() -> dict[str, Any]:
    """A few phantoms, a case that starts from the pretext task."""
    raw = shrink(load_raw_params())
    patients = {"patients": {"covid": 8, "normal": 8}}
    raw["datasets"]["ct"]["cohort"] |= patients
    source = {"kind": "pretext", "path": "stages/phantoms"}
    raw["weights"]["cnn3-pretext"] = {"model": "cnn3", "source": source}
    raw["pretext"] |= {"images": 60, "size_px": 80}
    raw["cases"]["lungs-bce"]["weights"] = "cnn3-pretext"
    return raw


def start(
    folder: Path, surroundings: dict[str, str], program: str = STAGES
) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    write_params(folder / "params.yaml", raw_params())
    (folder / "stages").symlink_to(REPOSITORY / "stages")
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | surroundings,
        stdout=subprocess.DEVNULL,
    )


def outputs(folder: Path) -> dict[str, str]:
    files = [path for part in ("data", "metrics", "plots") for path in (folder / part).rglob("*")]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


@pytest.mark.slow
def test_the_surroundings_change_no_bit(tmp_path: Path) -> None:
    folders = [tmp_path / "plain", tmp_path / "another place with ünï'code & blanks" / "deep"]
    both = [start(*pair) for pair in zip(folders, (PLAIN, ODD), strict=True)]
    assert [process.wait() for process in both] == [0, 0]
    first, second = map(outputs, folders)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert {"data/weights/lungs-bce/model.safetensors", "data/prepared/ct/images.npy"} <= set(first)


@pytest.mark.slow
def test_libraries_that_know_another_processor_draw_and_crop_the_same_bits(tmp_path: Path) -> None:
    folders = [tmp_path / "plain", tmp_path / "other"]
    both = [start(*pair, DRAWING) for pair in zip(folders, (PLAIN, OTHER_PROCESSOR), strict=True)]
    assert [process.wait() for process in both] == [0, 0]
    first, second = map(outputs, folders)
    assert "data/prepared/ct/fingerprints.bin" in first
    assert [name for name in first if first[name] != second.get(name)] == []
