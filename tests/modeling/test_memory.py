import numpy as np
import pytest
import torch

from stages.config.errors import UserError
from stages.modeling.memory import advising_on_memory


def advice_on(error: BaseException) -> str:
    with pytest.raises(UserError) as caught, advising_on_memory(32, 224):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError(), ""),
        (np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype("f4")), ""),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "20.00 MiB"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:116] err == 0. DefaultCPUAllocator: can't "
                "allocate memory: you tried to allocate 4096000 bytes. Error code 12 (Cannot "
                "allocate memory)"
            ),
            "4096000 bytes",
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
         "8 bytes"),
        (RuntimeError("std::bad_alloc"), ""),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), ""),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), ""),
    ],
)  # fmt: skip
def test_used_up_memory_is_one_line_with_what_to_make_smaller(
    error: BaseException, asked: str
) -> None:
    asked_for = f" (asked for {asked} more)" if asked else ""
    assert advice_on(error) == (
        f"out of memory{asked_for}: got batch_size 32 at 224 px; give the recipe a smaller "
        "batch_size, the view a smaller size_px, a smaller model or head, or train less of it "
        "(head, last-<n>)"
    )


def test_torch_itself_says_it_so_that_it_is_understood() -> None:
    with pytest.raises(UserError, match=r"^out of memory \(asked for \d+ bytes more\)"):
        with advising_on_memory(32, 224):
            torch.empty(1 << 50, dtype=torch.uint8)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), advising_on_memory(32, 224):
        raise RuntimeError("shapes do not match")
    with pytest.raises(UserError, match=r"^lr$"), advising_on_memory(32, 224):
        raise UserError("lr")
