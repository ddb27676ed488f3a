"""`prepare` on one process and on as many as there are cores.

joblib takes its number of processes from LOKY_MAX_CPU_COUNT. What is timed is the stage itself,
drawing of the phantoms included, without the imports.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks import measure

MODULE = "tests.benchmarks.prepare"
NAME = "ct"


def main() -> None:
    """Run the stage with each number of processes in turn."""
    args = _parse()
    if args.child:
        measure.hand_back(_prepare(args))
        return
    sides = {
        f"{count} process{'es' if count > 1 else ''}": partial(
            measure.in_child,
            MODULE,
            *sys.argv[1:],
            "--child",
            environment={**os.environ, "LOKY_MAX_CPU_COUNT": str(count)},
        )
        for count in args.processes
    }
    costs = measure.interleave(sides, args.rounds)
    title = f"prepare, {args.images} phantoms of {args.px} px"
    measure.show(title, costs, unit="image")


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--images", type=int, default=200, help="phantoms, of two classes")
    parser.add_argument("--px", type=int, default=96, help="pixels of a phantom's side")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="to compare")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _prepare(args: argparse.Namespace) -> measure.Cost:
    from stages.config.paths import Paths
    from stages.prepare import prepare_dataset
    from tests.benchmarks.phantom_params import params_of_phantoms

    params = params_of_phantoms(NAME, images=args.images, size_px=args.px)
    with tempfile.TemporaryDirectory() as root:
        watch = measure.Stopwatch()
        prepare_dataset(params, NAME, Paths(Path(root)))
        return watch.cost().per(args.images)


if __name__ == "__main__":
    main()
