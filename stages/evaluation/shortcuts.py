"""How well can the label be told without looking at the disease?

A probe is what a plain model is shown of each image: the file, the outline of the picture, a
thumbnail, what lies outside the lungs, the border. What such a model can tell from it, a network
can tell too, so a network's score means what lies above the best shortcut. The idea is that of
Maguolo and Nanni 2021 ("A critic evaluation of methods for COVID-19 automatic detection from X-ray
images") and of DeGrave et al. 2021 ("AI for radiographic COVID-19 detection selects shortcuts over
signal").
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.evaluation.intervals import (
    ENDS,
    Scored,
    metrics_with_intervals,
    paired_difference,
)
from stages.evaluation.occlusion import compute_mean_grey, occlude
from stages.evaluation.prediction_table import DECIMALS, score_rows
from stages.imaging.image_set import DatasetInfo, ImageSet

Json = dict[str, Any]
FloatArray = NDArray[np.float64]

GRID = 16  # cells per side
BORDER_SHARE = 0.1  # of the side, on each side
METRICS = ("auroc", "balanced_accuracy")


def file_features(view: ImageSet) -> FloatArray:
    """Size in pixels and in bytes, aspect ratio, mode and format of the original; no pixel."""
    files = view.manifest
    amounts = np.log(files[["width", "height", "file_bytes"]].to_numpy(np.float64))
    aspect = files["width"] / files["height"]
    kinds = pd.get_dummies(files[["mode", "format"]]).to_numpy(np.float64)
    return np.column_stack((amounts, aspect, kinds))


def geometry_features(view: ImageSet) -> FloatArray:
    """Where the picture lies in the view, (N, 4) shares of its side; constant if stretched."""
    assert view.boxes is not None  # a view has them
    box = view.boxes[["view_x0", "view_y0", "view_x1", "view_y1"]]
    return box.to_numpy(np.float64) / view.images.shape[1]


def thumbnail_features(view: ImageSet) -> FloatArray:
    """(N, 256): a thumbnail of 16 x 16 pixels."""
    return np.stack([_shrink(np.asarray(image)).ravel() for image in view.images])


def no_lungs_features(view: ImageSet) -> FloatArray:
    """The cells of the view with the lungs hidden."""
    return _occluded_cells(view, "lungs_hidden")


def lungs_only_features(view: ImageSet) -> FloatArray:
    """The cells of the view with all but the lungs hidden."""
    return _occluded_cells(view, "lungs_only")


def border_features(view: ImageSet) -> FloatArray:
    """The cells of the view with all but a frame of a tenth of the side hidden."""
    width = round(view.images.shape[1] * BORDER_SHARE)

    def keep_border(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        framed = image.copy()
        framed[width:-width, width:-width] = 0
        return framed

    return np.stack([_cells(keep_border(np.asarray(image))) for image in view.images])


def whole_features(view: ImageSet) -> FloatArray:
    """The cells of the whole view."""
    return np.stack([_cells(np.asarray(image)) for image in view.images])


class Probe(NamedTuple):
    """What a model is shown of each image.

    Attributes:
        kind: a shortcut holds nothing of the disease; a reference does.
        features: view of N images to (N, features).
    """

    kind: Literal["shortcut", "reference"]
    features: Callable[[ImageSet], FloatArray]


PROBES: Mapping[str, Probe] = {
    "file": Probe("shortcut", file_features),
    "geometry": Probe("shortcut", geometry_features),
    "thumbnail": Probe("shortcut", thumbnail_features),
    "no_lungs": Probe("shortcut", no_lungs_features),
    "border": Probe("shortcut", border_features),
    "lungs_only": Probe("reference", lungs_only_features),
    "whole": Probe("reference", whole_features),
}


def build_probe_model(seed: int) -> VotingClassifier:
    """The mean of a linear model and of trees, the same for every probe and data set.

    A shortcut must not be missed for want of a fitting model. On small cohorts the linear model
    adds up weak traces that trees lose (a marker in one of four corners: AUROC 0.65 against 0.53);
    trees see what is not linear (borders of public CT slices: 0.88 against 0.84). Their mean lies
    within 0.03 of the better one.
    """
    # Each leaf of a few images and a firm penalty: there are more features than patients.
    linear = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    )
    trees = ExtraTreesClassifier(
        n_estimators=100, min_samples_leaf=5, class_weight="balanced", random_state=seed
    )
    return VotingClassifier([("linear", linear), ("trees", trees)], voting="soft")


def probe_probabilities(
    features: FloatArray,
    targets: NDArray[np.int64],
    group_ids: NDArray[np.str_],
    *,
    folds: int,
    seed: int,
) -> FloatArray:
    """(N, classes) of each image by a model that saw none of its group."""
    by_group = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    return _cross_validate(build_probe_model(seed), features, targets, group_ids, by_group)


def tabulate_probe(view: ImageSet, probe: str, *, folds: int, seed: int) -> pd.DataFrame:
    """One row per image: image_id, group_id, probe, label, prediction, prob_<class>."""
    probabilities = probe_probabilities(
        PROBES[probe].features(view),
        view.targets,
        view.manifest["group_id"].to_numpy(),
        folds=folds,
        seed=seed,
    )
    class_names = view.info.class_names
    columns = {f"prob_{name}": probabilities[:, i] for i, name in enumerate(class_names)}
    return view.manifest[["image_id", "group_id"]].assign(
        probe=probe,
        label=view.manifest["label"],
        prediction=np.array(class_names)[probabilities.argmax(axis=1)],
        **columns,
    )


def describe_probe(rows: pd.DataFrame, info: DatasetInfo, *, draws: int, seed: int) -> Json:
    """Figures of one probe's rows, with intervals over groups; each class against the rest."""
    scored = score_rows(rows, info)
    table = metrics_with_intervals(
        scored,
        class_names=info.class_names,
        positive=info.positive_index,
        draws=draws,
        seed=seed,
    )
    return _figures(table.values, METRICS) | {
        "by_class": {
            name: _one_against_rest(scored, number, draws=draws, seed=seed)
            for number, name in enumerate(info.class_names)
        }
    }


def best_shortcut(probes: Mapping[str, Json]) -> str:
    """The shortcut of the highest AUROC among described probes; the first of equals."""
    shortcuts = [probe for probe in probes if PROBES[probe].kind == "shortcut"]
    return max(shortcuts, key=lambda probe: probes[probe]["auroc"])


def measure_leakage_gap(view: ImageSet, *, folds: int, draws: int, seed: int) -> Json:
    """What a split by image would promise beyond a split by group.

    The model is one nearest neighbour: a near copy in the training images answers for an image.
    Of the models tried on public CT slices it showed the widest gap. If every group has one image,
    the two splits differ by chance only.

    Returns:
        `model`; `random` and `grouped`: figures with intervals; `difference`: random - grouped,
        on the same images, with intervals over groups.
    """
    info, features = view.info, thumbnail_features(view)
    group_ids = view.manifest["group_id"].to_numpy()
    splitters = {"random": StratifiedKFold, "grouped": StratifiedGroupKFold}

    def score(splitter: BaseCrossValidator) -> Scored:
        model = KNeighborsClassifier(n_neighbors=1)
        found = _cross_validate(model, features, view.targets, group_ids, splitter)
        return Scored(view.targets, found, found.argmax(axis=1), group_ids)

    scored = {
        name: score(build(n_splits=folds, shuffle=True, random_state=seed))
        for name, build in splitters.items()
    }
    options: Json = {
        "class_names": info.class_names,
        "positive": info.positive_index,
        "draws": draws,
        "seed": seed,
    }
    gap = paired_difference(scored["random"], scored["grouped"], **options).values
    return {
        "model": "one nearest neighbour on the thumbnail",
        **{
            name: _figures(metrics_with_intervals(rows, **options).values, METRICS)
            for name, rows in scored.items()
        },
        "difference": {
            metric: {
                "difference": gap[metric],
                "low": gap[f"{metric}_low"],
                "high": gap[f"{metric}_high"],
            }
            for metric in METRICS
        },
    }


def _occluded_cells(view: ImageSet, occlusion: str) -> FloatArray:
    """(N, 512): the cells of each view, part of it hidden under one grey for all images."""
    assert view.lung_masks is not None  # a view has them
    # The mean of an image itself would tell how bright the hidden part is.
    grey = compute_mean_grey(view.images, np.arange(len(view.images)))
    rows = [
        _cells(occlude(image[None], lungs[None], occlusion, grey=grey)[0])
        for image, lungs in zip(view.images, view.lung_masks, strict=True)
    ]
    return np.stack(rows)


def _cells(image: NDArray[np.uint8]) -> FloatArray:
    """(512,): mean and standard deviation of each cell of a 16 x 16 grid.

    The deviation shows letters, marks and noise that the mean of a cell wipes out, with half the
    numbers that twice the resolution would take.
    """
    pixels = image.astype(np.float64)
    mean = _shrink(pixels)
    variance = _shrink(pixels**2) - mean**2
    return np.concatenate((mean, np.sqrt(np.maximum(variance, 0))), axis=None)


def _shrink(image: NDArray[Any]) -> FloatArray:
    """(16, 16) means over cells; a pixel on the line between two counts in part for each."""
    picture = Image.fromarray(image.astype(np.float32))
    return np.asarray(picture.resize((GRID, GRID), Image.Resampling.BOX), np.float64)


def _cross_validate(
    model: ClassifierMixin,
    features: FloatArray,
    targets: NDArray[np.int64],
    group_ids: NDArray[np.str_],
    splitter: BaseCrossValidator,
) -> FloatArray:
    """(N, classes) out-of-fold probabilities.

    Rounded, as in the table that they go to: a probe that is shown nothing must give ties, not
    differences of 1e-17 between folds, which would rank images.
    """
    probabilities: FloatArray = cross_val_predict(
        model, features, targets, groups=group_ids, cv=splitter, method="predict_proba"
    )
    return probabilities.round(DECIMALS)


def _one_against_rest(scored: Scored, number: int, *, draws: int, seed: int) -> Json:
    """AUROC of one class with its interval."""
    score = np.asarray(scored.probabilities)[:, number].clip(0, 1)
    table = metrics_with_intervals(
        Scored(
            (np.asarray(scored.y_true) == number).astype(np.int64),
            np.column_stack((1 - score, score)),
            (np.asarray(scored.predictions) == number).astype(np.int64),
            scored.group_ids,
        ),
        class_names=("the rest", "the class"),
        positive=1,
        draws=draws,
        seed=seed,
    )
    return _figures(table.values, ("auroc",))


def _figures(values: Mapping[str, float | None], metrics: tuple[str, ...]) -> Json:
    return {f"{metric}{end}": values[f"{metric}{end}"] for metric in metrics for end in ENDS}
