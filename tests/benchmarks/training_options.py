"""The command line of benchmarks that train on drawn files, and their files."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.benchmarks import measure

MODELS = ("resnet18", "resnet50", "vgg16", "vgg16_fc")


def training_parser(doc: str | None, *, images: int, batch: int) -> argparse.ArgumentParser:
    """Numbers of images, and what a child is told by its parent."""
    parser = measure.parser(doc, rounds=1)
    parser.add_argument("--images", type=int, default=images, help="training images; whole batches")
    parser.add_argument("--batch", type=int, default=batch, help="images per step")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def add_network(parser: argparse.ArgumentParser, *, train: str) -> None:
    """Options of a benchmark against a notebook's network."""
    parser.add_argument("--model", choices=MODELS, default="resnet18", help="of both sides")
    parser.add_argument("--train", choices=("all", "head", "last:1"), default=train, help="what of")
    parser.add_argument("--px", type=int, default=224, help="side of the networks' input")
    parser.add_argument("--file-px", type=int, default=448, help="side of the PNG files")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Refuse what would count images that no step sees, or blocks that are not the same."""
    args = parser.parse_args()
    if args.images % args.batch:
        parser.error(f"--images: got {args.images}; allowed: multiples of --batch ({args.batch})")
    if getattr(args, "train", "") == "last:1" and not args.model.startswith("resnet"):
        parser.error(f"--train last:1: got --model {args.model}; allowed: resnet18, resnet50")
    return args


@contextmanager
def sides_on_files(
    module: str, names: Sequence[str], args: argparse.Namespace, *, file_px: int
) -> Iterator[dict[str, Callable[[], measure.Cost]]]:
    """Draw the files; each side is the module again, in a process that is told its name."""
    from tests.benchmarks.pictures import draw_pictures  # a child that asks for help needs none

    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder) / "pictures", train=args.images, size_px=file_px)
        yield {
            name: partial(
                measure.in_child, module, *sys.argv[1:], "--side", name, "--folder", folder
            )
            for name in names
        }
