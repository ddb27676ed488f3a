"""Show and score what a case looks at: test images drawn with the seed, errors, uncertain ones.

Reads:  data/prepared/<dataset>/, data/views/<view>/, data/weights/<case>/,
        data/predictions/<case>.csv
Writes: plots/cam/<case>/ (sheet.png, one overlay per image and method), metrics/cam/<case>.json
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.references import architecture
from stages.explain.explanation import explain_rows
from stages.explain.case_scores import score_case
from stages.explain.overlay import draw_tiles
from stages.explain.selection import DRAWN, load_test_predictions, select_images, spread_over
from stages.explain.sheets import draw_case_sheet
from stages.dataset.image_set import load_image_set

logger = logging.getLogger(__name__)


def explain_case(params: Params, name: str, paths: Paths) -> None:
    """Write overlays, the contact sheet and the scores of one case."""
    case, cam = params.case(name), params.cam
    view = load_image_set(paths.view(case.view))
    predictions = load_test_predictions(paths.predictions(name))
    selected = select_images(view, predictions, cam, params.seed)
    drawn = selected.positions(DRAWN)
    explanation = explain_rows(
        view,
        selected.rows,
        selected.predicted,
        paths.weights(name),
        methods=cam.methods,
        target_layer=cam.target_layers.get(architecture(case.model)),
        randomised=drawn,
        removed=spread_over(drawn, cam.road_images),
        seed=params.seed,
    )
    prepared = load_image_set(paths.prepared(view.info.dataset))
    tiles = draw_tiles(view, prepared, selected, explanation.maps)
    folder = paths.cam_sheets(name)
    for method in cam.methods:
        _save_tiles(folder / method, view.manifest["image_id"].iloc[selected.rows], tiles[method])
    sheet = draw_case_sheet(view, selected, tiles)
    # 256 colours are a quarter of the bytes; the report holds every sheet.
    sheet.quantize(method=Image.Quantize.FASTOCTREE).save(folder / "sheet.png")
    scores = score_case(
        view, selected, explanation, draws=params.evaluate.bootstrap_draws, seed=params.seed
    )
    path = paths.cam_scores(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    logger.info("%s: %d images at %s", name, len(selected.rows), explanation.target_layer)


def _save_tiles(folder: Path, image_ids: Iterable[str], tiles: Iterable[Image.Image]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image_id, tile in zip(image_ids, tiles, strict=True):
        tile.save(folder / f"{image_id}.png")


if __name__ == "__main__":
    run_stage(explain_case, __doc__, section="cases")
