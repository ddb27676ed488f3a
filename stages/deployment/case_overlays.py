"""Where the models of a case look, laid over the pictures they were given."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stages.config.params import Cam
from stages.config.writing import replacing
from stages.deployment.input_pictures import Place
from stages.explain.layers import target_layer
from stages.explain.methods import Asked, Explainer, FloatArray, compute_cams
from stages.explain.overlay import draw_overlay, place_map
from stages.modeling.checkpoint import load_classifier, outputs_of, run_folder
from stages.modeling.data import to_unit_range
from stages.modeling.predict import TrainedCase

LONGEST_STEM = 60  # characters


class Overlays:
    """Draws overlays of one method: the mean map of a case's models, of the class predicted.

    Args:
        case: of which a second copy of each model is kept, as it was before it was fused.
        cam: its first method is taken, and the layer that it names for the network.
        folder: of the files.
    """

    def __init__(self, case: TrainedCase, cam: Cam, folder: Path) -> None:
        self._folder = folder
        self._method = cam.methods[0]
        self._explainers = []
        for run in case.table.runs:
            classifier, meta = load_classifier(run_folder(case.folder, run.name))
            classifier.to(memory_format=torch.channels_last)
            layer = target_layer(classifier, meta["model"], cam.target_layers)
            explainer = Explainer(classifier, outputs_of(meta), [self._method], layer)
            self._explainers.append(explainer)
        self._count = 0

    def draw(
        self,
        images: NDArray[np.uint8],
        classes: NDArray[np.int64],
        places: Sequence[Place],
        names: Sequence[str],
    ) -> list[str]:
        """Write the overlays of some pictures; returns the names of the files.

        Args:
            images: (n, S, S) rows of the view.
            classes: (n,) index of the class explained.
            places: where they lie in their pictures.
            names: of the pictures.
        """
        asked = Asked(to_unit_range(torch.from_numpy(images)), torch.from_numpy(classes))
        maps = [compute_cams(explainer, asked)[self._method] for explainer in self._explainers]
        cams = np.mean(maps, axis=0)
        return [
            self._save(cam, place, name)
            for cam, place, name in zip(cams, places, names, strict=True)
        ]

    def _save(self, cam: FloatArray, place: Place, name: str) -> str:
        self._count += 1
        file = f"{self._count:06}-{safe_stem(name)}.png"
        with replacing(self._folder / file) as partial:
            Image.fromarray(draw_overlay(place.picture, _in_picture(cam, place))).save(partial)
        return file


def safe_stem(name: str) -> str:
    """What is left of a file's name in letters and digits that any file system takes.

    Two names may give the same: a number before it tells them apart.
    """
    stem = Path(name).stem.encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:LONGEST_STEM].strip("_") or "picture"


def _in_picture(cam: FloatArray, place: Place) -> FloatArray:
    """A map (S, S) of a row, as one of its picture (H, W); NaN outside the crop."""
    height, width = place.picture.shape
    edges = ("x0", "y0", "x1", "y1")
    box = dict(zip(edges, place.box, strict=True))
    box |= dict(zip((f"view_{edge}" for edge in edges), place.view_box, strict=True))
    return place_map(cam, {"width": width, "height": height}, box, place.picture)
