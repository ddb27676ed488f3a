"""Time and memory of prepare, crop, train and predict as the number of phantoms grows.

Every stage at every size is a process of its own. Memory is the peak of anonymous memory of the
process and of its workers: pages of the memory-mapped arrays, which the system can drop at any
time, are not counted. Time is without imports.
"""

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from tests.benchmarks import measure

MODULE = "tests.benchmarks.growth"
NAME = "ct"
STAGES = ("prepare", "crop", "train", "predict")
INTERVAL_S = 0.05
LINEAR, FLAT = 1.15, 1.2  # per image, against the smallest size; peak, likewise


class Growth(NamedTuple):
    """One stage at one size, by the figures of `Cost`."""

    stage: str
    images: int
    cost: measure.Cost


class AnonymousMemory:
    """Watches the anonymous memory of this process and its descendants from a thread."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.wait(INTERVAL_S):
            mib = sum(_anonymous_mib(p) for p in (process, *process.children(recursive=True)))
            self.peak_mib = max(self.peak_mib, mib)


def _anonymous_mib(process: psutil.Process) -> float:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:  # a worker that has just ended
        return 0.0
    return float(memory.rss - memory.shared) / 2**20


def main() -> None:
    """Run all stages at all sizes, smallest first, and print how they grow."""
    args = _parse()
    if args.stage:
        measure.hand_back(_run_stage(args))
        return
    grown = []
    for images in args.images:
        with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
            for stage in STAGES:
                more = ("--stage", stage, "--folder", folder, "--of", str(images))
                cost = measure.in_child(MODULE, *sys.argv[1:], *more)
                grown.append(Growth(stage, images, cost))
                print(f"{stage} {images}: {cost.seconds:.1f} s", flush=True)
    _show(grown, args)


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument(
        "--images", type=int, nargs="+", default=[100, 200], help="numbers of phantoms, rising"
    )
    parser.add_argument("--px", type=int, default=64, help="side of phantoms")
    parser.add_argument("--view-px", type=int, default=32, help="side of the view")
    parser.add_argument("--model", default="resnet10t", help="network of train and predict")
    parser.add_argument("--scratch", type=Path, help="folder with room for the arrays")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_stage(args: argparse.Namespace) -> measure.Cost:
    """The cost of one stage, its peak that of anonymous memory."""
    stages = {"prepare": _prepare, "crop": _crop, "train": _train, "predict": _predict}
    with AnonymousMemory() as memory:
        cost = stages[args.stage](args)
    return cost._replace(peak_mib=memory.peak_mib)


def _prepare(args: argparse.Namespace) -> measure.Cost:
    from stages.config.paths import Paths
    from stages.prepare import prepare_dataset
    from tests.benchmarks.phantom_params import params_of_phantoms

    params = params_of_phantoms(NAME, images=args.of, size_px=args.px)
    watch = measure.Stopwatch()
    prepare_dataset(params, NAME, Paths(args.folder))
    return watch.cost()


def _crop(args: argparse.Namespace) -> measure.Cost:
    from stages.config.params import NoCrop, View
    from stages.config.paths import Paths
    from stages.crop import crop_view
    from tests.benchmarks.phantom_params import params_of_phantoms

    params = params_of_phantoms(NAME, images=args.of, size_px=args.px)
    view = View(dataset=NAME, crop=NoCrop(kind="none"), size_px=args.view_px, fit="letterbox")
    params = params.model_copy(update={"views": {NAME: view}})
    watch = measure.Stopwatch()
    crop_view(params, NAME, Paths(args.folder))
    return watch.cost()


def _train(args: argparse.Namespace) -> measure.Cost:
    """One epoch, from the view's files to the model's."""
    from stages.config.paths import Paths
    from stages.dataset.image_set import load_image_set
    from stages.dataset.runs import Run
    from stages.modeling.checkpoint import save_model
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    recipe = recipe_with(epochs=1, batch_size=32)
    training = Training(args.model, "all", head=[], dropout=0.0, recipe=recipe)
    watch = measure.Stopwatch()
    view = load_image_set(Paths(args.folder).view(NAME))
    run = Run("", 1, 1, view.manifest["split"].to_numpy(str))
    trained = train_product(view, run, training, scratch=args.folder)
    save_model(args.folder / "trained", trained.run.classifier.state_dict(), trained.run.meta)
    return watch.cost()


def _predict(args: argparse.Namespace) -> measure.Cost:
    from stages.config.paths import Paths
    from stages.dataset.image_set import load_image_set
    from stages.modeling.checkpoint import load_classifier, outputs_of
    from stages.modeling.compute import Hardware, keep_freed_memory
    from stages.modeling.predict import predict_probabilities

    keep_freed_memory()
    watch = measure.Stopwatch()
    view = load_image_set(Paths(args.folder).view(NAME))
    classifier, meta = load_classifier(args.folder / "trained")
    hardware = Hardware("cpu", meta["precision"])
    predict_probabilities(
        classifier, outputs_of(meta), view.images, hardware=hardware, mirror=False
    )
    return watch.cost()


def _show(grown: list[Growth], args: argparse.Namespace) -> None:
    print(f"\nphantoms of {args.px} px, views of {args.view_px} px, one epoch of {args.model}")
    columns = ("images", "ms/image", "CPU ms/image", "x smallest", "MiB", "x smallest")
    print(f"{'stage':<10}" + "".join(f"{column:>13}" for column in columns))
    smallest = {row.stage: row for row in grown if row.images == args.images[0]}
    worst_time = worst_memory = 0.0
    for stage, images, cost in sorted(grown, key=lambda row: STAGES.index(row.stage)):
        base = smallest[stage]
        slower = cost.seconds / images / (base.cost.seconds / base.images)
        larger = cost.peak_mib / base.cost.peak_mib
        worst_time, worst_memory = max(worst_time, slower), max(worst_memory, larger)
        print(
            f"{stage:<10}{images:>13}{1000 * cost.seconds / images:>13.2f}"
            f"{1000 * cost.cpu_seconds / images:>13.2f}{slower:>13.2f}"
            f"{cost.peak_mib:>13.0f}{larger:>13.2f}"
        )
    print(f"time per image at most {worst_time:.2f} of the smallest size's (limit {LINEAR})")
    print(f"peak memory at most {worst_memory:.2f} of the smallest size's (limit {FLAT})")
    print(measure.describe_run())


if __name__ == "__main__":
    main()
