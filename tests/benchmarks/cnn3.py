"""The three-conv network at 512 px: the way of its public original v the product.

The original (alfielenton/Covid-19-lung-scans): all images in memory as float RGB tensors; per batch
grey, centre crop of 350, resize to 512, flips and rotation of up to 15 degrees (torchvision v2);
three convolutions with dropout before each ReLU, two FC layers, one logit; fp32, NCHW, Adam, BCE,
weighted sampler. The product's network has the same layers, with dropout before its FC layers
alone. `--dropout 0` leaves it out of the original: then both compute the same layers.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks import measure

MODULE = "tests.benchmarks.cnn3"
SIDES = ("original", "product")
SIZE_PX = 512


def main() -> None:
    """Draw the files, run both sides in turn, print the ratio of an epoch and both peaks."""
    args = _parse()
    if args.side:
        measure.hand_back(_original(args) if args.side == "original" else _product(args))
        return
    from tests.benchmarks.pictures import draw_pictures

    with tempfile.TemporaryDirectory() as name:
        draw_pictures(Path(name) / "pictures", train=args.images, size_px=SIZE_PX)
        sides = {
            side: partial(measure.in_child, MODULE, *sys.argv[1:], "--side", side, "--folder", name)
            for side in SIDES
        }
        costs = measure.interleave(sides, args.rounds)
    title = f"cnn3, {SIZE_PX} px, batch {args.batch}: an epoch of {args.images} images"
    measure.show(title, costs, unit="epoch")


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--images", type=int, default=128, help="training images; whole batches")
    parser.add_argument("--epochs", type=int, default=1, help="epochs that are timed")
    parser.add_argument("--batch", type=int, default=32, help="images per step")
    parser.add_argument("--dropout", type=float, default=0.5, help="on the original's maps")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.images % args.batch:
        parser.error(f"--images: got {args.images}; allowed: multiples of --batch ({args.batch})")
    return args


def _original(args: argparse.Namespace) -> measure.Cost:
    from tests.benchmarks.cnn3_original import train_original

    folder = args.folder / "pictures" / "train"
    cost = train_original(folder, args.batch, args.epochs, dropout=args.dropout)
    return cost.per(args.epochs)


def _product(args: argparse.Namespace) -> measure.Cost:
    from tests.benchmarks.pictures import view_of
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    recipe = recipe_with(
        optimizer="adam",
        weight_decay=1e-4,
        epochs=1 + args.epochs,
        patience=1 + args.epochs,
        batch_size=args.batch,
    )
    training = Training("cnn3", "all", head=[512], dropout=0.5, recipe=recipe, one_logit=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        scratch = Path(name)
        view, run = view_of(args.folder / "pictures", size_px=SIZE_PX, scratch=scratch)
        later = train_product(view, run, training, scratch=scratch).later_epochs
    assert later
    return later.per(args.epochs)


if __name__ == "__main__":
    main()
