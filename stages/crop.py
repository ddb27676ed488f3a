"""Cut the views that the networks see out of prepared images, and keep the lung masks.

Reads:  data/prepared/<dataset>/
Writes: data/views/<name>/: images.npy, lung_masks.npy, boxes.csv, pictures.npy (what was cropped),
        manifest.csv, dataset.json, and truth.npy and truth.csv where the prepared set has them;
        fingerprints.bin where near-duplicates are looked for;
        data/metadata/<name>/: what is known of the images beside their pixels, as prepared
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stages.config.command import run_stage
from stages.config.params import Params, View
from stages.config.paths import Paths
from stages.config.progress import progress
from stages.config.writing import keep_only, link_or_copy, write_csv
from stages.dataset.arrays import write_image_rows
from stages.dataset.image_set import (
    BOX_COLUMNS,
    BOXES,
    DATASET_INFO,
    FINGERPRINTS,
    IMAGES,
    KNOWN_TRUTH,
    LUNG_MASKS,
    MANIFEST,
    PICTURES,
    TRUTH,
    ImageSet,
    load_image_set,
    without_padding,
)
from stages.dataset.metadata import METADATA_FILES
from stages.imaging.cropping import CroppedImage
from stages.imaging.pool import map_images
from stages.imaging.preprocess import cut_view

logger = logging.getLogger(__name__)

# Name in the view, and in the prepared set; DVC's cache holds equal contents once.
HANDED_ON = {
    PICTURES: IMAGES,
    MANIFEST: MANIFEST,
    FINGERPRINTS: FINGERPRINTS,  # of a set in which near-duplicates are looked for
    KNOWN_TRUTH: KNOWN_TRUTH,  # of a set with files of truth
}

# Images from which workers, who import for about 2 s each, lose no time: a crop takes some 4 ms.
# Their memory, 130 MiB of two, does not grow with the images.
POOLED_FROM = 1000


def crop_view(params: Params, name: str, paths: Paths) -> None:
    """Write one view of one data set."""
    view = params.view(name)
    prepared = load_image_set(paths.prepared(view.dataset))
    folder = paths.view(name)
    arrays = [IMAGES, LUNG_MASKS, *([] if prepared.truth is None else [TRUTH])]
    boxes = _write_arrays(prepared, view, folder, arrays)
    write_csv(folder / BOXES, boxes[list(BOX_COLUMNS)])
    source = paths.prepared(view.dataset)
    handed_on = [name for name, origin in HANDED_ON.items() if (source / origin).exists()]
    for file_name in handed_on:
        link_or_copy(source / HANDED_ON[file_name], folder / file_name)
    preprocessing = prepared.info.preprocessing.model_copy(update={"view": view})
    replace(prepared.info, preprocessing=preprocessing).save(folder)
    keep_only(folder, [*arrays, *handed_on, BOXES, DATASET_INFO])
    # Beside the view, not in it: a column more is no reason to train again.
    for file_name in METADATA_FILES:
        link_or_copy(source / file_name, paths.metadata(name) / file_name)
    keep_only(paths.metadata(name), METADATA_FILES)
    _log_summary(name, boxes)


def _write_arrays(
    prepared: ImageSet, view: View, folder: Path, names: Sequence[str]
) -> pd.DataFrame:
    """Stream the crops into their arrays; returns one row of boxes per image."""
    rows: list[dict[str, Any]] = []
    with write_image_rows(folder, names, view.size_px) as arrays:
        rows_of = prepared.manifest.to_dict("records")
        crops = zip(rows_of, _cropped_images(prepared, view), strict=True)
        for row, cropped in progress(crops, "cropping", len(rows_of)):
            arrays[IMAGES].append(cropped.image)
            arrays[LUNG_MASKS].append(cropped.lung_mask)
            if cropped.truth is not None:
                arrays[TRUTH].append(cropped.truth)
            rows.append(_box_row(row, cropped))
    return pd.DataFrame(rows)


def _cropped_images(prepared: ImageSet, view: View) -> Iterator[CroppedImage]:
    crop_one = partial(cut_view, view=view, modality=prepared.info.modality)
    pictures = (
        (
            without_padding(prepared.images[number], row),
            None if prepared.truth is None else without_padding(prepared.truth[number], row),
            prepared.truth_bits(number),
        )
        for number, row in enumerate(prepared.manifest.to_dict("records"))
    )
    use_pool = len(prepared.manifest) >= POOLED_FROM
    return map_images(crop_one, pictures, use_pool=use_pool)


def _box_row(row: dict[Any, Any], cropped: CroppedImage) -> dict[str, Any]:
    scale_x = row["width"] / (row["x1"] - row["x0"])
    scale_y = row["height"] / (row["y1"] - row["y0"])
    x0, y0, x1, y1 = cropped.box
    source_box = (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y)
    return {
        "image_id": row["image_id"],
        "crop": cropped.crop,
        "quality": cropped.quality,
        "enlarged": (cropped.view_box[2] - cropped.view_box[0]) / (x1 - x0),
        **dict(zip(("x0", "y0", "x1", "y1"), (round(v, 2) for v in source_box), strict=True)),
        **dict(zip(("view_x0", "view_y0", "view_x1", "view_y1"), cropped.view_box, strict=True)),
        "lung_dice": None if cropped.lung_dice is None else round(cropped.lung_dice, 6),
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
    enlarged = boxes["enlarged"][boxes["enlarged"] > 1]
    if len(enlarged):
        logger.info(
            "%d images have fewer pixels than the view: enlarged, the median %.2f times; more "
            "are kept with a larger size_px of the data set",
            len(enlarged),
            enlarged.median(),
        )


if __name__ == "__main__":
    run_stage(crop_view, __doc__, section="views")
