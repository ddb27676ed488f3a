"""Show and score what a case looks at: test images drawn with the seed, errors, uncertain ones.

Reads:  data/views/<view>/, data/weights/<case>/, data/predictions/<case>.csv
Writes: plots/cam/<case>/ (sheet.png, one overlay per image and method), metrics/cam/<case>.json
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import keep_only, replacing, write_json
from stages.dataset.image_set import load_image_set
from stages.evaluation.statistics.records import Bootstrap
from stages.explain.case_scores import score_case
from stages.explain.explanation import explain_images
from stages.explain.overlay import draw_tiles
from stages.explain.pointing import score_pointing
from stages.explain.selection import load_test_predictions, select_images
from stages.explain.sheets import draw_case_sheet
from stages.modeling.compute import use_threads

logger = logging.getLogger(__name__)

SHEET = "sheet.png"


def explain_case(params: Params, name: str, paths: Paths) -> None:
    """Write overlays, the contact sheet and the scores of one case."""
    use_threads(params.compute.threads)
    cam, seed = params.cam, params.seed
    view = load_image_set(paths.view(params.case(name).view))
    predictions = load_test_predictions(paths.predictions(name))
    selected = select_images(view, predictions, cam, seed)
    explanation = explain_images(view, selected, paths.weights(name), cam, seed)
    tiles = draw_tiles(view, selected, explanation.maps)
    folder = paths.cam_sheets(name)
    image_ids = view.manifest["image_id"].iloc[selected.rows].tolist()
    for method in cam.methods:
        _save_tiles(folder / method, image_ids, tiles[method])
    sheet = draw_case_sheet(view, selected, tiles)
    # 256 colours are a quarter of the bytes; the report holds every sheet.
    _save_picture(folder / SHEET, sheet.quantize(method=Image.Quantize.FASTOCTREE))
    keep_only(folder, [*cam.methods, SHEET])
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, seed)
    scores = score_case(view, selected, explanation, bootstrap)
    pointing = score_pointing(view, predictions, paths.weights(name), cam, bootstrap)
    pointed = None if pointing is None else pointing.to_json()
    write_json(paths.cam_scores(name), scores.to_json() | {"pointing": pointed})
    logger.info("%s: %d images at %s", name, len(selected.rows), explanation.target_layer)


def _save_tiles(folder: Path, image_ids: Sequence[str], tiles: Sequence[Image.Image]) -> None:
    files = [f"{image_id}.png" for image_id in image_ids]
    for file, tile in zip(files, tiles, strict=True):
        _save_picture(folder / file, tile)
    keep_only(folder, files)


def _save_picture(path: Path, picture: Image.Image) -> None:
    with replacing(path) as partial:
        picture.save(partial)


if __name__ == "__main__":
    run_stage(explain_case, __doc__, section="cases")
