"""Arrays of images on disk: written row by row, read through a memory map."""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


class ImageArrayWriter:
    """Appends (H, W) uint8 images to an .npy file of shape (N, H, W).

    N need not be known beforehand and no more than one image is in memory: NumPy pads the header
    so that the first axis can grow in place (`numpy.lib.format`), and closing rewrites it.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        self._shape = (height, width)
        self._count = 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, image: NDArray[np.uint8]) -> None:
        """Add one image (H, W)."""
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"got {image.dtype} {image.shape}, expected uint8 {self._shape}")
        self._file.write(np.ascontiguousarray(image).tobytes())
        self._count += 1

    def __enter__(self) -> "ImageArrayWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        header: dict[str, Any] = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
            "fortran_order": False,
            "shape": (self._count, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def open_images(path: Path) -> NDArray[np.uint8]:
    """The array (N, H, W) as a read-only memory map."""
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return images
