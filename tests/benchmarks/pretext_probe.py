"""What the features of pretext weights are worth on each phantom set, beside random weights.

Not a time: the AUROC of a logistic regression on the frozen features, each image by a model that
saw none of its group, and the paired difference. Needs the default run's views and weights.

    python -m tests.benchmarks.pretext_probe
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.load import load_params
from stages.config.params import FileWeights, MetaScaling, Params
from stages.config.paths import Paths
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.split import deal_folds
from stages.dataset.task import Task
from stages.evaluation.audit_report import tabulate_probe
from stages.evaluation.scored import draw_metrics, score_rows
from stages.evaluation.shortcuts import probe_probabilities
from stages.evaluation.statistics.bootstrap import Draws, compare
from stages.evaluation.statistics.records import Bootstrap, Estimate
from stages.modeling.compute import choose_hardware
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range
from stages.modeling.initial import InitialWeights, file_weights, random_weights

FOLDS = 5
BATCH_SIZE = 64


def main() -> None:
    """Print a row per network and view."""
    options = _parse()
    params, paths = load_params(), Paths()
    for name in options.weights:
        model = params.initial_weights(name).model
        own = FileWeights(
            kind="file", path=str(paths.weights(name)), scaling=MetaScaling(kind="meta")
        )
        sides = (
            file_weights(model, own),
            random_weights(model, seed=params.seed),
        )
        for view_name in options.views:
            view = load_image_set(paths.view(view_name))
            first, second = (_probe(start, view, params) for start in sides)
            auroc = compare(first, second, paired=True)["auroc"]
            print(
                f"{name:<18}{view_name:<16}{_text(auroc.first)} v random {_text(auroc.second)}: "
                f"{_text(auroc.difference, '+')}",
                flush=True,
            )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--weights", nargs="+", default=["resnet18-pretext", "resnet50-pretext", "vgg16-pretext"]
    )
    parser.add_argument(
        "--views", nargs="+", default=["ct-lungs-small", "xray-lungs", "xray3-lungs"]
    )
    return parser.parse_args()


def _probe(start: InitialWeights, view: ImageSet, params: Params) -> Draws:
    """AUROC of a logistic regression on the features, under draws of groups."""
    groups, labels = (view.manifest[column].to_numpy(str) for column in ("group_id", "label"))
    fold_of = deal_folds(labels, groups, FOLDS, seed=params.seed)
    said = probe_probabilities(_features(start, view.images, params), view.targets, fold_of)
    task = Task(tuple(view.info.class_names), view.info.positive_index)
    rows = tabulate_probe(view, "features", said)
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
    return draw_metrics(score_rows(rows, task), task, bootstrap).only(["auroc"])


def _features(
    start: InitialWeights, images: NDArray[np.uint8], params: Params
) -> NDArray[np.float64]:
    """(N, F) of images (N, S, S), in evaluation, in the precision of trainings."""
    backbone = start.backbone.to(memory_format=torch.channels_last).eval()
    rows = ImageRows(images, np.zeros(len(images), np.int64), np.arange(len(images)))
    with torch.inference_mode(), choose_hardware(params.compute).autocast():
        parts: Sequence[torch.Tensor] = [
            backbone((to_unit_range(batch.images) - start.mean) / start.std).float()
            for batch in ordered_loader(rows, batch_size=BATCH_SIZE)
        ]
    return torch.cat(list(parts)).double().numpy()


def _text(estimate: Estimate, sign: str = "") -> str:
    return f"{estimate.value:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"


if __name__ == "__main__":
    main()
