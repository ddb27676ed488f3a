"""Show and score what a case looks at, on test images drawn with the seed.

Reads:  data/views/<view>/, data/weights/<case>/
Writes: plots/cam/<case>/ (sheet.png, one overlay per image and method), metrics/cam/<case>.json
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.references import architecture
from stages.explain.explanation import explain_rows
from stages.explain.overlay import Tile, build_tiles, draw_sheet
from stages.explain.scores import score_images
from stages.explain.selection import draw_test_images
from stages.imaging.image_set import load_image_set

logger = logging.getLogger(__name__)


def explain_case(params: Params, name: str, paths: Paths) -> None:
    """Write overlays, the contact sheet and the scores of one case."""
    case, cam = params.case(name), params.cam
    view = load_image_set(paths.view(case.view))
    rows = draw_test_images(view, positive=cam.positive, negative=cam.negative, seed=params.seed)
    explanation = explain_rows(
        view,
        rows,
        paths.weights(name),
        methods=cam.methods,
        target_layer=cam.target_layers.get(architecture(case.model)),
    )
    tiles = build_tiles(view, rows, explanation)
    _save_overlays(tiles, cam.methods, paths.cam_sheets(name))
    n_positive = int((view.targets[rows] == view.info.positive_index).sum())
    columns = [(view.info.positive, tiles[:n_positive]), ("other classes", tiles[n_positive:])]
    draw_sheet(columns, cam.methods).save(paths.cam_sheets(name) / "sheet.png")
    scores = {
        "target_layer": explanation.target_layer,
        "lung_masks": "segmentation" if view.truth is None else "truth",
        "images": score_images(view, rows, explanation),
    }
    path = paths.cam_scores(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    logger.info("%s: %d images at %s", name, len(rows), explanation.target_layer)


def _save_overlays(tiles: Sequence[Tile], methods: Sequence[str], folder: Path) -> None:
    for number, method in enumerate(methods):
        (folder / method).mkdir(parents=True, exist_ok=True)
        for tile in tiles:
            Image.fromarray(tile.overlays[number]).save(folder / method / f"{tile.image_id}.png")


if __name__ == "__main__":
    run_stage(explain_case, __doc__, section="cases")
