"""Probes: how well can the label be told without looking at the disease?

Each probe gives one row of features per image to a plain logistic regression. What it can tell
from the file, from the border, or with the lungs hidden, a network can tell too. Whether it tells
anything is decided by dealing the labels anew (`p_values`).
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from stages.dataset.image_set import ImageSet
from stages.dataset.occlusion import find_lungs_anywhere
from stages.evaluation.cells import describe_cells, rank_marks, select_border
from stages.evaluation.statistics.permutation import (
    Permutations,
    PValues,
    permutation_p_values,
)

FloatArray = NDArray[np.float64]
THUMBNAIL_PX = 16
PICTURE_PX = 32  # of the references; more pixels told no more on the public sets
REGULARISATION = 0.01  # strong: hundreds of pixels against a few hundred patients
# Of least squares as the first step of that logistic regression from even odds, where the second
# derivative of its loss is a quarter (Hastie et al. 2009, section 4.4.1).
RIDGE_PENALTY = 4 / REGULARISATION
NEIGHBOURS = 5
MEMORISER = f"{NEIGHBOURS} nearest neighbours on {THUMBNAIL_PX} x {THUMBNAIL_PX} thumbnails"


class Probe(NamedTuple):
    """What a plain model gets to see.

    Attributes:
        kind: shortcut, or a reference to hold the shortcuts against.
        features: (N, F) of the images of a view.
    """

    kind: Literal["shortcut", "reference"]
    features: Callable[["Shown"], FloatArray]


class Shown:
    """A view as probes look at it; what several look at is made once.

    Attributes:
        view: N images.
    """

    def __init__(self, view: ImageSet) -> None:
        """Nothing is computed yet."""
        self.view = view

    @cached_property
    def hidden(self) -> NDArray[np.bool_]:
        """(S, S) where any image has lung; in a crop of the lungs all but the corners."""
        assert self.view.lung_masks is not None  # a view has them
        return find_lungs_anywhere(self.view.lung_masks)

    @cached_property
    def outside(self) -> FloatArray:
        """(N, 3, CELLS, CELLS) `describe_cells` of what is not hidden."""
        assert self.view.boxes is not None  # a view has them
        return describe_cells(self.view.images, self.view.boxes, self.hidden)


def file_features(view: ImageSet) -> FloatArray:
    """Width, height, aspect ratio, bytes, mode and format of the original file; no pixel."""
    files = view.manifest
    sizes = np.column_stack(
        (
            np.log(files["width"]),
            np.log(files["height"]),
            files["width"] / files["height"],
            np.log(files["file_bytes"]),
        )
    )
    kinds = pd.get_dummies(files[["mode", "format"]]).to_numpy(np.float64)
    return np.column_stack((sizes, kinds))


def geometry_features(view: ImageSet) -> FloatArray:
    """Where the picture lies in the view: all that a network can see of the file's shape."""
    assert view.boxes is not None  # a view has them
    edges = view.boxes[["view_x0", "view_y0", "view_x1", "view_y1"]].to_numpy(np.float64)
    return edges / view.images.shape[1]


def thumbnail_features(view: ImageSet) -> FloatArray:
    """A 16 x 16 thumbnail of the whole view."""
    return _pictures(view, lambda lungs: np.ones_like(lungs), THUMBNAIL_PX)


def whole_features(view: ImageSet) -> FloatArray:
    """The whole view."""
    return _pictures(view, lambda lungs: np.ones_like(lungs), PICTURE_PX)


def lungs_only_features(view: ImageSet) -> FloatArray:
    """The view with everything but the lungs hidden."""
    return _pictures(view, lambda lungs: lungs, PICTURE_PX)


PROBES: Mapping[str, Probe] = {
    "file": Probe("shortcut", lambda shown: file_features(shown.view)),
    "geometry": Probe("shortcut", lambda shown: geometry_features(shown.view)),
    "thumbnail": Probe("shortcut", lambda shown: thumbnail_features(shown.view)),
    "no_lungs": Probe("shortcut", lambda shown: shown.outside.reshape(len(shown.outside), -1)),
    "border": Probe("shortcut", lambda shown: select_border(shown.outside)),
    "marks": Probe("shortcut", lambda shown: rank_marks(shown.outside)),
    "lungs_only": Probe("reference", lambda shown: lungs_only_features(shown.view)),
    "whole": Probe("reference", lambda shown: whole_features(shown.view)),
}
# Needs no network, but can show the disease: that it tells the class is no finding.
SHOWS_DISEASE = ("thumbnail",)


def probe_probabilities(
    features: FloatArray, targets: NDArray[np.int64], fold_of: NDArray[np.int64]
) -> FloatArray:
    """(N, classes) of each image by a logistic regression that saw none of its fold.

    Args:
        features: (N, F).
        targets: (N,) class indices.
        fold_of: (N,) fold of each image, each with every class; `deal_folds` keeps groups whole.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGULARISATION, class_weight="balanced")
    )
    return _cross_validate(model, features, targets, fold_of)


def p_values(
    features: FloatArray,
    view: ImageSet,
    fold_of: NDArray[np.int64],
    permutations: Permutations,
) -> PValues:
    """Whether the features (N, F) tell the classes, overall and each from the rest."""
    groups = view.manifest["group_id"].to_numpy(str)
    return permutation_p_values(
        features,
        view.targets,
        groups,
        fold_of,
        penalty=RIDGE_PENALTY,
        permutations=permutations,
    )


def leakage_probabilities(view: ImageSet, fold_of: NDArray[np.int64]) -> FloatArray:
    """(N, classes) of each image by a model that memorises the images of the other folds.

    Nearest neighbours show a leak best: an image's twin in the training images answers for it.
    """
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(NEIGHBOURS))
    return _cross_validate(model, thumbnail_features(view), view.targets, fold_of)


def _cross_validate(
    model: ClassifierMixin,
    features: FloatArray,
    targets: NDArray[np.int64],
    fold_of: NDArray[np.int64],
) -> FloatArray:
    probabilities = np.zeros((len(targets), targets.max() + 1))
    # A step of so small a fit takes a millisecond; threads of BLAS spend 20 times that on waiting
    # for each other.
    with threadpool_limits(limits=1, user_api="blas"):
        for fold in np.unique(fold_of):
            tested = fold_of == fold
            fitted = clone(model).fit(features[~tested], targets[~tested])
            probabilities[tested] = fitted.predict_proba(features[tested])
    return probabilities


def _pictures(
    view: ImageSet, keep: Callable[[NDArray[np.bool_]], NDArray[np.bool_]], side: int
) -> FloatArray:
    """(N, side * side): each view reduced; what is not kept gets the mean grey of all views.

    Black would not hide the lungs of a CT slice: air is nearly black.
    """
    assert view.lung_masks is not None  # a view has them
    grey = np.uint8(round(float(np.mean([image.mean() for image in view.images]))))
    rows = [
        np.asarray(
            Image.fromarray(np.where(keep(np.asarray(lungs) > 0), image, grey)).resize(
                (side, side), Image.Resampling.BOX
            ),
            np.float64,
        ).ravel()
        for image, lungs in zip(view.images, view.lung_masks, strict=True)
    ]
    return np.stack(rows)
