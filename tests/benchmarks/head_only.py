"""Fifteen epochs with a frozen backbone: a notebook's way v the product with cached activations.

The notebook runs the whole network in every epoch, so one epoch is timed and counted as often as
there are epochs. The product's figure is everything from the PNG files to the trained network:
decoding them once, building, hashing, the cache, all epochs, keeping the best. It is not the same
computation: frozen batch normalisation is in evaluation (the notebook's is not), and with a cache
an image is seen in `cache_views` augmented views instead of a new one per epoch.
"""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks import measure
from tests.benchmarks.training_options import add_network, parse, sides_on_files, training_parser

MODULE = "tests.benchmarks.head_only"
NOTEBOOK = "notebook"


def main() -> None:
    """Draw the files, run the notebook and the product with each number of views in turn."""
    args = _parse()
    if args.side:
        measure.hand_back(_notebook(args) if args.side == NOTEBOOK else _product(args))
        return
    names = (NOTEBOOK, *(str(views) for views in args.views))
    with sides_on_files(MODULE, names, args, file_px=args.file_px) as sides:
        costs = measure.interleave(sides, args.rounds)
    named = {
        side if side == NOTEBOOK else f"cache_views {side}": of_side
        for side, of_side in costs.items()
    }
    title = (
        f"{args.model}, trains {args.train}, {args.px} px, batch {args.batch}; "
        f"epochs: {args.epochs}, of {args.images} images"
    )
    measure.show(title, named, unit="training")


def _parse() -> argparse.Namespace:
    parser = training_parser(__doc__, images=32, batch=16)
    add_network(parser, train="head")
    parser.add_argument(
        "--views", type=int, nargs="+", default=[1, 2], help="cache_views of the product; 0: none"
    )
    parser.add_argument("--epochs", type=int, default=15, help="epochs of a training")
    return parse(parser)


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
    from stages.config.params import Recipe
    from tests.benchmarks.pictures import view_of
    from tests.benchmarks.product import Training, train_product
    from tests.modeling.recipes import recipe_with

    recipe = recipe_with(
        optimizer="adam",
        lr=1e-4,
        epochs=args.epochs,
        patience=args.epochs,
        batch_size=args.batch,
    )
    # Checked, so that no run without a cache passes for one with it.
    recipe = Recipe.model_validate({**recipe.model_dump(), "cache_views": int(args.side)})
    training = Training(args.model, args.train, head=[], dropout=0.0, recipe=recipe)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        watch = measure.Stopwatch()
        view, run = view_of(args.folder / "pictures", size_px=args.px, scratch=Path(scratch))
        train_product(view, run, training, scratch=Path(scratch))
        return watch.cost()


if __name__ == "__main__":
    main()
