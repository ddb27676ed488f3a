"""The three-conv network at 512 px: the way of its public original v the product.

The original (alfielenton/Covid-19-lung-scans): all images in memory as float RGB tensors; per batch
grey, centre crop of 350, resize to 512, flips and rotation of up to 15 degrees (torchvision v2);
three convolutions with dropout before each ReLU, two FC layers, one logit; fp32, NCHW, Adam, BCE,
weighted sampler. The product's network has the same layers, with dropout before its FC layers
alone. `--dropout 0` leaves it out of the original: then both compute the same layers.
"""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks import measure
from tests.benchmarks.training_options import parse, sides_on_files, training_parser

MODULE = "tests.benchmarks.cnn3"
SIDES = ("original", "product")
SIZE_PX = 512


def main() -> None:
    """Draw the files, run both sides in turn, print the ratio of an epoch and both peaks."""
    args = _parse()
    if args.side:
        measure.hand_back(_original(args) if args.side == "original" else _product(args))
        return
    with sides_on_files(MODULE, SIDES, args, file_px=SIZE_PX) as sides:
        costs = measure.interleave(sides, args.rounds)
    title = f"cnn3, {SIZE_PX} px, batch {args.batch}: an epoch of {args.images} images"
    measure.show(title, costs, unit="epoch")


def _parse() -> argparse.Namespace:
    parser = training_parser(__doc__, images=64, batch=32)
    parser.add_argument("--epochs", type=int, default=1, help="epochs that are timed")
    parser.add_argument("--dropout", type=float, default=0.5, help="on the original's maps")
    return parse(parser)


def _original(args: argparse.Namespace) -> measure.Cost:
    from tests.benchmarks.cnn3_original import train_original

    folder = args.folder / "pictures" / "train"
    cost = train_original(folder, args.batch, args.epochs, dropout=args.dropout)
    return cost.per(args.epochs)


def _product(args: argparse.Namespace) -> measure.Cost:
    from tests.benchmarks.pictures import view_of
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    epochs = 1 + args.epochs  # the first is a warm-up
    recipe = recipe_with(
        optimizer="adam", weight_decay=1e-4, epochs=epochs, patience=epochs, batch_size=args.batch
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
