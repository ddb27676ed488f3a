"""Files of weights from anywhere, read without running code: .safetensors, .pth, .pt, .bin."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from stages.config.errors import UserError
from stages.config.references import WEIGHTS_SUFFIXES
from stages.modeling.checkpoint import load_state, one_line

DEPTH = 6  # of dictionaries in each other
# What a file begins with that is no file of weights, though it has the name of one.
MISTAKEN = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; run: git lfs pull",
    b"<": "a page of a web site; download the file itself",
}
UNSAFE = re.compile(r"\bGLOBAL ([\w.]+)")
# Before what torch says of a pickle stands advice on how to run its code.
ADVICE = re.compile(r"^Weights only load failed.*WeightsUnpickler error: ")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU.

    What stands in dictionaries inside it (`state_dict`, `model`, ...) is named with them:
    `state_dict.module.conv1.weight`. What is no tensor is left out.

    Raises:
        UserError: the file cannot be read, holds objects that would run code, or no tensors.
    """
    _require_file(path)
    content = _load(path)
    state: dict[str, Tensor] = {}
    for name, tensor in _tensors(content, "", 0):
        if name in state:
            raise UserError(f"{path}: has tensor {name!r} twice; allowed: each once")
        state[name] = tensor
    if not state:
        raise UserError(
            f"{path}: holds no tensors; allowed: a dictionary of tensors, as of "
            "torch.save(model.state_dict(), path)"
        )
    return state


def _require_file(path: Path) -> None:
    if path.suffix not in WEIGHTS_SUFFIXES:
        allowed = ", ".join(WEIGHTS_SUFFIXES)
        raise UserError(f"{path}: got a file of weights named so; allowed: {allowed}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        raise UserError(f"{path}: is empty")
    for beginning, what in MISTAKEN.items():
        if start.startswith(beginning):
            raise UserError(f"{path}: is {what}")


def _load(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_state(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise UserError(f"{path}: {_pickle_problem(error)}") from None


def _pickle_problem(error: Exception) -> str:
    text = one_line(error, longest=None)
    if isinstance(error, pickle.UnpicklingError) and (unsafe := UNSAFE.search(text)):
        return (
            f"holds Python objects ({unsafe[1]}), which could run code; allowed: tensors in "
            "dictionaries, as of torch.save(model.state_dict(), path)"
        )
    if "TorchScript" in text:
        return "is a TorchScript program; allowed: tensors in dictionaries, as of a state_dict"
    said = one_line(ADVICE.sub("", text))
    return f"is not a readable file of torch.save: {type(error).__name__}: {said}"


def _tensors(content: object, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(content, Mapping) or depth > DEPTH:
        return
    for key, value in content.items():
        if isinstance(value, Tensor) and not value.is_nested:
            yield f"{prefix}{key}", value.detach()
        else:
            yield from _tensors(value, f"{prefix}{key}.", depth + 1)
