"""One picture at a time: onnxruntime with an exported file v torch, both in fp32, fused.

Without `--cases` the network of `--model` with random weights; with it, in the folder of a finished
run, trained cases are exported (to a folder that is thrown away) and held against torch as well.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.load import load_params
from stages.config.paths import Paths
from stages.dataset.predictions import load_tables
from stages.deployment.case_network import CaseNetwork, RunNetwork
from stages.deployment.description import list_properties
from stages.deployment.exporting import deploy
from stages.deployment.finished_case import FinishedCase
from stages.deployment.onnx_file import open_onnx, run_onnx, write_onnx
from stages.deployment.parity import compare
from stages.deployment.resampling import ToView
from stages.imaging.boxes import center_box, lay_into_square
from stages.imaging.square import fit_square
from stages.modeling.classifier import build_classifier
from stages.modeling.data import to_unit_range
from stages.modeling.fused import fuse
from stages.modeling.initial import GREY_MEAN, GREY_STD
from stages.modeling.outputs import Outputs
from tests.benchmarks import measure

OUTPUTS = Outputs(("normal", "covid"), positive=1, one_logit=False, implies={})
Picture = NDArray[np.uint8]


def main() -> None:
    """Run the same picture both ways in turn, print the ratio."""
    args = _parse()
    torch.set_num_threads(1)
    if args.cases:
        for name in args.cases:
            _measure_case(name, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            network = _random_network(args)
            write_onnx(network, Path(folder), {})
            _measure_speed(args.model, network, Path(folder), args)


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--model", default="resnet18", help="cnn3 or a timm architecture")
    parser.add_argument("--px", type=int, default=96, help="side of the view")
    parser.add_argument("--picture", type=int, default=144, help="side of the picture in pixels")
    parser.add_argument("--calls", type=int, default=10, help="pictures per round")
    parser.add_argument("--cases", nargs="*", default=[], help="trained cases, of a finished run")
    return parser.parse_args()


def _random_network(args: argparse.Namespace) -> CaseNetwork:
    torch.manual_seed(0)
    shape = {"size": args.px, "head": [], "outputs": 2, "dropout": 0.0}
    classifier = build_classifier(args.model, **shape, mean=GREY_MEAN, std=GREY_STD)
    to_view = ToView(prepared_px=None, crop_fraction=None, size_px=args.px, fit="letterbox")
    run = RunNetwork("", fuse(classifier), 1.5, (0.5,))
    return CaseNetwork(to_view, [run], OUTPUTS, mirror=False).eval()


def _measure_case(name: str, args: argparse.Namespace) -> None:
    paths = Paths()
    case = FinishedCase.load(name, load_params().case(name).view, paths)
    with tempfile.TemporaryDirectory() as place:
        folder, start = Path(place), time.perf_counter()
        network = deploy(case)
        write_onnx(network, folder, list_properties(case))
        seconds = time.perf_counter() - start
        recorded = load_tables(paths.case_predictions(name)).runs
        parity = compare(open_onnx(folder), case.trained, case.chosen, case.view, recorded)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"\n{name}: {size:.1f} MB, traced and written in {seconds:.1f} s", *parity.describe())
        _measure_speed(name, network, folder, args)


def _measure_speed(name: str, network: CaseNetwork, folder: Path, args: argparse.Namespace) -> None:
    side = args.picture
    picture = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    session = open_onnx(folder, threads=1)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sides = {
        "torch": _repeated(lambda: _by_torch(network, picture), args.calls),
        "onnxruntime": _repeated(lambda: run_onnx(session, picture[np.newaxis])[0], args.calls),
    }
    both = np.abs(_by_torch(network, picture) - run_onnx(session, picture[np.newaxis])[0])
    costs = measure.interleave(sides, args.rounds)
    per_call = {key: [cost.per(args.calls) for cost in found] for key, found in costs.items()}
    measure.show(f"{name}, a picture of {side} x {side} px, one thread", per_call, unit="picture")
    print(f"largest difference of a probability {both.max():.1e}")


def _repeated(work: Callable[[], object], calls: int) -> Callable[[], measure.Cost]:
    def run() -> None:
        for _ in range(calls):
            work()

    return measure.timed(run)


@torch.inference_mode()
def _by_torch(network: CaseNetwork, picture: Picture) -> NDArray[np.float32]:
    """With Pillow in front, as the stages do."""
    settings = network.to_view
    if settings.prepared_px is not None:
        pixels, (x0, y0, x1, y1) = fit_square(picture, settings.prepared_px, "smooth")
        picture = pixels[y0:y1, x0:x1]
    box = center_box(*picture.shape, settings.crop_fraction or 1.0)
    image, _ = lay_into_square(picture, box, settings.size_px, settings.fit, "smooth")
    images = to_unit_range(torch.from_numpy(image[np.newaxis].copy()))
    probabilities, _ = network.judge(images.contiguous(memory_format=torch.channels_last))
    return probabilities.numpy()


if __name__ == "__main__":
    main()
