"""Training images per second: a notebook's way (fp32, NCHW, PIL in every epoch) v the product.

Both sides are processes of their own, in turn. Decoding is part of the notebook's epochs; the
product does it once, in `prepare`, which is not counted here. Neither side's validation counts for
much: the product's is of two images.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks import measure

MODULE = "tests.benchmarks.notebook"
SIDES = ("notebook", "product")
MODELS = ("resnet18", "resnet50", "vgg16", "vgg16_fc")


def main() -> None:
    """Draw the files, run both sides in turn, print the ratio."""
    args = _parse()
    if args.side:
        measure.hand_back(_run_side(args))
        return
    with tempfile.TemporaryDirectory() as name:
        _draw(args, Path(name))
        sides = {
            side: partial(measure.in_child, MODULE, *sys.argv[1:], "--side", side, "--folder", name)
            for side in SIDES
        }
        costs = measure.interleave(sides, args.rounds)
    title = (
        f"{args.model}, trains {args.train}, {args.px} px, batch {args.batch}, {args.optimizer}: "
        f"{args.epochs} epochs of {args.images} images"
    )
    measure.show(title, costs, unit="image")


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--model", choices=MODELS, default="resnet18", help="network of both sides")
    parser.add_argument("--train", default="all", help="all | head | last:1")
    parser.add_argument("--images", type=int, default=32, help="training images; whole batches")
    parser.add_argument("--epochs", type=int, default=1, help="epochs that are timed")
    parser.add_argument("--batch", type=int, default=16, help="images per step")
    parser.add_argument("--px", type=int, default=224, help="side of the networks' input")
    parser.add_argument("--file-px", type=int, default=448, help="side of the PNG files")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd", help="of both sides")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.images % args.batch:
        parser.error(f"--images: got {args.images}; allowed: multiples of --batch ({args.batch})")
    return args


def _draw(args: argparse.Namespace, folder: Path) -> None:
    from tests.benchmarks.pictures import draw_pictures

    draw_pictures(folder / "pictures", train=args.images, size_px=args.file_px)
    for side in SIDES:
        (folder / side).mkdir()


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

    scratch = args.folder / args.side
    view, run = view_of(args.folder / "pictures", size_px=args.px, scratch=scratch)
    recipe = recipe_with(
        optimizer=args.optimizer,
        lr=1e-4,
        epochs=1 + args.epochs,
        patience=1 + args.epochs,
        batch_size=args.batch,
    )
    training = Training(args.model, args.train, head=[], dropout=0.0, recipe=recipe)
    trained = train_product(view, run, training, scratch=scratch)
    assert trained.later_epochs
    return trained.later_epochs, trained.parameters


if __name__ == "__main__":
    main()
