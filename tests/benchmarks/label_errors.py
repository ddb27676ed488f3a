"""Label errors: which share of planted flips is listed, and how many of those listed are flips.

Phantoms whose lesions are plain to see are written as files, a share of them into the folder of
another class. The project's own stages then prepare, crop, audit and train in five folds, and
those who judge labels out of fold are held against what was flipped: the case, and the plain model
of the audit. The time is that of all stages.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stages.audit import LABEL_PROBE, audit_view
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.yaml_file import read_yaml
from stages.crop import crop_view
from stages.dataset.image_set import load_image_set
from stages.dataset.predictions import load_predictions, load_tables
from stages.evaluation.label_errors import LabelLook, look_at_labels, look_at_labels_of_case
from stages.phantoms.ct import draw_ct
from stages.phantoms.xray import draw_xray
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights
from tests.benchmarks import measure

NAME = "flipped"  # of the data set, its view, its case and its recipe
CASE = "ct-cnn-lungs"  # the case of params.yaml whose network, loss and recipe are taken
PATTERNS = {
    "ct": {"normal": "none", "covid": "ground_glass"},
    "xray": {"normal": "none", "infected": "ground_glass"},
    "xray3": {"normal": "none", "pneumonia": "consolidation", "covid": "ground_glass"},
}
TOP = 10  # as many as the report shows


class Judged(NamedTuple):
    """One list held against what was flipped."""

    seed: int
    source: str
    look: LabelLook
    flipped: set[str]

    @property
    def is_flip(self) -> list[bool]:
        """Of each label listed."""
        return [one.image_id in self.flipped for one in self.look.suspected]


def main() -> None:
    """Plant flips with each seed, look for them, and print what was found."""
    args = _parse()
    watch, judged = measure.Stopwatch(), []
    _show_header()
    for seed in args.seeds:
        with _folder(args.scratch) as folder:
            for one in _judge(args, seed, folder):
                judged.append(one)
                _show(one)
    for source in dict.fromkeys(one.source for one in judged):
        _show_sum(source, [one for one in judged if one.source == source])
    print(f"\n{watch.cost().cpu_seconds / len(args.seeds):.0f} CPU seconds per seed")
    print(measure.describe_run())


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=1)
    parser.add_argument("--kind", choices=list(PATTERNS), default="ct", help="of phantoms")
    parser.add_argument("--patients", type=int, default=40, help="of each class, an image each")
    parser.add_argument("--px", type=int, default=160, help="side of phantoms")
    parser.add_argument("--view-px", type=int, default=96, help="side of the lung crop")
    parser.add_argument("--epochs", type=int, default=5, help="of each of five trainings")
    parser.add_argument("--flips", type=float, default=0.05, help="share of the labels")
    parser.add_argument("--faint", action="store_true", help="lesions as the cohorts have them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--scratch", type=Path, help="folder with room for the files")
    return parser.parse_args()


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        yield Path(folder)


def _judge(args: argparse.Namespace, seed: int, folder: Path) -> Iterator[Judged]:
    """What each source says of one cohort."""
    _write_files(args, seed, folder / "files")
    params, paths = _params(args, folder / "files"), Paths(folder)
    prepare_dataset(params, NAME, paths)
    crop_view(params, NAME, paths)
    audit_view(params, NAME, paths)
    make_weights(params, params.case(NAME).weights, paths)
    train_case(params, NAME, paths)
    view = load_image_set(paths.view(NAME))
    is_flipped = [
        Path(file).name.partition("_")[0] != label
        for file, label in zip(view.manifest["source_path"], view.manifest["label"], strict=True)
    ]
    flipped = set(view.manifest["image_id"][is_flipped])
    runs = load_tables(paths.case_predictions(NAME)).runs
    said = load_predictions(paths.audit_predictions(NAME))
    plain = said[said["probe"] == LABEL_PROBE]
    task = view.info.task
    yield Judged(seed, "case in five folds", look_at_labels_of_case(runs, task), flipped)
    plain_look = look_at_labels(plain, task, n_images=len(view.manifest))
    yield Judged(seed, "plain model", plain_look, flipped)


def _write_files(args: argparse.Namespace, seed: int, folder: Path) -> None:
    """<label>/<class>_<number>.png, where the label of some is not the class."""
    classes = list(PATTERNS[args.kind])
    truth = np.repeat(np.arange(len(classes)), args.patients)
    rng = np.random.default_rng([seed, *b"flips"])
    flips = rng.choice(len(truth), round(args.flips * len(truth)), replace=False)
    labels = truth.copy()
    labels[flips] = (truth[flips] + rng.integers(1, len(classes), len(flips))) % len(classes)
    draw: Any = draw_ct if args.kind == "ct" else draw_xray
    for number, (of, label) in enumerate(zip(truth, labels, strict=True)):
        pattern = PATTERNS[args.kind][classes[of]]
        streams = np.random.default_rng([seed, number]).spawn(2)
        drawn = draw(pattern, *streams, size_px=args.px, plain=not args.faint)
        path = folder / classes[label] / f"{classes[of]}_{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.image).save(path)


def _params(args: argparse.Namespace, files: Path) -> Params:
    """Those of the repository, with one data set, view and case."""
    raw: dict[str, Any] = dict(read_yaml(Path("params.yaml")))  # type: ignore[call-overload]
    source = {"kind": "folder", "path": str(files)}
    dataset = raw["datasets"][args.kind] | {"source": source, "cohort": None, "size_px": args.px}
    case, view = raw["cases"][CASE], raw["views"]["ct-lungs"]
    recipe = raw["recipes"][case["recipe"]] | {"epochs": args.epochs, "patience": args.epochs}
    names = {"view": NAME, "recipe": NAME, "protocol": "five-folds", "sampler": "none"}
    loss = {"loss": {"kind": "ce", "label_smoothing": 0.0}}
    raw |= {
        "datasets": {NAME: dataset},
        "views": {NAME: view | {"dataset": NAME, "size_px": args.view_px}},
        "recipes": raw["recipes"] | {NAME: recipe},
        "cases": {NAME: case | names | loss},
        "comparisons": {},
        "searches": {},
        "external": {},
    }
    return parse_params(raw)


def _show_header() -> None:
    columns = f"{'judged':>8}{'bal. acc.':>11}{'flips':>7}{'listed':>8}"
    print(
        f"{'seed':<6}{'source':<20}{columns}{'found':>8}{'precision':>11}{f'of first {TOP}':>13}",
        flush=True,
    )


def _show(one: Judged) -> None:
    look, is_flip = one.look, one.is_flip
    found, precision = (
        f"{sum(is_flip) / of:.0%}" if of else "n/a" for of in (len(one.flipped), len(is_flip))
    )
    print(
        f"{one.seed:<6}{one.source:<20}{look.n_judged:>8}{look.balanced_accuracy or 0:>11.3f}"
        f"{len(one.flipped):>7}{len(is_flip):>8}{found:>8}{precision:>11}"
        f"{sum(is_flip[:TOP]):>13}",
        flush=True,
    )


def _show_sum(source: str, judged: list[Judged]) -> None:
    """Over all seeds: all flips and all lists as one."""
    hits = sum(sum(one.is_flip) for one in judged)
    planted = sum(len(one.flipped) for one in judged)
    listed = sum(len(one.is_flip) for one in judged)
    print(
        f"all   {source}: {hits} of {planted} flips found"
        + (f" ({hits / planted:.0%})" if planted else "")
        + f"; {listed} listed"
        + (f", of which {hits / listed:.0%} flips" if listed else "")
    )


if __name__ == "__main__":
    main()
