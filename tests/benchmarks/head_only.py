"""Fifteen epochs with a frozen backbone: a notebook's way v the product with cached activations.

The notebook runs the whole network in every epoch, so one epoch is timed and counted as often as
there are epochs. The product's figure is everything from the PNG files to the trained network:
decoding them once, building, hashing, the cache, all epochs, keeping the best. It is not the same
computation: frozen batch normalisation is in evaluation (the notebook's is not), and with a cache
an image is seen in `cache_views` augmented views instead of a new one per epoch.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks import measure

MODULE = "tests.benchmarks.head_only"
NOTEBOOK = "notebook"


def main() -> None:
    """Draw the files, run the notebook and the product with each number of views in turn."""
    args = _parse()
    if args.side:
        measure.hand_back(_notebook(args) if args.side == NOTEBOOK else _product(args))
        return
    from tests.benchmarks.pictures import draw_pictures

    with tempfile.TemporaryDirectory() as name:
        draw_pictures(Path(name) / "pictures", train=args.images, size_px=args.file_px)
        sides = {
            side: partial(measure.in_child, MODULE, *sys.argv[1:], "--side", side, "--folder", name)
            for side in (NOTEBOOK, *(str(views) for views in args.views))
        }
        costs = measure.interleave(sides, args.rounds)
    named = {
        side if side == NOTEBOOK else f"cache_views {side}": of_side
        for side, of_side in costs.items()
    }
    title = (
        f"{args.model}, trains {args.train}, {args.px} px, batch {args.batch}: "
        f"{args.epochs} epochs of {args.images} images"
    )
    measure.show(title, named, unit="training")


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--model", default="resnet18", help="resnet18, resnet50, vgg16, vgg16_fc")
    parser.add_argument("--train", default="head", help="head | last:1")
    parser.add_argument(
        "--views", type=int, nargs="+", default=[1, 2], help="cache_views of the product; 0: none"
    )
    parser.add_argument("--images", type=int, default=48, help="training images; whole batches")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of a training")
    parser.add_argument("--batch", type=int, default=16, help="images per step")
    parser.add_argument("--px", type=int, default=224, help="side of the networks' input")
    parser.add_argument("--file-px", type=int, default=448, help="side of the PNG files")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.images % args.batch:
        parser.error(f"--images: got {args.images}; allowed: multiples of --batch ({args.batch})")
    return args


def _notebook(args: argparse.Namespace) -> measure.Cost:
    """One epoch, counted `--epochs` times."""
    from tests.benchmarks.notebook_side import train_notebook

    cost, _ = train_notebook(
        args.folder / "pictures",
        args.model,
        train=args.train,
        size_px=args.px,
        batch=args.batch,
        epochs=1,
        adam=True,
    )
    return cost.per(1 / args.epochs)


def _product(args: argparse.Namespace) -> measure.Cost:
    from tests.benchmarks.pictures import view_of
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    recipe = recipe_with(
        optimizer="adam",
        lr=1e-4,
        epochs=args.epochs,
        patience=args.epochs,
        batch_size=args.batch,
        cache_views=int(args.side),
    )
    training = Training(args.model, args.train, head=[], dropout=0.0, recipe=recipe)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        watch = measure.Stopwatch()
        view, run = view_of(args.folder / "pictures", size_px=args.px, scratch=Path(scratch))
        train_product(view, run, training, scratch=Path(scratch))
        return watch.cost()


if __name__ == "__main__":
    main()
