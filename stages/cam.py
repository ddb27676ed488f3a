"""Show and score what a case looks at, on test images drawn with the seed.

Reads:  data/views/<view>/, data/weights/<case>/
Writes: plots/cam/<case>/ (sheet.png, one overlay per image and method), metrics/cam/<case>.json
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stages.config.command import run_stage
from stages.config.params import Cam, Params
from stages.config.paths import Paths
from stages.config.references import architecture
from stages.explain.methods import compute_cams, default_target_layer
from stages.explain.overlay import Tile, draw_overlay, draw_sheet
from stages.explain.scores import score_map
from stages.imaging.image_set import ImageSet, load_image_set
from stages.imaging.runs import Run, load_runs
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.classifier import Classifier
from stages.modeling.data import to_unit_range
from stages.modeling.outputs import Outputs
from stages.sources.item import LESION_BIT, LUNG_BIT

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]


class Explained(NamedTuple):
    """Probabilities (N, K) and, per method, maps (N, S, S) in [0, 1] of the images drawn."""

    probabilities: FloatArray
    maps: dict[str, FloatArray]


def explain_case(params: Params, name: str, paths: Paths) -> None:
    """Write overlays, the contact sheet and the scores of one case."""
    case = params.case(name)
    view = load_image_set(paths.view(case.view))
    rows = draw_test_images(view, params.cam, seed=params.seed)
    layer = params.cam.target_layers.get(architecture(case.model))
    (probabilities, maps), layer = _explain_rows(view, rows, params.cam, layer, paths.weights(name))
    _save_pictures(view, rows, maps, probabilities, name, paths)
    scores = {
        "target_layer": layer,
        "lung_masks": "segmentation" if view.truth is None else "truth",
        "images": _score_images(view, rows, maps, probabilities),
    }
    path = paths.cam_scores(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    logger.info("%s: %d images, %s at %s", name, len(rows), ", ".join(maps), layer)


def _explain_rows(
    view: ImageSet, rows: NDArray[np.int64], cam: Cam, layer: str | None, case_folder: Path
) -> tuple[Explained, str]:
    """Each image is explained by the first run that was not trained on it but tests it."""
    parts: list[Explained] = []
    order: list[NDArray[np.int64]] = []
    runs = load_runs(case_folder, view.manifest["image_id"])
    for run, positions in tested_by(runs, rows):
        classifier, meta = load_classifier(run_folder(case_folder, run.name))
        layer = layer or default_target_layer(classifier)
        images = to_unit_range(torch.from_numpy(view.images[rows[positions]]))
        parts.append(_explain(classifier, outputs_of(meta), images, cam, layer))
        order.append(positions)
    back = np.argsort(np.concatenate(order))
    maps: dict[str, FloatArray] = {
        m: np.concatenate([part.maps[m] for part in parts])[back] for m in cam.methods
    }
    probabilities = np.concatenate([part.probabilities for part in parts])[back]
    return Explained(probabilities, maps), str(layer)


def tested_by(
    runs: Sequence[Run], rows: NDArray[np.int64]
) -> Iterator[tuple[Run, NDArray[np.int64]]]:
    """Runs with the positions in `rows` of the images that they are the first to test."""
    left = np.ones(len(rows), dtype=bool)
    for run in runs:
        tested = left & (run.splits[rows] == "test")
        if tested.any():
            left &= ~tested
            yield run, np.flatnonzero(tested)


def _explain(
    classifier: Classifier, outputs: Outputs, images: torch.Tensor, cam: Cam, layer: str
) -> Explained:
    """Maps of the predicted class of each image."""
    with torch.inference_mode():
        probabilities = outputs.probabilities(classifier(images))
    predicted = probabilities.argmax(dim=1).clone()
    maps: dict[str, FloatArray] = {
        method: compute_cams(
            classifier, outputs, images, predicted, method=method, target_layer=layer
        )
        for method in cam.methods
    }
    return Explained(probabilities.numpy(), maps)


def draw_test_images(view: ImageSet, cam: Cam, *, seed: int) -> NDArray[np.int64]:
    """Row numbers: first of the positive class, then of the others, as many as there are.

    The draw depends on the data set and the seed alone, so all cases show the same images.
    """
    rng = np.random.default_rng(seed)
    test = view.rows("test")
    is_positive = view.targets[test] == view.info.positive_index
    drawn = [
        rng.permutation(test[mask])[:wanted]
        for mask, wanted in ((is_positive, cam.positive), (~is_positive, cam.negative))
    ]
    return np.concatenate(drawn)


def _save_pictures(
    view: ImageSet,
    rows: NDArray[np.int64],
    maps: dict[str, FloatArray],
    probabilities: FloatArray,
    name: str,
    paths: Paths,
) -> None:
    folder = paths.cam_sheets(name)
    tiles = []
    for number, row in enumerate(rows):
        image = np.asarray(view.images[row])
        overlays = [draw_overlay(image, cams[number]) for cams in maps.values()]
        image_id = view.manifest["image_id"].iloc[row]
        for method, overlay in zip(maps, overlays, strict=True):
            (folder / method).mkdir(parents=True, exist_ok=True)
            Image.fromarray(overlay).save(folder / method / f"{image_id}.png")
        caption, is_error = _caption(view, row, probabilities[number])
        tiles.append(Tile(image, overlays, caption, is_error))
    n_positive = int((view.targets[rows] == view.info.positive_index).sum())
    columns = [(view.info.positive, tiles[:n_positive]), ("other classes", tiles[n_positive:])]
    draw_sheet(columns, list(maps)).save(folder / "sheet.png")


def _caption(view: ImageSet, row: int, probabilities: FloatArray) -> tuple[str, bool]:
    names = view.info.class_names
    true, predicted = view.manifest["label"].iloc[row], names[int(probabilities.argmax())]
    text = (
        f"true {true}, predicted {predicted} {probabilities.max():.2f}\n"
        f"map: evidence for {predicted}"
    )
    return text, true != predicted


def _score_images(
    view: ImageSet,
    rows: NDArray[np.int64],
    maps: dict[str, FloatArray],
    probabilities: FloatArray,
) -> list[dict[str, Any]]:
    scores = []
    for number, row in enumerate(rows):
        lungs, lesions = _regions(view, row)
        facts = view.manifest.iloc[row]
        scores.append(
            {
                "image_id": facts["image_id"],
                "group_id": facts["group_id"],
                "label": facts["label"],
                "prediction": view.info.class_names[int(probabilities[number].argmax())],
                **{m: score_map(cams[number], lungs, lesions) for m, cams in maps.items()},
            }
        )
    return scores


def _regions(view: ImageSet, row: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Lungs and lesions of one image: the truth where it is known, else the segmentation."""
    if view.truth is not None:
        truth = np.asarray(view.truth[row])
        return (truth & LUNG_BIT) > 0, (truth & LESION_BIT) > 0
    assert view.lung_masks is not None  # a view has them
    return np.asarray(view.lung_masks[row]) > 0, None


if __name__ == "__main__":
    run_stage(explain_case, __doc__, section="cases")
