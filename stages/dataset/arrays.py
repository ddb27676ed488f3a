"""Arrays of images on disk: written row by row, read through a memory map."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stages.config.writing import replacing


class ImageArrayWriter:
    """Appends (H, W) uint8 images to an .npy file of shape (N, H, W).

    N need not be known beforehand and no more than one image is in memory: NumPy pads the header
    so that the first axis can grow in place (`numpy.lib.format`), and `finish` rewrites it.
    """

    def __init__(self, file: BinaryIO, height: int, width: int) -> None:
        self._shape = (height, width)
        self._count = 0
        self._file = file
        self._write_header()

    def append(self, image: NDArray[np.uint8]) -> None:
        """Add one image (H, W)."""
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(f"got {image.dtype} {image.shape}, expected uint8 {self._shape}")
        self._file.write(np.ascontiguousarray(image).tobytes())
        self._count += 1

    def finish(self) -> None:
        """Say in the header how many images there are."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        header: dict[str, Any] = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
            "fortran_order": False,
            "shape": (self._count, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def write_images(path: Path, height: int, width: int) -> Iterator[ImageArrayWriter]:
    """Write an array that is in its place when the block ends well, else not at all."""
    with replacing(path) as partial, partial.open("wb") as file:
        writer = ImageArrayWriter(file, height, width)
        yield writer
        writer.finish()


@contextmanager
def write_image_rows(
    folder: Path, names: Sequence[str], size_px: int
) -> Iterator[Mapping[str, ImageArrayWriter]]:
    """Write several arrays of squares row by row alike; gives the writer of each file name."""
    with ExitStack() as files:
        yield {
            name: files.enter_context(write_images(folder / name, size_px, size_px))
            for name in names
        }


def open_images(path: Path) -> NDArray[np.uint8]:
    """The array (N, H, W) as a read-only memory map."""
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return images
