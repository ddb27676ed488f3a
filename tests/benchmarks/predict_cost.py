"""What `predict` costs beside importing torch and a bare forward pass; its memory as files grow.

Both sides are processes of their own, start-up included. The bare side imports torch, builds a
ResNet-18 and gives it images that are in memory already; the product decodes PNG files, finds the
lungs, crops, predicts, calibrates, compares with the training images, and writes its rows. Weights
are random on both sides.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import measure

MODULE = "tests.benchmarks.predict_cost"
CASE = "ct-resnet18-scratch"
REPOSITORY = Path(__file__).parents[2]


def main() -> None:
    """Time both sides in turn; with --grow, the peak memory of the product at two numbers."""
    args = _parse()
    if args.side == "bare":
        _run_bare(args.images, args.size)
        return
    if args.side == "make":
        _make(Path(args.folder), max([args.images, *args.grow]), args.size)
        return
    with tempfile.TemporaryDirectory() as folder:
        _start(["-m", MODULE, *sys.argv[1:], "--side", "make", "--folder", folder], REPOSITORY)
        files = sorted(str(path) for path in (Path(folder) / "files").iterdir())
        sides = {
            "predict": lambda: _predict(folder, files[: args.images]),
            "bare": lambda: _start(["-m", MODULE, *sys.argv[1:], "--side", "bare"], REPOSITORY),
        }
        title = f"{args.images} images, ResNet-18 at {args.size} px"
        measure.show(title, measure.interleave(sides, args.rounds), unit="run")
        for count in args.grow:
            cost = _predict(folder, files[:count])
            print(
                f"predict {count}: {cost.seconds:.1f} s, peak {cost.peak_mib:.0f} MiB", flush=True
            )


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=100, help="of both sides")
    parser.add_argument("--size", type=int, default=48, help="side of the view, pixels")
    parser.add_argument(
        "--grow", type=int, nargs="*", default=[], help="numbers of files to measure memory at"
    )
    parser.add_argument("--side", choices=("bare", "make"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _predict(folder: str, files: list[str]) -> measure.Cost:
    """Of files given by a folder of links: a command line has no room for ten thousand."""
    with tempfile.TemporaryDirectory(dir=folder) as given:
        for file in files:
            os.symlink(file, Path(given) / Path(file).name)
        return _start(["-m", "stages.predict", CASE, given], Path(folder))


def _start(arguments: list[str], folder: Path) -> measure.Cost:
    """A process from its start to its end."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} ended with status {status}")
    seconds = time.perf_counter() - start
    return measure.Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _make(folder: Path, count: int, size: int) -> None:
    """A case of random weights, and phantoms under as many names as asked for."""
    from stages.phantoms.cohort import plan_cohort
    from tests.benchmarks.phantom_params import params_of_phantoms
    from tests.deployment.cases import LUNGS, Untrained, make_case

    case = Untrained(CASE, "resnet18", size, crop=LUNGS)
    make_case(folder, case)
    cohort = params_of_phantoms("ct", images=40, size_px=144).dataset("ct").cohort
    assert cohort is not None
    drawn = [one.draw().to_png() for one in plan_cohort(cohort, size_px=144, seed=1)]
    files = folder / "files"
    files.mkdir()
    for number in range(count):
        (files / f"{number:06}.png").write_bytes(drawn[number % len(drawn)])


def _run_bare(count: int, size: int) -> None:
    import torch

    network = _resnet18().eval().to(memory_format=torch.channels_last)
    images = torch.zeros(count, 1, size, size)
    with torch.inference_mode():
        for batch in images.split(64):
            network(batch.contiguous(memory_format=torch.channels_last)).softmax(1).numpy()


def _resnet18():  # type: ignore[no-untyped-def]
    """He et al. 2016, table 1, for one grey channel and two classes, in torch alone."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(before, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.shortcut = nn.Sequential()
            if stride > 1:
                self.shortcut.append(nn.Conv2d(before, width, 1, stride, bias=False))
                self.shortcut.append(nn.BatchNorm2d(width))

        def forward(self, x):  # type: ignore[no-untyped-def]
            return nn.functional.relu(self.layers(x) + self.shortcut(x), inplace=True)

    stem = [nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    widths += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    blocks = [Block(*width) for width in widths]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *head)


if __name__ == "__main__":
    main()
