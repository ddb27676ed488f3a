"""Cut the views that the networks see out of prepared images, and keep the lung masks.

Reads:  data/prepared/<dataset>/
Writes: data/views/<name>/: images.npy, lung_masks.npy, boxes.csv, manifest.csv, dataset.json, and
        truth.npy for phantoms
"""

import logging
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray

from stages.config.command import run_stage
from stages.config.params import Params, View
from stages.config.paths import Paths
from stages.dataset.arrays import ImageArrayWriter
from stages.imaging.cropping import CroppedImage, crop_image
from stages.dataset.image_set import BOX_COLUMNS, ImageSet, load_image_set

logger = logging.getLogger(__name__)


def crop_view(params: Params, name: str, paths: Paths) -> None:
    """Write one view of one data set."""
    view = params.view(name)
    prepared = load_image_set(paths.prepared(view.dataset))
    folder = paths.view(name)
    folder.mkdir(parents=True, exist_ok=True)
    boxes = _write_arrays(prepared, view, folder)
    boxes[list(BOX_COLUMNS)].to_csv(folder / "boxes.csv", index=False)
    for table in ("manifest.csv", "dataset.json"):
        shutil.copyfile(paths.prepared(view.dataset) / table, folder / table)
    _log_summary(name, boxes)


def _write_arrays(prepared: ImageSet, view: View, folder: Path) -> pd.DataFrame:
    """Stream the crops into their arrays; returns one row of boxes per image."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as files:

        def open_array(file_name: str) -> ImageArrayWriter:
            return files.enter_context(ImageArrayWriter(folder / file_name, view.size, view.size))

        images, lung_masks = open_array("images.npy"), open_array("lung_masks.npy")
        truths = open_array("truth.npy") if prepared.truth is not None else None
        for row, cropped in zip(
            prepared.manifest.to_dict("records"), _cropped_images(prepared, view), strict=True
        ):
            images.append(cropped.image)
            lung_masks.append(cropped.lung_mask)
            if truths is not None and cropped.truth is not None:
                truths.append(cropped.truth)
            rows.append(_box_row(row, cropped))
    return pd.DataFrame(rows)


def _cropped_images(prepared: ImageSet, view: View) -> Iterable[CroppedImage]:
    jobs = (
        delayed(crop_image)(
            _picture(prepared.images[number], row),
            None if prepared.truth is None else _picture(prepared.truth[number], row),
            crop=view.crop,
            modality=prepared.info.modality,
            size=view.size,
            fit=view.fit,
        )
        for number, row in enumerate(prepared.manifest.to_dict("records"))
    )
    results: Iterable[CroppedImage] = Parallel(n_jobs=-1, return_as="generator")(jobs)
    return results


def _picture(square: NDArray[np.uint8], row: dict[Any, Any]) -> NDArray[np.uint8]:
    """The picture without its padding."""
    return np.array(square[row["y0"] : row["y1"], row["x0"] : row["x1"]])


def _box_row(row: dict[Any, Any], cropped: CroppedImage) -> dict[str, Any]:
    scale_x = row["width"] / (row["x1"] - row["x0"])
    scale_y = row["height"] / (row["y1"] - row["y0"])
    x0, y0, x1, y1 = cropped.box
    source_box = (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y)
    return {
        "image_id": row["image_id"],
        "crop": cropped.crop,
        "quality": cropped.quality,
        **dict(zip(("x0", "y0", "x1", "y1"), (round(v, 2) for v in source_box), strict=True)),
        **dict(zip(("view_x0", "view_y0", "view_x1", "view_y1"), cropped.view_box, strict=True)),
    }


def _log_summary(name: str, boxes: pd.DataFrame) -> None:
    """Say how often each crop was made; a fallback is counted, never silent."""
    crops = ", ".join(f"{crop} {count}" for crop, count in boxes["crop"].value_counts().items())
    untrusted = boxes["quality"][boxes["quality"] != "ok"]
    logger.info("%s: %d images; crops: %s", name, len(boxes), crops)
    if len(untrusted):
        logger.info(
            "lungs not trusted in %d images, listed in boxes.csv; for instance: %s",
            len(untrusted),
            untrusted.mode()[0],
        )


if __name__ == "__main__":
    run_stage(crop_view, __doc__, section="views")
