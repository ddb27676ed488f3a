"""What is known of the pixels of an image: bit masks, as in truth.npy of a data set or a view.

Of phantoms all of it is known of every image. Of real images some masks and boxes are: truth.csv
then says what is known of which image, since a pixel without a bit may also be one that nobody has
looked at.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.csv_file import read_csv
from stages.config.writing import write_csv

LUNG_BIT = 1
LESION_BIT = 2
MARKER_BIT = 4
# Columns of truth.csv behind image_id, 1 where this is known of the image, else 0.
BITS = {"lung": LUNG_BIT, "lesion": LESION_BIT, "marker": MARKER_BIT}
ALL_BITS = LUNG_BIT | LESION_BIT | MARKER_BIT


def pack_truth(
    lung: NDArray[np.bool_], lesion: NDArray[np.bool_], marker: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(H, W) uint8 bit mask of three (H, W) boolean masks."""
    bits = lung * LUNG_BIT + lesion * LESION_BIT + marker * MARKER_BIT
    truth: NDArray[np.uint8] = bits.astype(np.uint8)
    return truth


def save_known(path: Path, image_ids: Sequence[str], known: Sequence[int]) -> None:
    """Write truth.csv: of each image (N) the bits that are known."""
    bits = np.asarray(known, dtype=np.uint8)
    columns = {name: ((bits & bit) > 0).astype(int) for name, bit in BITS.items()}
    write_csv(path, pd.DataFrame({"image_id": image_ids, **columns}))


def load_known(path: Path) -> NDArray[np.uint8]:
    """(N,) the bits that are known of each image, as `save_known` wrote them."""
    table = read_csv(path, {"image_id": str})
    known: NDArray[np.uint8] = sum(
        (table[name].to_numpy(np.uint8) * bit for name, bit in BITS.items()),
        start=np.zeros(len(table), dtype=np.uint8),
    ).astype(np.uint8)
    return known
