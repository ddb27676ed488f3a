"""Good and broken files of weights and meta.json: each loads rightly, or is refused in one line.

    python -m tests.faults.weights_files

Prints a row per file; ends with 1 if one was not handled as it should be.
"""

import argparse
import json
import os
import pickle
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.params import FileWeights
from stages.modeling.classifier import build_backbone
from stages.modeling.initial import check_file, file_weights

State = dict[str, Tensor]
Make = Callable[[Path], Path]  # writes into a folder; gives the path for params.yaml
IMAGENET = {"kind": "imagenet"}
META = {"kind": "meta"}


class Fault(NamedTuple):
    """A file, and what must become of it.

    Attributes:
        name: what it is.
        make: writes it.
        refused: part of the error; empty where it must load.
        model: that asks for it.
        scaling: of the entry.
        loaded: mean and std where it loads.
    """

    name: str
    make: Make
    refused: str = ""
    model: str = "cnn3"
    scaling: dict[str, Any] = IMAGENET
    loaded: tuple[float, float] = (0.449, 0.226)


def state_of(model: str = "cnn3") -> State:
    torch.manual_seed(1)
    return dict(build_backbone(model).state_dict())


def safe(state: State, prefix: str = "") -> Make:
    def make(folder: Path) -> Path:
        path = folder / "w.safetensors"
        named = {f"{prefix}{n}": t.contiguous().clone() for n, t in state.items()}
        safetensors.torch.save_file(named, path)
        return path

    return make


def saved(content: object, name: str = "w.pth", **options: Any) -> Make:
    def make(folder: Path) -> Path:
        torch.save(content, folder / name, **options)
        return folder / name

    return make


def raw(content: bytes, name: str = "w.safetensors") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def cut(make: Make, keep: Callable[[bytes], bytes], name: str = "") -> Make:
    """Another file, of which only some bytes are left."""

    def shortened(folder: Path) -> Path:
        path = make(folder)
        left = folder / (name or path.name)
        left.write_bytes(keep(path.read_bytes()))
        return left

    return shortened


def with_meta(meta: object, state: State | None = None) -> Make:
    """A folder as this project writes it; `meta` as bytes is written as it is."""

    def make(folder: Path) -> Path:
        own = folder / "model"
        own.mkdir()
        safetensors.torch.save_file(state or state_of(), own / "model.safetensors")
        if meta is not None:
            text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
            (own / "meta.json").write_bytes(text)
        return own

    return make


def header(text: str | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    encoded = (text if isinstance(text, str) else json.dumps(text)).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def changed(name: str, change: Callable[[Tensor], Tensor], model: str = "cnn3") -> State:
    state = state_of(model)
    return state | {name: change(state[name])}


def one_value(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return change


def colours(state: State, name: str) -> State:
    """Three colours whose sum is what the state has."""
    shares = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1)
    return state | {name: state[name] * shares}


def prefixed(prefix: str, state: State | None = None) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in (state or state_of()).items()}


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/code-of-a-weights-file-was-run",)


def script(folder: Path) -> Path:
    torch.jit.script(nn.Linear(2, 2)).save(str(folder / "w.pt"))
    return folder / "w.pt"


def folder_named_as_a_file(folder: Path) -> Path:
    (folder / "w.pth").mkdir()
    return folder / "w.pth"


def meta_that_is_a_folder(folder: Path) -> Path:
    own = with_meta(None)(folder)
    (own / "meta.json").mkdir()
    return own


def only_a_meta(folder: Path) -> Path:
    own = with_meta({"mean": 0.5, "std": 0.25})(folder)
    (own / "model.safetensors").unlink()
    return own


def good_files() -> Iterator[Fault]:
    state, resnet = state_of(), state_of("test_resnet")
    head = {"head.1.weight": torch.zeros(2, 64), "head.1.bias": torch.zeros(2)}
    yield Fault("plain .safetensors", safe(state))
    yield Fault("a case of this project, with its head", safe(prefixed("backbone.") | head))
    for prefix in ("module.", "model.", "encoder.", "module.backbone.", "net.features.body."):
        yield Fault(f"names behind {prefix}", safe(state, prefix))
    yield Fault(".pth of a state dict", saved(state))
    yield Fault(".bin of a state dict", saved(state, "pytorch_model.bin"))
    yield Fault("in state_dict, behind module.", saved({"state_dict": prefixed("module.")}, "w.pt"))
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(3))]).state_dict()
    yield Fault(
        "in model, beside an optimiser", saved({"model": state, "optimizer": adam, "epoch": 3})
    )
    yield Fault("three dictionaries deep", saved({"checkpoint": {"net": {"state_dict": state}}}))
    yield Fault("twice the same", saved({"state_dict": state, "state_dict_ema": dict(state)}))
    yield Fault("of nn.Parameter", saved({n: nn.Parameter(t) for n, t in state.items()}))
    yield Fault("in the old format", saved(state, _use_new_zipfile_serialization=False))
    yield Fault("channels last", saved(changed("conv2.weight", _channels_last)))
    for kind in (torch.float16, torch.bfloat16):
        rounded = {n: t.to(kind).float() for n, t in state.items()}
        yield Fault(f"rounded to {kind}", safe({n: t.to(kind) for n, t in rounded.items()}))
    yield Fault("of float64", safe({n: t.double() for n, t in state.items()}))
    yield Fault("three colours for cnn3", safe(colours(state, "conv1.weight")))
    yield from (
        Fault(name, make, model="test_resnet")
        for name, make in (
            ("a timm network", safe(resnet)),
            ("three colours and 1000 classes", safe(
                colours(resnet, "conv1.0.weight") | {"fc.weight": torch.zeros(1000, 8)})),
            ("without counters", safe(
                {n: t for n, t in resnet.items() if not n.endswith("num_batches_tracked")})),
            ("counters of int32", safe({n: _as_int32(t) for n, t in resnet.items()})),
        )
    )  # fmt: skip
    yield Fault(
        "old head inside a part that stays",
        safe(state_of("test_convnext") | {"head.fc.weight": torch.zeros(1000, 8)}),
        model="test_convnext",
    )
    own = (0.4, 0.2)
    yield Fault(
        "meta.json of this project", with_meta({"mean": 0.4, "std": 0.2}), "", "cnn3", META, own
    )
    three = {"mean": [0.3, 0.4, 0.5], "std": [0.1, 0.2, 0.3], "model": "cnn3", "more": [1]}
    yield Fault("meta.json of three colours", with_meta(three), "", "cnn3", META, own)
    given = {"kind": "fixed", "mean": 0.4, "std": [0.1, 0.2, 0.3]}
    yield Fault("scaling of the entry", safe(state), scaling=given, loaded=own)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.to(memory_format=torch.channels_last)


def _as_int32(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else tensor.int()


def broken_values() -> Iterator[Fault]:
    for value in (float("nan"), float("inf"), float("-inf")):
        yield Fault(
            f"{value} in a bias", safe(changed("conv3.bias", one_value(value))), "holds NaN"
        )
    half = changed("conv1.weight", one_value(float("nan")))
    yield Fault("NaN of float16", safe({n: t.half() for n, t in half.items()}), "holds NaN or")
    large = {n: t.double() for n, t in state_of().items()}
    large["conv1.bias"][0] = 1e300
    yield Fault("too large for float32", safe(large), "as 32-bit floats")
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "int64": Tensor.long,
        "int8": Tensor.char,
        "bool": Tensor.bool,
        "complex64": lambda t: t.to(torch.complex64),
    }
    for kind, change in kinds.items():
        refused = f"'conv2.weight' is of {kind}; allowed here: floating-point"
        yield Fault(kind, saved(changed("conv2.weight", change)), refused)
    yield Fault("quantised", saved(changed("conv2.weight", _quantised)), "is quantised")
    yield Fault("sparse", saved(changed("conv2.weight", Tensor.to_sparse)), "is sparse")
    yield Fault(
        "without values", saved(changed("conv2.weight", lambda t: t.to("meta"))), "is empty"
    )
    counter, variance = "bn1.num_batches_tracked", "bn1.running_var"
    floating = changed(counter, Tensor.float, "test_resnet")
    yield Fault("a counter of floats", safe(floating), "allowed here: integers", "test_resnet")
    negative = changed(variance, one_value(-1.0), "test_resnet")
    yield Fault("a negative variance", safe(negative), "negative variances", "test_resnet")


def _quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to give such tensors up
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def other_networks() -> Iterator[Fault]:
    state, resnet = state_of(), state_of("test_resnet")
    less = {name: tensor for name, tensor in state.items() if name != "conv3.bias"}
    yield Fault(
        "a tensor missing", safe(less), "5 of 6 tensors fit; 1 missing: 'conv3.bias'; allowed"
    )
    yield Fault("of a ResNet", safe(resnet), "is of another network: 0 of 6 tensors fit; 3 missing")
    turned = changed("conv2.weight", lambda t: t.transpose(0, 1).contiguous())
    yield Fault("a turned tensor", safe(turned), "'conv2.weight' is (32, 64, 7, 7) and not (64, 32")
    four = changed("conv1.weight", lambda t: t.repeat(1, 4, 1, 1))
    yield Fault(
        "four channels", safe(four), "'conv1.weight' is (32, 4, 8, 8) and not (32, 1, 8, 8)"
    )
    deeper = resnet | {"layer2.7.conv1.weight": torch.zeros(8, 8, 3, 3)}
    yield Fault(
        "a deeper network", safe(deeper), "1 too many: 'layer2.7.conv1.weight'", "test_resnet"
    )
    rivals = {"state_dict": state, "state_dict_ema": changed("conv1.bias", one_value(1.0))}
    yield Fault("two sets that fit", saved(rivals), "'state_dict.', 'state_dict_ema.'")
    yield Fault("a name of two lines", safe({"a\nb": torch.zeros(1)}), "0 of 6 tensors fit")


def broken_files() -> Iterator[Fault]:
    state = state_of()
    good, damaged = safe(state), "is not a readable .safetensors file"
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    headers: dict[str, bytes] = {
        "a header longer than the file": header("{}", length=1 << 40),
        "a header of 2**64 - 1 bytes": header("{}", length=(1 << 64) - 1),
        "a header that is no JSON": header("{not json"),
        "a header that is a list": header("[]"),
        "an unknown type": header({"a": tensor | {"dtype": "F33"}}, bytes(4)),
        "offsets beyond the end": header({"a": tensor | {"data_offsets": [0, 400]}}, bytes(4)),
        "offsets that overlap": header({"a": tensor, "b": tensor}, bytes(4)),
        "another shape than bytes": header({"a": tensor | {"shape": [7]}}, bytes(4)),
        "a shape that overflows": header({"a": tensor | {"shape": [1 << 62, 1 << 62]}}, bytes(4)),
        "a negative shape": header({"a": tensor | {"shape": [-1]}}, bytes(4)),
        "bytes behind the end": header({"a": tensor}, bytes(9)),
    }
    for name, content in headers.items():
        yield Fault(name, raw(content), damaged)
    yield Fault("cut in its data", cut(good, lambda b: b[:-1000]), damaged)
    yield Fault("cut in its header", cut(good, lambda b: b[:100]), damaged)
    yield Fault("empty", raw(b""), "is empty")
    yield Fault("no tensors", safe({}), "holds no tensors")
    yield Fault(
        "a pointer of Git LFS",
        raw(b"version https://git-lfs.github.com/spec/v1\noid"),
        "git lfs pull",
    )
    yield Fault("a web page", raw(b"<!DOCTYPE html><html>", "w.pth"), "a page of a web site")
    yield Fault(
        "text", raw(b"hello, these are no weights", "w.pth"), "is not a readable file of torch"
    )
    yield Fault(
        "bytes of noise", raw(bytes(range(256)) * 9, "w.bin"), "is not a readable file of torch"
    )
    yield Fault(
        "a .pth cut short", cut(saved(state), lambda b: b[: len(b) // 2]), "is not a readable"
    )
    old = saved(state, _use_new_zipfile_serialization=False)
    yield Fault("an old .pth cut short", cut(old, lambda b: b[:-999]), "is not a readable")
    bare = raw(pickle.dumps({"a": 1}, protocol=4), "w.pt")
    yield Fault("a pickle of Python's own", bare, "is not a readable file of torch.save")
    yield Fault("a .pth named .safetensors", cut(saved(state), bytes, "x.safetensors"), damaged)
    yield Fault(
        "a .safetensors named .pth", cut(good, bytes, "x.pth"), "is not a readable file of torch"
    )
    yield Fault("a list of tensors", saved(list(state.values())), "holds no tensors")
    yield Fault(
        "a whole network", saved(nn.Sequential(nn.Linear(2, 2))), "holds Python objects (torch.nn"
    )
    yield Fault(
        "other objects", saved(state | {"args": argparse.Namespace(lr=1)}), "(argparse.Namespace)"
    )
    yield Fault("code", saved({"a": Code()}), "could run code")
    yield Fault(
        "code in a bare pickle", raw(pickle.dumps(Code(), protocol=2), "w.pt"), "could run code"
    )
    yield Fault("TorchScript", script, "is a TorchScript program")
    yield Fault("a folder named as a file", folder_named_as_a_file, "there is no such file")
    yield Fault("not there", lambda folder: folder / "w.pth", "there is no such file")
    yield Fault("named otherwise", raw(b"abc", "w.h5"), "allowed: .safetensors, .pth, .pt, .bin")
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    yield Fault("a dictionary in itself", saved(itself), "holds no tensors")


def broken_metas() -> Iterator[Fault]:
    scaled = {"mean": 0.5, "std": 0.25}
    metas: dict[str, tuple[object, str]] = {
        "std 0": (scaled | {"std": 0}, "std: got 0; allowed: "),
        "a negative std": (scaled | {"std": -0.2}, "std: got -0.2; allowed: "),
        "std NaN": (scaled | {"std": float("nan")}, "std: got nan; allowed: "),
        "mean infinite": (scaled | {"mean": float("inf")}, "mean: got inf; allowed: "),
        "for images up to 255": ({"mean": 123.7, "std": 58.4}, "mean: got 123.7; allowed: "),
        "three colours up to 255": ({"mean": [123, 116, 103], "std": 0.2}, "from 0 to 1"),
        "mean of two": (scaled | {"mean": [0.4, 0.5]}, "a list of 1 or 3 numbers"),
        "mean of none": (scaled | {"mean": []}, "a list of 1 or 3 numbers"),
        "std of colours with a 0": (scaled | {"std": [0.3, 0, -0.1]}, "std: got [0.3, 0, -0.1]"),
        "mean in words": (scaled | {"mean": "imagenet"}, "mean: got 'imagenet'; allowed: a valid"),
        "mean true": (scaled | {"mean": True}, "mean: got True; allowed: a valid number"),
        "mean null": (scaled | {"mean": None}, "mean: got None; allowed: a valid number"),
        "mean an object": (scaled | {"mean": {"r": 1}}, "mean: got {'r': 1}; allowed: "),
        "no std": ({"mean": 0.5}, "std: is missing"),
        "another network": (
            scaled | {"model": "resnet34"},
            "model: got 'resnet34'; allowed here: ",
        ),
        "model a number": (scaled | {"model": 3}, "model: got 3; allowed: "),
        "knows in words": (scaled | {"knows": "all"}, "knows: got 'all'; allowed: "),
        "knows in part": (scaled | {"knows": {"task": "t"}}, "knows.n: is missing"),
        "a list": ([scaled], "got list; allowed: an object"),
        "a number": (7, "got int; allowed: an object"),
        "empty": (b"", "is not readable JSON"),
        "cut short": (b'{"mean": 0.5, "std', "is not readable JSON"),
        "of UTF-16": ('{"mean": 0.5}'.encode("utf-16"), "is not readable JSON"),
        "lists in lists": (b"[" * 200_000, "is not readable JSON"),
        "no meta.json": (None, "meta.json: does not exist"),
    }
    for name, (meta, refused) in metas.items():
        yield Fault(f"meta.json: {name}", with_meta(meta), refused, scaling=META)
    yield Fault("meta.json: a folder", meta_that_is_a_folder, "is not readable JSON", scaling=META)
    yield Fault("meta.json alone", only_a_meta, "there is no such file", scaling=META)
    for scaling in ({"mean": 0.5, "std": 0}, {"mean": 0.5, "std": float("nan")}, {"mean": 0.5}):
        yield Fault(
            f"entry: {scaling}", safe(state_of()), "scaling", scaling={"kind": "fixed"} | scaling
        )


def all_faults() -> list[Fault]:
    return [
        *good_files(),
        *broken_values(),
        *other_networks(),
        *broken_files(),
        *broken_metas(),
    ]


def find_problem(fault: Fault, folder: Path) -> str:
    """What was not as it should be; nothing where all was."""
    path = fault.make(folder)
    try:
        source = FileWeights.model_validate(
            {"kind": "file", "path": str(path), "scaling": fault.scaling}
        )
        check_file(fault.model, source)
        loaded = file_weights(fault.model, source)
    except (UserError, ValidationError) as error:
        said = str(error)
        if not fault.refused:
            return f"is refused: {said}"
        if "\n" in said and not isinstance(error, ValidationError):
            return f"is refused in several lines: {said!r}"
        return "" if fault.refused in said else f"is refused with other words: {said}"
    except BaseException:
        return traceback.format_exc()
    if fault.refused:
        return "is not refused"
    scaling = (round(loaded.mean, 3), round(loaded.std, 3))
    if scaling != fault.loaded:
        return f"is scaled by {scaling}"
    # Half precision keeps 8 bits, the sum of three colours all but the last.
    expected, got = state_of(fault.model), loaded.backbone.state_dict()
    near = all(
        torch.allclose(got[n].float(), t.float(), rtol=1e-2, atol=1e-6) for n, t in expected.items()
    )
    return "" if near else "has other values"


def main() -> None:
    """Print a row per file."""
    faults, failed = all_faults(), 0
    for fault in faults:
        with tempfile.TemporaryDirectory() as folder:
            problem = find_problem(fault, Path(folder))
        failed += bool(problem)
        print(f"{'WRONG' if problem else 'right':<6} {fault.name} {problem}".rstrip())
    print(f"{len(faults) - failed} of {len(faults)} handled")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
