"""Which device and which precision the networks run on, chosen once and written down."""

from pathlib import Path
from typing import NamedTuple

import torch

from stages.config.errors import UserError
from stages.config.params import Compute


class Hardware(NamedTuple):
    """A device, `cpu` or `cuda`, and a precision, `fp32` or `bf16`."""

    device: str
    precision: str


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
    cpuinfo = Path("/proc/cpuinfo")  # elsewhere than on Linux fp32 is the safe choice
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def describe_device(device: str) -> str:
    """The device's name for the record."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
