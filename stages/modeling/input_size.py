"""Networks of one input size: built for that of the view, from weights of another one.

Most transformers learn something per position: an embedding for each patch, or a bias for each
distance between two. Weights that were made at another size are resampled by timm's own code, once,
where they are loaded.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.references import timm_name
from stages.modeling.timm_import import import_timm

logger = logging.getLogger(__name__)


def size_arguments(model: str, size: int | None) -> dict[str, int]:
    """What timm's constructor has to be told of the input size: nothing where any size will do.

    Args:
        model: a timm model name.
        size: side of the square input in pixels; None for the usual one of the network.

    Raises:
        RuntimeError: of timm, for a tag that it does not know.
    """
    config = import_timm().models.get_pretrained_cfg(timm_name(model))
    # timm's word for a network whose constructor takes `img_size`.
    return {"img_size": size} if size and config and config.fixed_input_size else {}


def usual_size(backbone: nn.Module) -> int | None:
    """The side in pixels of the images that timm's weights of a network were made for."""
    config = getattr(backbone, "pretrained_cfg", None) or {}
    return cast(int, config["input_size"][-1]) if "input_size" in config else None


def require_whole_patches(backbone: nn.Module, model: str, size: int) -> None:
    """Refuse a size of which a transformer would drop the last rows and columns without a word.

    Raises:
        UserError: the patches do not fill the image, and the network does not pad it.
    """
    embedding = getattr(backbone, "patch_embed", None)
    patch = getattr(embedding, "patch_size", None)
    side = patch[-1] if isinstance(patch, tuple) else patch
    if not isinstance(side, int) or getattr(embedding, "dynamic_img_pad", False) or not size % side:
        return
    raise UserError(
        f"model: {model} cannot take views of {size} px whole: its patches are of {side} px; "
        f"allowed: {size // side * side} px, {(size // side + 1) * side} px and other multiples"
    )


def fit_positions(state: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """A state dict whose tensors per position are resampled to the size of a backbone.

    Only tensors whose shape is another one are touched. Those that timm cannot bring to the shape
    wanted stay as they are, and so do kernels (`*.weight`): of another shape they are another
    network's.
    """
    wanted = backbone.state_dict()
    others = {
        name: tensor
        for name, tensor in state.items()
        if name in wanted and tensor.shape != wanted[name].shape and not name.endswith(".weight")
    }
    resample = _resampler(backbone)
    if not others or resample is None:
        return dict(state)
    found = {
        name: tensor
        for name, tensor in _try(resample, others, backbone).items()
        if name in others and tensor.shape == wanted[name].shape
    }
    if found:
        name, tensor = next(iter(found.items()))
        logger.info(
            "%d tensors per position resampled by timm, such as %s from %s to %s",
            *(len(found), name, tuple(others[name].shape), tuple(tensor.shape)),
        )
    return {**state, **found}


def _resampler(backbone: nn.Module) -> Callable[..., Any] | None:
    """What timm passes pretrained weights of this kind of network through; None where nothing."""
    modules = (sys.modules[kind.__module__] for kind in type(backbone).__mro__)
    found = (getattr(module, "checkpoint_filter_fn", None) for module in modules)
    return next((function for function in found if function is not None), None)


def _try(
    resample: Callable[..., Any], tensors: dict[str, Tensor], backbone: nn.Module
) -> dict[str, Tensor]:
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # of timm's own old ways
            return cast(dict[str, Tensor], resample(tensors, backbone))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return {}  # tensors of another network, told by their shapes
