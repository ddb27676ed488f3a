"""How a slice lies in the patient: turned so that all slices are looked at alike.

Radiologists look at axial slices from the feet: the patient's right is on the left of the picture,
the front is up. Coordinates grow to the patient's left, back and head (DICOM PS3.3, C.7.6.2.1.1).
"""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from stages.sources.dicom_file import numbers_of, text_of
from stages.sources.item import UnreadableImage

SLICED = ("CT", "MR", "PT")
# Cosine of the angle between a slice and an axial one: a gantry can be tilted by 30 degrees.
MIN_AXIAL = 0.8
LENGTH_ERROR = 0.1  # of a direction, whose length is 1
X, Y, Z = 0, 1, 2


def turn_upright(pixels: NDArray[np.uint8], data: Dataset, plane: Dataset) -> NDArray[np.uint8]:
    """A slice (H, W) as it is looked at; other pictures, and those of unknown planes, as they are.

    Args:
        pixels: of a frame.
        data: its file.
        plane: what has its ImageOrientationPatient.

    Raises:
        UnreadableImage: the slice is not axial.
    """
    cosines = numbers_of(plane, "ImageOrientationPatient")
    if text_of(data, "Modality") not in SLICED or len(cosines) != 6:
        return pixels
    along_row, along_column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm([along_row, along_column], axis=1)
    if (np.abs(lengths - 1) > LENGTH_ERROR).any():
        return pixels
    if abs(np.cross(along_row, along_column)[Z]) < MIN_AXIAL:
        raise UnreadableImage("a slice that is not axial")
    if abs(along_row[X]) < abs(along_row[Y]):
        pixels, along_row, along_column = pixels.T, along_column, along_row
    if along_row[X] < 0:
        pixels = pixels[:, ::-1]
    if along_column[Y] < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
