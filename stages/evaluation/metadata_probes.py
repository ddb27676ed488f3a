"""Probes that see no pixel: what a table says of an image, the file beside it, or nothing at all.

Age, sex and view go with the label in many collections, and show in the picture: a network that
reads them off gains by it without a look at the disease.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from stages.config.progress import progress
from stages.dataset.image_set import ImageSet
from stages.dataset.metadata import Metadata
from stages.evaluation.shortcuts import PROBES, file_features
from stages.evaluation.statistics.permutation import (
    Permutations,
    PValues,
    permutation_p_values,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALL_COLUMNS, WITH_FILE, MAJORITY = "metadata", "file + metadata", "majority"
KNOTS = 4  # of a cubic spline in each number, at its quantiles: risks rise and fall with age
MAX_CATEGORIES = 50  # of a column; the rarer ones are one
REGULARISATION = 1.0  # scikit-learn's; there are few columns
RIDGE_PENALTY = 4 / REGULARISATION  # the same of least squares, as in shortcuts.py


def kind_of(probe: str) -> Literal["shortcut", "baseline", "reference"]:
    """Whether a probe is a shortcut, a baseline that sees nothing, or a reference."""
    if probe == MAJORITY:
        return "baseline"
    return PROBES[probe].kind if probe in PROBES else "shortcut"


def column_probe(column: str) -> str:
    """Name of the probe that sees one column of the metadata alone."""
    return f"{ALL_COLUMNS}.{column}"


def metadata_probabilities(
    view: ImageSet, metadata: Metadata, fold_of: IntArray
) -> dict[str, FloatArray]:
    """(N, classes) of each image by models that saw none of its fold, by the name of the probe.

    Each column alone, all of them, and all with the facts of the file; nothing where there are no
    columns. The models are logistic regressions: a number is a spline and whether it is known, a
    category is known, another or missing. Unlike those of pictures, whose classes are weighted
    alike, they are fitted as the classes come, so that their accuracy is the best that they can.

    Args:
        view: N images.
        metadata: of these images, row by row.
        fold_of: (N,) fold of each image, each with every class; `deal_folds` keeps groups whole.
    """
    return {
        probe: _cross_validate(columns, view.targets, fold_of)
        for probe, columns in _tables(view, metadata)
    }


def metadata_p_values(
    view: ImageSet, metadata: Metadata, fold_of: IntArray, permutations: Permutations
) -> dict[str, PValues]:
    """Whether each of these probes tells the classes; arguments as of `metadata_probabilities`.

    Splines and categories are laid over all images at once: they see no label.
    """
    groups = view.manifest["group_id"].to_numpy(str)
    return {
        probe: permutation_p_values(
            np.asarray(_build_model(columns)[0].fit_transform(columns), np.float64),
            view.targets,
            groups,
            fold_of,
            penalty=RIDGE_PENALTY,
            permutations=permutations,
        )
        for probe, columns in _tables(view, metadata)
    }


def nothing_told(class_names: Sequence[str]) -> PValues:
    """Of a probe that sees nothing."""
    return PValues(1.0, (1.0,) * len(class_names))


def majority_probabilities(targets: IntArray, fold_of: IntArray) -> FloatArray:
    """(N, classes): the shares of the classes in the other folds, whatever the image.

    Its decision is the commonest class: an accuracy that costs nothing.
    """
    classes = np.eye(targets.max() + 1)[targets]
    shares = {fold: classes[fold_of != fold].mean(axis=0) for fold in np.unique(fold_of)}
    return np.array([shares[fold] for fold in fold_of])


def _tables(view: ImageSet, metadata: Metadata) -> Iterator[tuple[str, pd.DataFrame]]:
    """What each probe sees, by its name; nothing where there are no columns."""
    names = list(metadata.columns)
    if not names:
        return
    table = metadata.table[names]
    file = pd.DataFrame(file_features(view))
    seen = {column_probe(name): table[[name]] for name in names}
    seen |= {ALL_COLUMNS: table, WITH_FILE: pd.concat([file, table], axis=1)}
    # By number: two columns may have one name, of the file and of the table.
    for probe, columns in progress(seen.items(), "probes of metadata", len(seen)):
        numbers = [str(number) for number in range(columns.shape[1])]
        yield probe, columns.set_axis(numbers, axis=1)


def _cross_validate(features: pd.DataFrame, targets: IntArray, fold_of: IntArray) -> FloatArray:
    probabilities = np.zeros((len(targets), targets.max() + 1))
    with threadpool_limits(limits=1, user_api="blas"):  # small fits: threads wait for each other
        for fold in np.unique(fold_of):
            tested = fold_of == fold
            model = _build_model(features).fit(features[~tested], targets[~tested])
            of_classes = np.ix_(tested, model.classes_)
            probabilities[of_classes] = model.predict_proba(features[tested])
    return probabilities


def _build_model(features: pd.DataFrame) -> Pipeline:
    numbers = [name for name in features if features[name].dtype == np.float64]
    categories = [name for name in features if name not in numbers]
    curve = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        SplineTransformer(n_knots=KNOTS, knots="quantile", extrapolation="constant"),
        StandardScaler(),
    )
    coded = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False
    )
    return make_pipeline(
        make_column_transformer(
            (curve, numbers), (MissingIndicator(features="all"), numbers), (coded, categories)
        ),
        LogisticRegression(C=REGULARISATION, max_iter=1000),
    )
