"""What is known of the pixels of an image: bit masks, as in truth.npy of a data set or a view."""

import numpy as np
from numpy.typing import NDArray

LUNG_BIT = 1
LESION_BIT = 2
MARKER_BIT = 4


def pack_truth(
    lung: NDArray[np.bool_], lesion: NDArray[np.bool_], marker: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(H, W) uint8 bit mask of three (H, W) boolean masks."""
    bits = lung * LUNG_BIT + lesion * LESION_BIT + marker * MARKER_BIT
    truth: NDArray[np.uint8] = bits.astype(np.uint8)
    return truth
