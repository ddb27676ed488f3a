"""What `prepare` and `crop` hand on: a folder with an image array and tables, row by row alike.

images.npy      (N, S, S) uint8, grey
manifest.csv    one row per image, columns MANIFEST_COLUMNS
dataset.json    class names, positive class, modality, source, counts, preprocessing
truth.npy       (N, S, S) uint8 bit masks; of phantoms, and where params.yaml names files of truth
truth.csv       which of these bits are known of which image; with files of truth only
lung_masks.npy  (N, S, S) uint8, 0 or 1; views only
pictures.npy    (N, P, P) uint8, the prepared images.npy that was cropped; views only
boxes.csv       columns BOX_COLUMNS; views only
fingerprints.bin  N records by which copies are found; where near-duplicates are looked for
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.writing import write_json
from stages.dataset.arrays import open_images
from stages.dataset.preprocessing import Preprocessing
from stages.dataset.task import Task
from stages.dataset.truth import ALL_BITS, load_known

IMAGES, TRUTH, LUNG_MASKS, PICTURES = "images.npy", "truth.npy", "lung_masks.npy", "pictures.npy"
FINGERPRINTS = "fingerprints.bin"
MANIFEST, BOXES, DATASET_INFO = "manifest.csv", "boxes.csv", "dataset.json"
KNOWN_TRUTH = "truth.csv"

SPLITS = ("train", "val", "test")

MANIFEST_COLUMNS = (
    "image_id",
    "source_path",
    "sha256",  # of the file
    "file_bytes",
    "label",
    "patient_id",  # as the source names them; empty: unknown
    "group_id",  # images of one group never stand in two splits
    "given_split",  # what the source says, or nothing
    "given_fold",
    "split",
    "subgroup",
    "width",  # of the picture as decoded
    "height",
    "mode",
    "format",
    "x0",  # box of the picture inside the padded square, half-open, pixels
    "y0",
    "x1",
    "y1",
)

# Of the manifest, as it stands: numbers would lose zeros in front, and mode 1 is none.
TEXT_COLUMNS = (
    *("image_id", "source_path", "sha256", "label", "subgroup", "mode", "format"),
    *("patient_id", "group_id", "given_split", "given_fold", "split"),
)

BOX_COLUMNS = (
    "image_id",
    "crop",  # none, center or lungs: what was done
    "quality",  # ok, or why the lungs were not trusted
    "x0",  # crop box in pixels of the source picture
    "y0",
    "x1",
    "y1",
    "view_x0",  # where the crop lies in the view, pixels
    "view_y0",
    "view_x1",
    "view_y1",
    "lung_dice",  # of the mask with the true lungs in the whole picture; empty: these not known
)
BOX_TEXT_COLUMNS = ("image_id", "crop", "quality")


@dataclass(frozen=True)
class DatasetInfo:
    """What later stages must know of a data set without reading params.yaml again."""

    dataset: str
    source: str
    is_phantom: bool
    modality: str
    class_names: list[str]
    positive: str
    n_files: int
    n_rejected: int
    n_left_out: int
    leakage: list[str]  # groups that the given splits cut, where that was allowed
    implies: dict[str, list[str]]  # class -> the classes that its images belong to as well
    suspicious: dict[str, int]  # what is odd about pictures -> of how many; suspicious.csv
    preprocessing: Preprocessing  # from a file to what lies in the folder

    @property
    def positive_index(self) -> int:
        """Position of the positive class in the class order."""
        return self.class_names.index(self.positive)

    @property
    def task(self) -> Task:
        """The classes and the positive one of them."""
        return Task(tuple(self.class_names), self.positive_index)

    @property
    def label_patterns(self) -> NDArray[np.bool_]:
        """(K, K): row c tells which of the K labels an image of class c carries."""
        return np.array(
            [
                [label == name or label in self.implies.get(name, []) for label in self.class_names]
                for name in self.class_names
            ]
        )

    def save(self, folder: Path) -> None:
        """Write dataset.json."""
        preprocessing = self.preprocessing.model_dump()
        write_json(folder / DATASET_INFO, asdict(self) | {"preprocessing": preprocessing})


def without_padding(square: NDArray[np.uint8], facts: Mapping[Any, Any]) -> NDArray[np.uint8]:
    """The picture (H, W) inside a prepared square (S, S), by the image's row of the manifest."""
    return np.array(square[facts["y0"] : facts["y1"], facts["x0"] : facts["x1"]])


def load_dataset_info(folder: Path) -> DatasetInfo:
    """Read dataset.json.

    Raises:
        UserError: it is of a version that did not say how its pictures were made.
    """
    path = folder / DATASET_INFO
    content = json.loads(path.read_text(encoding="utf-8"))
    if "preprocessing" not in content:
        raise UserError(
            f"{path}: has no `preprocessing`; an older version of this project wrote it; run: "
            "dvc repro"
        )
    preprocessing = Preprocessing.model_validate(content.pop("preprocessing"))
    return DatasetInfo(**content, preprocessing=preprocessing)


@dataclass(frozen=True)
class ImageSet:
    """Images with their tables; arrays are memory maps, row i is the same image everywhere."""

    info: DatasetInfo
    manifest: pd.DataFrame
    images: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    lung_masks: NDArray[np.uint8] | None
    boxes: pd.DataFrame | None
    pictures: NDArray[np.uint8] | None = None
    known_truth: NDArray[np.uint8] | None = None  # (N,) bits; None: all that `truth` has

    def knows(self, bits: int) -> NDArray[np.bool_]:
        """(N,) of which images all of these bits of the truth are known."""
        known = self.known_truth
        if self.truth is None or known is None:
            return np.full(len(self.manifest), self.truth is not None)
        is_known: NDArray[np.bool_] = (known & bits) == bits
        return is_known

    def truth_bits(self, row: int) -> int:
        """Which bits of the truth are known of one image."""
        if self.truth is None:
            return 0
        return ALL_BITS if self.known_truth is None else int(self.known_truth[row])

    @property
    def targets(self) -> NDArray[np.int64]:
        """(N,) class indices in the order of `info.class_names`."""
        index = {name: number for number, name in enumerate(self.info.class_names)}
        targets: NDArray[np.int64] = self.manifest["label"].map(index).to_numpy().astype(np.int64)
        return targets

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        in_split = self.manifest["split"].to_numpy() == split
        rows: NDArray[np.int64] = np.flatnonzero(in_split).astype(np.int64)
        return rows


def load_manifest(folder: Path) -> pd.DataFrame:
    """Read manifest.csv; group ids such as 00000061 stay text, empty text stays empty."""
    text_columns = dict.fromkeys(TEXT_COLUMNS, str)
    return read_csv(folder / MANIFEST, text_columns)


def load_image_set(folder: Path) -> ImageSet:
    """Open what `prepare` or `crop` wrote."""
    boxes, known = folder / BOXES, folder / KNOWN_TRUTH
    return ImageSet(
        info=load_dataset_info(folder),
        manifest=load_manifest(folder),
        images=open_images(folder / IMAGES),
        truth=_open_if_there(folder / TRUTH),
        lung_masks=_open_if_there(folder / LUNG_MASKS),
        boxes=read_csv(boxes, dict.fromkeys(BOX_TEXT_COLUMNS, str)) if boxes.exists() else None,
        pictures=_open_if_there(folder / PICTURES),
        known_truth=load_known(known) if known.exists() else None,
    )


def _open_if_there(path: Path) -> NDArray[np.uint8] | None:
    return open_images(path) if path.exists() else None
