"""Phantoms as files of class folders, and the same files as a view."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.config.params import Cohort, PercentileGrey
from stages.dataset.image_set import DatasetInfo, ImageSet
from stages.dataset.runs import Run
from stages.imaging.decode import decode
from stages.imaging.square import fit_square
from stages.phantoms.cohort import PHANTOM_CLASSES, plan_cohort
from tests.dataset.sample import PREPARED

# Drawing takes longer than what is measured; speed does not depend on what the pictures show.
DISTINCT = 8  # per class; further files hold the same pictures again
CLASSES = PHANTOM_CLASSES["xray"]
GREY = PercentileGrey(kind="percentiles", low=0, high=100)  # no matter: all have 8 bits


def draw_pictures(folder: Path, *, train: int, size_px: int) -> None:
    """Write PNG files: `train` of them to train/<class>/, and one per class to val/<class>/."""
    cohort = Cohort(
        kind="xray",
        patients=dict.fromkeys(CLASSES, DISTINCT),
        images_per_patient=1,
        marker_share=dict.fromkeys(CLASSES, 0.5),
    )
    drawn: dict[str, list[bytes]] = {label: [] for label in CLASSES}
    for image in plan_cohort(cohort, size_px=size_px, seed=0):
        drawn[image.label].append(image.draw().to_png())
    for position, label in enumerate(CLASSES):
        for split, count in (("train", len(range(position, train, len(CLASSES)))), ("val", 1)):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                path = folder / split / label / f"{number:06d}.png"
                path.write_bytes(drawn[label][number % DISTINCT])


def view_of(folder: Path, *, size_px: int, scratch: Path) -> tuple[ImageSet, Run]:
    """Decode every file once, into a memory map as `crop` leaves it; the splits are the folders."""
    files = sorted(folder.glob("*/*/*.png"))
    writable = np.lib.format.open_memmap(
        scratch / "images.npy", mode="w+", dtype=np.uint8, shape=(len(files), size_px, size_px)
    )
    for number, file in enumerate(files):
        pixels = decode(file.read_bytes(), GREY).pixels
        writable[number] = fit_square(pixels, size_px, "smooth")[0]
    writable.flush()
    names = [str(file.relative_to(folder)) for file in files]
    manifest = pd.DataFrame(
        {
            "image_id": names,
            "sha256": names,
            "group_id": names,
            "label": [file.parts[-2] for file in files],
            "split": [file.parts[-3] for file in files],
            "subgroup": "",
        }
    )
    images = np.load(scratch / "images.npy", mmap_mode="r")
    view = ImageSet(_info(len(files)), manifest, images, truth=None, lung_masks=None, boxes=None)
    return view, Run("", 1, 1, manifest["split"].to_numpy(str))


def _info(count: int) -> DatasetInfo:
    return DatasetInfo(
        dataset="benchmark",
        source="phantoms",
        is_phantom=True,
        modality="xray",
        class_names=list(CLASSES),
        positive=CLASSES[0],
        n_files=count,
        n_rejected=0,
        n_left_out=0,
        leakage=[],
        implies={},
        suspicious={},
        preprocessing=PREPARED,
    )
