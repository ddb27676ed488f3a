"""Memory that is used up: what is advised."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stages.config.errors import UserError

# How libraries say it without an exception of its own: torch's allocator of the CPU, C++, cuBLAS,
# cuDNN and oneDNN.
SAID = re.compile(
    r"not enough memory|can't allocate memory|cannot allocate memory|out of memory|bad_alloc"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|could not create a memory object",
    re.IGNORECASE,
)
ASKED = re.compile(r"tried to allocate ([\d.]+ ?[A-Za-z]+)", re.IGNORECASE)


@contextmanager
def advising_on_memory(batch_size: int, size_px: int) -> Iterator[None]:
    """Turn what libraries raise when memory is used up into one line.

    A process that the system kills for its memory cannot say anything.

    Args:
        batch_size: images of a training batch.
        size_px: side of the images in pixels.

    Raises:
        UserError: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        asked = ASKED.search(str(error))
        raise UserError(
            f"out of memory{f' (asked for {asked[1]} more)' if asked else ''}: got batch_size "
            f"{batch_size} at {size_px} px; give the recipe a smaller batch_size, the view a "
            "smaller size_px, a smaller model or head, or train less of it (head, last-<n>)"
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there was not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and SAID.search(str(error)) is not None
