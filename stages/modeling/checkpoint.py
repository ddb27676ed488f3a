"""A model on disk: `model.safetensors` and a readable `meta.json` beside it."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.writing import replacing, write_json
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.outputs import Outputs

VERSIONS_OF = ("torch", "torchvision", "timm", "lightning-fabric", "numpy")


def describe_parameters(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Shape of every parameter tensor, and whether it was to be trained."""
    return {
        name: {"shape": list(parameter.shape), "trained": parameter.requires_grad}
        for name, parameter in model.named_parameters()
    }


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of scalars, and of the tensors that they are in, that train and that are frozen."""
    counts = {"trained": 0, "frozen": 0, "trained_tensors": 0, "frozen_tensors": 0}
    for parameter in model.parameters():
        kind = "trained" if parameter.requires_grad else "frozen"
        counts[kind] += parameter.numel()
        counts[f"{kind}_tensors"] += 1
    return counts


def run_folder(case_folder: Path, run_name: str) -> Path:
    """Where the model of one run of a case is; the only run of a case, "", has no subfolder."""
    return case_folder / run_name  # a path / "" is the path itself


def save_model(folder: Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write both files; `meta` is completed by the versions of the libraries."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    with replacing(folder / "model.safetensors") as partial:
        safetensors.torch.save_file(contiguous, partial)
    write_json(folder / "meta.json", {**meta, "versions": library_versions()})


def library_versions() -> dict[str, str]:
    """Of the libraries that a trained model depends on."""
    return {package: version(package) for package in VERSIONS_OF}


def load_meta(folder: Path) -> dict[str, Any]:
    """Read meta.json.

    Raises:
        UserError: there is none, or it is no JSON object.
    """
    path = folder / "meta.json"
    if not path.exists():
        raise UserError(
            f"{path}: does not exist; allowed: the folder of initial weights or of one run of a "
            "trained case; dvc repro makes both"
        )
    try:
        meta: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: is not readable JSON: {one_line(error)}") from None
    if not isinstance(meta, dict):
        raise UserError(f"{path}: got {type(meta).__name__}; allowed: an object of keys and values")
    return meta


def load_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file."""
    try:
        state: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        said = one_line(error)
        raise UserError(f"{path}: is not a readable .safetensors file: {said}") from None
    return state


def one_line(said: object, longest: int | None = 200) -> str:
    """What a library says, which may be pages, in so many characters."""
    text = " ".join(str(said).split())
    return text if longest is None or len(text) <= longest else f"{text[:longest]}..."


def outputs_of(meta: Mapping[str, Any]) -> Outputs:
    """What the logits of a trained model mean."""
    return Outputs(tuple(meta["class_names"]), meta["positive"], meta["one_logit"], meta["implies"])


def build_described(meta: Mapping[str, Any]) -> Classifier:
    """The network of a trained model with new random weights, drawn from torch's generator."""
    return build_classifier(
        meta["model"],
        size=meta["size"],
        head=meta["head"],
        outputs=outputs_of(meta).count,
        dropout=meta["dropout"],
        mean=meta["mean"],
        std=meta["std"],
    )


def load_classifier(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The trained model of one run in eval mode, and its meta."""
    meta = load_meta(folder)
    classifier = build_described(meta)
    classifier.load_state_dict(load_state(folder / "model.safetensors"))
    return classifier.eval(), meta
