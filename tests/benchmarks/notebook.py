"""Training images per second: a notebook's way (fp32, NCHW, PIL in every epoch) v the product.

Both sides are processes of their own, in turn. Decoding is part of the notebook's epochs; the
product does it once, in `prepare`, which is not counted here. Validation counts for nothing: the
notebook's is left out, the product's is of two images.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import measure
from tests.benchmarks.training_options import add_network, parse, sides_on_files, training_parser

MODULE = "tests.benchmarks.notebook"
SIDES = ("notebook", "product")


def main() -> None:
    """Draw the files, run both sides in turn, print the ratio."""
    args = _parse()
    if args.side:
        measure.hand_back(_run_side(args))
        return
    with sides_on_files(MODULE, SIDES, args, file_px=args.file_px) as sides:
        costs = measure.interleave(sides, args.rounds)
    title = (
        f"{args.model}, trains {args.train}, {args.px} px, batch {args.batch}, {args.optimizer}; "
        f"epochs: {args.epochs}, of {args.images} images"
    )
    measure.show(title, costs, unit="image")


def _parse() -> argparse.Namespace:
    parser = training_parser(__doc__, images=32, batch=16)
    add_network(parser, train="all")
    parser.add_argument("--epochs", type=int, default=1, help="epochs that are timed")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd", help="of both sides")
    return parse(parser)


def _run_side(args: argparse.Namespace) -> measure.Cost:
    """Cost per image of one side, in this process; its imports are its own."""
    cost, parameters = _notebook(args) if args.side == "notebook" else _product(args)
    print(f"{args.side}: {parameters:,} parameters", file=sys.stderr)
    return cost.per(args.images * args.epochs)


def _notebook(args: argparse.Namespace) -> tuple[measure.Cost, int]:
    from tests.benchmarks.notebook_side import train_notebook

    return train_notebook(
        args.folder / "pictures",
        args.model,
        train=args.train,
        size_px=args.px,
        batch=args.batch,
        epochs=args.epochs,
        adam=args.optimizer == "adam",
    )


def _product(args: argparse.Namespace) -> tuple[measure.Cost, int]:
    from tests.benchmarks.pictures import view_of
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    epochs = 1 + args.epochs  # the first is a warm-up
    recipe = recipe_with(
        optimizer=args.optimizer,
        lr=1e-2,  # at less, random weights of a VGG move by no more than float noise
        epochs=epochs,
        patience=epochs,
        batch_size=args.batch,
    )
    training = Training(args.model, args.train, head=[], dropout=0.0, recipe=recipe)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        scratch = Path(name)
        view, run = view_of(args.folder / "pictures", size_px=args.px, scratch=scratch)
        trained = train_product(view, run, training, scratch=scratch)
    assert trained.later_epochs
    return trained.later_epochs, trained.parameters


if __name__ == "__main__":
    main()
