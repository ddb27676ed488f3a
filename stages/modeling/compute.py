"""Which device and which precision the networks run on, chosen once and written down."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from stages.config.errors import UserError
from stages.config.params import Compute

CPUINFO = Path("/proc/cpuinfo")  # Linux


class Hardware(NamedTuple):
    """A device, `cpu` or `cuda`, and a precision, `fp32` or `bf16`."""

    device: str
    precision: str

    def autocast(self) -> torch.autocast:
        """A context in which networks compute in the precision; their weights stay fp32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def choose_hardware(compute: Compute) -> Hardware:
    """Resolve `auto`: a GPU if there is one; bf16 where the processor computes in it.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if compute.accelerator == "gpu" and not has_gpu:
        raise UserError(
            "params.yaml: compute.accelerator: got 'gpu', but torch sees none; "
            "allowed here: cpu, auto"
        )
    device = "cuda" if has_gpu and compute.accelerator != "cpu" else "cpu"
    precision = compute.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return Hardware(device, precision)


def _has_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Elsewhere than on Linux fp32 is the safe choice.
    return CPUINFO.exists() and "avx512_bf16" in CPUINFO.read_text()


def use_threads(threads: int | Literal["auto"]) -> None:
    """Compute networks on so many cores, whatever the machine has; `auto` leaves it to torch.

    Torch cuts sums over a batch into as many parts, so that results are rounded by it. Processes of
    one thread side by side, as `python -m stages.parallel` runs them, are faster than one process
    of as many threads: these wait for each other, in small networks half of the time.
    """
    if threads != "auto":
        torch.set_num_threads(threads)


# Parameters of glibc's mallopt (malloc.h), and the largest value that it takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST = -1, -3, 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc reuse what torch frees instead of giving it back to the system at every step.

    Each step frees and asks for the same large blocks, and every new page costs a fault: keeping
    them made a step of VGG-16 twice as fast here. Memory in use stays at its peak until the end.
    Only for glibc (Linux); elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)


def describe_device(device: str) -> str:
    """The device's name for the record: a GPU's, or the processor's with its number of cores."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    """The processor's name as Linux knows it, elsewhere its architecture."""
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
