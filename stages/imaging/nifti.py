"""Slices of NIfTI volumes as grey pixels, as radiologists see them: from the feet of the patient.

The patient's right is on the left of the picture, and the front is up. Voxels are not resampled: of
a volume that lies askew the axes next to those of the patient are taken.
"""

import io
from typing import Any, cast

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from stages.config.params import DicomGrey, Grey
from stages.imaging.decoded import DecodedImage, check_size
from stages.imaging.depth import Values, Window, to_grey_levels
from stages.sources.nifti_file import FRONT, HEAD, RIGHT, open_nifti, reading_nifti

BYTE: Window = (0, 255)


class NiftiFrames:
    """The axial slices of a file; all its voxels are held as they are stored."""

    def __init__(self, content: bytes) -> None:
        """Raises `UnreadableImage` for a file that is damaged, too large or no volume."""
        self._file = open_nifti(io.BytesIO(content))
        right, front, _ = self._file.axes
        check_size(self._file.shape[right.number], self._file.shape[front.number])
        self.count = self._file.slices
        self._voxels: NDArray[Any] | None = None

    def decode(self, frame: int, grey: Grey) -> DecodedImage:
        """One slice; `frame` counts along the array, whichever way that lies.

        Values are scaled as the header says. Those of 8 bits without a scale stay as they are; on
        others `grey` of kind dicom lays its window, as on Hounsfield units.
        """
        kind = self._file.image.get_data_dtype()
        values = self._slice(frame)
        is_byte = kind == np.uint8 and values.dtype == np.uint8
        window = BYTE if is_byte else grey.window if isinstance(grey, DicomGrey) else None
        pixels = to_grey_levels(Values(values, None, None, is_inverted=False, window=window), grey)
        return DecodedImage(pixels, str(kind.newbyteorder("=")), "NIfTI", ())

    def _slice(self, frame: int) -> NDArray[Any]:
        """(H, W) scaled values, the front up and the right on the left."""
        right, front, head = (self._file.axes[axis] for axis in (RIGHT, FRONT, HEAD))
        with reading_nifti():
            voxels = self._read_once()
            plane = np.moveaxis(voxels, head.number, 0)[frame]
            if right.number < front.number:  # the axis of the head is gone
                plane = plane.T
            # Rows go to the back of the patient, columns to the left.
            plane = plane[:: -front.sign, :: -right.sign]
            scale = self._voxels_on_disk
            is_scaled = (scale.slope, scale.inter) != (1, 0)
            return plane * float(scale.slope) + float(scale.inter) if is_scaled else plane

    def _read_once(self) -> NDArray[Any]:
        if self._voxels is None:
            stored = self._voxels_on_disk.get_unscaled()
            self._voxels = np.asarray(stored).reshape(self._file.shape)
        return self._voxels

    @property
    def _voxels_on_disk(self) -> ArrayProxy:
        return cast(ArrayProxy, self._file.image.dataobj)
