"""Whether maps of the true class point at what is known to be there, more than the centre does.

The pointing game (Zhang et al. 2018, "Top-down neural attention by excitation backprop", section
4.2, here without its tolerance of 15 pixels): a map hits where its highest pixel lies in a lesion,
or in a box around one. It is of the class that the image has, whatever the case decided. As lesions
are where lungs are, and these are in the middle, each figure stands beside that of a centred
Gaussian, on the same images: a map that knows nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.truth import LESION_BIT
from stages.evaluation.statistics.bootstrap import Draws, compare, draw_figures
from stages.evaluation.statistics.counts import (
    count_rows,
    mean_of_shares_support,
    share_support,
)
from stages.evaluation.statistics.records import Bootstrap, Estimate, Paired
from stages.explain.explanation import map_classes
from stages.explain.scores import FloatArray, PerImage, Regions, gaussian_map, score_map

HITS = "peak_in_lesions"
FIGURES = (HITS, "in_lesions")
NEEDS = dict.fromkeys(FIGURES, "an image with a map that is not empty")


class Known(NamedTuple):
    """Test images of which lesions are known.

    Attributes:
        rows: (n,) row numbers of the view whose maps are scored.
        n_known: images of which lesions are known and shown, before `lesion_images` of them were
            drawn; those out of view among them.
        n_out_of_view: of these, images whose lesions lie outside of the crop: no map can hit.
    """

    rows: NDArray[np.int64]
    n_known: int
    n_out_of_view: int


class Pointing(NamedTuple):
    """How a case's maps point.

    Attributes:
        n: images whose maps were scored.
        n_groups: patients of these.
        n_known: test images of which lesions are known.
        n_out_of_view: of these, those whose lesions the crop has cut off, which are not scored.
        methods: method to each of FIGURES: of the map, of the Gaussian, and their difference.
    """

    n: int
    n_groups: int
    n_known: int
    n_out_of_view: int
    methods: Mapping[str, Mapping[str, Paired]]

    def to_json(self) -> dict[str, Any]:
        """As `pointing` in a file of metrics/cam has it."""
        methods = {
            name: {figure: pair.to_json() for figure, pair in pairs.items()}
            for name, pairs in self.methods.items()
        }
        return {**self._asdict(), "methods": methods}


def score_pointing(
    view: ImageSet,
    predictions: pd.DataFrame,
    case_folder: Path,
    cam: Cam,
    bootstrap: Bootstrap,
) -> Pointing | None:
    """Explain test images of known lesions, each by the first run that tests it.

    Args:
        view: the images, and what is known of them.
        predictions: of every tested image, by image_id.
        case_folder: of the case's models.
        cam: methods, target layers, and of how many images.
        bootstrap: draws behind the intervals; its seed also draws the images.

    Returns:
        None where no lesion is known of any test image, or none is to be scored.
    """
    known = find_known(view, predictions, cam.lesion_images, bootstrap.seed)
    if not known.n_known or not cam.lesion_images:
        return None
    maps: dict[str, FloatArray] = {}
    if len(known.rows):
        maps = map_classes(view, known.rows, view.targets[known.rows], case_folder, cam)
    groups = view.manifest["group_id"].to_numpy(str)[known.rows]
    return Pointing(
        len(known.rows),
        len(np.unique(groups)),
        known.n_known,
        known.n_out_of_view,
        compare_with_centre(maps, lesions_of(view, known.rows), groups, bootstrap),
    )


def find_known(view: ImageSet, predictions: pd.DataFrame, count: int, seed: int) -> Known:
    """Up to `count` test images of known lesions, drawn with the seed, in the order of the view.

    An image that has none, as a healthy phantom, is none of them; whether one that shows none in
    the view had some outside of the crop, files of truth say and phantoms do not.
    """
    nothing = np.zeros(0, np.int64)
    if view.truth is None:
        return Known(nothing, 0, 0)
    is_tested = view.manifest["image_id"].isin(predictions.index).to_numpy()
    rows = np.flatnonzero(is_tested & view.knows(LESION_BIT))
    shown = np.array([row for row in rows if (view.truth[row] & LESION_BIT).any()], np.int64)
    is_partial = view.known_truth is not None
    n_known = len(rows) if is_partial else len(shown)
    drawn = np.random.default_rng(seed).permutation(shown)[:count]
    return Known(np.sort(drawn), n_known, n_known - len(shown))


def lesions_of(view: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, S, S) lesions, or boxes around them, of some images."""
    assert view.truth is not None  # rows are of images of which they are known
    lesions: NDArray[np.bool_] = (np.asarray(view.truth[rows]) & LESION_BIT) > 0
    return lesions


def compare_with_centre(
    maps: Mapping[str, FloatArray],
    lesions: NDArray[np.bool_],
    groups: NDArray[np.str_],
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Paired]]:
    """Figures of each method (n, S, S) beside the Gaussian's, on the same draws of the groups.

    An empty map hits nothing; it has no share, so that its image counts on neither side of that.
    """
    if not len(groups):
        return {}
    centre = _score(np.repeat(gaussian_map(lesions.shape[-1])[None], len(groups), 0), lesions)
    found = {}
    for method, cams in maps.items():
        own = _score(cams, lesions)
        found[method] = {
            figure: _compare(own[figure], centre[figure], groups, bootstrap, figure)
            for figure in FIGURES
        }
    return found


def _score(cams: FloatArray, lesions: NDArray[np.bool_]) -> dict[str, PerImage]:
    """(n,) of each figure; NaN where a map is empty and has no share."""
    scores = [
        score_map(cam, Regions(of, of)).named() for cam, of in zip(cams, lesions, strict=True)
    ]
    return {
        figure: np.array([of_image[figure] for of_image in scores], np.float64)
        for figure in FIGURES
    }


def _compare(
    own: PerImage, centre: PerImage, groups: NDArray[np.str_], bootstrap: Bootstrap, figure: str
) -> Paired:
    counts = ~np.isnan(own)
    if not counts.any():
        none = Estimate(None, why_undefined=f"needs {NEEDS[figure]}")
        return Paired(none, none, none)
    first, second = (
        _draw(values[counts], groups[counts], bootstrap, figure) for values in (own, centre)
    )
    return compare(first, second, paired=True)[figure]


def _draw(values: PerImage, groups: NDArray[np.str_], bootstrap: Bootstrap, figure: str) -> Draws:
    def mean(weights: NDArray[np.int32]) -> dict[str, PerImage]:
        return {figure: (weights @ values) / weights.sum(axis=1)}

    rows = count_rows(np.ones(len(values), dtype=bool), groups)
    support = share_support(rows) if figure == HITS else mean_of_shares_support(rows)
    return draw_figures(mean, groups, {figure: NEEDS[figure]}, bootstrap, {figure: support})
