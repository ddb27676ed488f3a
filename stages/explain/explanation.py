"""Probabilities and maps of some images of a view, by the models of one case."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.explain.methods import compute_cams, default_target_layer
from stages.explain.selection import tested_by
from stages.imaging.image_set import ImageSet
from stages.imaging.runs import load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.classifier import Classifier
from stages.modeling.data import to_unit_range
from stages.modeling.outputs import Outputs

FloatArray = NDArray[np.float32]


class Explanation(NamedTuple):
    """What a case says of some images, and where it looks.

    Attributes:
        target_layer: name of the module that the maps are taken from.
        probabilities: (N, K), rows sum to 1.
        maps: per method (N, S, S) in [0, 1], of the predicted class.
    """

    target_layer: str
    probabilities: FloatArray
    maps: dict[str, FloatArray]


def explain_rows(
    view: ImageSet,
    rows: NDArray[np.int64],
    case_folder: Path,
    *,
    methods: Sequence[str],
    target_layer: str | None,
) -> Explanation:
    """Explain each image by the first run that tests it, so by none that was trained on it.

    Args:
        view: the images.
        rows: (N,) row numbers of test images.
        case_folder: of the case's models.
        methods: names from `METHODS`.
        target_layer: name of a module; None takes the last feature stage.
    """
    parts: list[Explanation] = []
    order: list[NDArray[np.int64]] = []
    for run, positions in tested_by(load_runs(case_folder, view.manifest["image_id"]), rows):
        classifier, meta = load_classifier(run_folder(case_folder, run.name))
        images = to_unit_range(torch.from_numpy(view.images[rows[positions]]))
        layer = target_layer or default_target_layer(classifier)
        parts.append(_explain(classifier, outputs_of(meta), images, methods, layer))
        order.append(positions)
    back = np.argsort(np.concatenate(order))
    return Explanation(
        parts[0].target_layer,
        np.concatenate([part.probabilities for part in parts])[back],
        {name: np.concatenate([part.maps[name] for part in parts])[back] for name in methods},
    )


def _explain(
    classifier: Classifier,
    outputs: Outputs,
    images: Tensor,
    methods: Sequence[str],
    target_layer: str,
) -> Explanation:
    with torch.inference_mode():
        probabilities = outputs.probabilities(classifier(images))
    predicted = probabilities.argmax(dim=1).clone()  # a normal tensor, for use under autograd
    maps: dict[str, FloatArray] = {
        method: compute_cams(
            classifier, outputs, images, predicted, method=method, target_layer=target_layer
        )
        for method in methods
    }
    return Explanation(target_layer, probabilities.numpy(), maps)
