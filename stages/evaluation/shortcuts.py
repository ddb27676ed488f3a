"""Probes: how well can the label be told without looking at the disease?

Each probe gives one row of features per image to a plain logistic regression. What it can tell
from the file, from the border, or with the lungs blacked out, a network can tell too.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.imaging.image_set import ImageSet

FloatArray = NDArray[np.float64]
THUMBNAIL_PX = 16
BORDER_SHARE = 0.1  # of the side, on each side
REGULARISATION = 0.01  # strong: hundreds of pixels against a few hundred patients


def file_features(view: ImageSet) -> FloatArray:
    """Width, height, aspect ratio, mode and format of the original file; no pixel."""
    files = view.manifest
    sizes = np.column_stack(
        (np.log(files["width"]), np.log(files["height"]), files["width"] / files["height"])
    )
    kinds = pd.get_dummies(files[["mode", "format"]]).to_numpy(np.float64)
    return np.column_stack((sizes, kinds))


def whole_features(view: ImageSet) -> FloatArray:
    """A 16 x 16 thumbnail of the whole view."""
    return _thumbnails(view, lambda image, lungs: image)


def no_lungs_features(view: ImageSet) -> FloatArray:
    """The thumbnail with the lungs blacked out."""
    return _thumbnails(view, lambda image, lungs: image * (1 - lungs))


def lungs_only_features(view: ImageSet) -> FloatArray:
    """The thumbnail with everything but the lungs blacked out."""
    return _thumbnails(view, lambda image, lungs: image * lungs)


def border_features(view: ImageSet) -> FloatArray:
    """The thumbnail with all but a frame of a tenth of the side blacked out."""

    def keep_border(image: NDArray[np.uint8], lungs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        framed = image.copy()
        width = round(len(image) * BORDER_SHARE)
        framed[width:-width, width:-width] = 0
        return framed

    return _thumbnails(view, keep_border)


PROBES: Mapping[str, Callable[[ImageSet], FloatArray]] = {
    "file": file_features,
    "border": border_features,
    "no_lungs": no_lungs_features,
    "lungs_only": lungs_only_features,
    "whole": whole_features,
}


def probe_probabilities(
    features: FloatArray,
    targets: NDArray[np.int64],
    group_ids: NDArray[np.str_],
    *,
    folds: int,
    seed: int,
) -> FloatArray:
    """(N, classes) of each image by a model that saw none of its group."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGULARISATION, class_weight="balanced")
    )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    probabilities: FloatArray = cross_val_predict(
        model, features, targets, groups=group_ids, cv=splitter, method="predict_proba"
    )
    return probabilities


def _thumbnails(
    view: ImageSet, mask: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]
) -> FloatArray:
    """(N, 256): each view masked, then averaged down to a thumbnail."""
    assert view.lung_masks is not None  # a view has them
    rows = [
        np.asarray(
            Image.fromarray(mask(np.asarray(image), np.asarray(lungs))).resize(
                (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX
            ),
            np.float64,
        ).ravel()
        for image, lungs in zip(view.images, view.lung_masks, strict=True)
    ]
    return np.stack(rows)
