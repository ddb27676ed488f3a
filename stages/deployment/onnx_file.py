"""A case as an ONNX file, and what is said with it.

Written by torch's exporter over `torch.export`, which follows the operations of a network whatever
its Python does between them. The file says nothing of how it was made but the versions: the
exporter's notes on every node hold lines and folders of the code, and would differ from machine to
machine.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.deployment.case_network import CaseNetwork
from stages.modeling.checkpoint import one_line
from stages.sources.silence import silent

if TYPE_CHECKING:
    import onnx_ir
    import onnxruntime

MODEL, WEIGHTS_BESIDE = "model.onnx", "model.onnx.data"
# The exporter's own: a later one is converted to, an earlier one cannot be.
OPSET = 18
INPUT, OUTPUTS = "pictures", ("probabilities", "calls")
AXES = {0: "batch", 1: "height", 2: "width"}
# What is traced; no two axes alike, none 1, so that the exporter takes none for another or fixed.
EXAMPLE_SHAPE = (2, 67, 83)
# Protocol buffers end at 2 GiB; the rest of the file takes a little too.
MOST_BYTES_INSIDE = 2**31 - 2**24
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")
TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir")  # of how they go about it


def write_onnx(case: CaseNetwork, folder: Path, metadata: Mapping[str, str]) -> None:
    """Write MODEL and, where it would be too large for one file, WEIGHTS_BESIDE.

    Args:
        case: in eval mode, on the CPU.
        folder: where to.
        metadata: for the file's `metadata_props`.

    Raises:
        UserError: the exporter does not know an operation of the network.
    """
    import onnx_ir

    model = _trace(case)
    _forget_origins(model)
    model.metadata_props.update(sorted(metadata.items()))
    n_bytes = sum(tensor.nbytes for tensor in _tensors(model))
    beside = WEIGHTS_BESIDE if n_bytes > MOST_BYTES_INSIDE else None
    onnx_ir.save(model, folder / MODEL, external_data=beside)


def open_onnx(folder: Path, *, threads: int | None = None) -> "onnxruntime.InferenceSession":
    """A session on the CPU.

    Args:
        folder: that MODEL is in.
        threads: it may use; None for as many as torch does.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
    options.log_severity_level = 3  # errors; below that it tells of the machine
    return onnxruntime.InferenceSession(
        str(folder / MODEL), options, providers=["CPUExecutionProvider"]
    )


def run_onnx(
    session: "onnxruntime.InferenceSession", pictures: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (B, classes) and calls (B, points) of pictures (B, H, W)."""
    probabilities, calls = session.run(list(OUTPUTS), {INPUT: pictures})
    return probabilities, calls


def describe_versions() -> dict[str, str]:
    """Of the libraries that write and read the file."""
    return {name: version(name) for name in LIBRARIES}


def _trace(case: CaseNetwork) -> "onnx_ir.Model":
    example = torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)
    axes = {axis: torch.export.Dim(name, min=1) for axis, name in AXES.items()}
    with silent(*TALKATIVE):
        try:
            program = torch.onnx.export(
                case,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={INPUT: axes},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise UserError(
                f"torch {version('torch')} cannot export this network to ONNX: {one_line(error)}"
            ) from None
    assert program is not None  # of dynamo
    return program.model


def _forget_origins(model: "onnx_ir.Model") -> None:
    for graph in model.graphs():
        parts: list[Any] = [*graph.inputs, *graph.outputs, *graph.initializers.values(), graph]
        for node in graph:
            parts += [node, *node.outputs]
        for part in parts:
            part.metadata_props.clear()
            part.doc_string = None
    model.metadata_props.clear()


def _tensors(model: "onnx_ir.Model") -> Iterator[Any]:
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value
