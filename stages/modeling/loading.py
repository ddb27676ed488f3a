"""Tensors into a backbone: which of them are meant, and what they must be."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.input_size import fit_positions

LISTED = 3  # names of tensors in an error, of each kind
LONGEST_NAME = 80
COUNTER = "num_batches_tracked"  # files of torch before 0.4.1 have none; nothing depends on it
# Tensors that follow from a network's shape: older versions of timm saved them.
DERIVED = ("attn_mask", "relative_position_index", "relative_coords_table", "attention_bias_idxs")


class Fitting(NamedTuple):
    """What of a file goes where.

    Attributes:
        tensors: for the backbone, by its own names.
        left_out: names of the others: heads, which are made anew, and what is beside the network.
        summed: whether the colours of the first convolution were summed.
    """

    tensors: dict[str, Tensor]
    left_out: list[str]
    summed: bool


def load_backbone(backbone: nn.Module, state: Mapping[str, Tensor], source: str) -> list[str]:
    """Copy a state dict into a backbone; see `fit_tensors`.

    Returns:
        Names of the tensors that the backbone has no place for.
    """
    fitting = fit_tensors(backbone, state, source)
    backbone.load_state_dict(fitting.tensors)
    return fitting.left_out


def fit_tensors(backbone: nn.Module, state: Mapping[str, Tensor], source: str) -> Fitting:
    """Find the tensors of a backbone among those of a file.

    What stands before their names (`backbone.`, `module.`, `state_dict.model.`) is found by what
    fits. A first convolution for three colours becomes one for grey images by summing over the
    colours, which is timm's way. What is learned per position is fitted to the backbone's input
    size.

    Args:
        backbone: to be filled; it is only looked at and may be on `meta`.
        state: tensors by name.
        source: named in errors.

    Raises:
        UserError: tensors are missing, have another shape, belong to a larger network, or several
            sets of them fit; a tensor is not finite or of a kind that the network has not.
    """
    wanted = backbone.state_dict()
    summed = _sum_colours(backbone, state, wanted)
    prefix = _choose_prefix(summed or state, wanted, source)
    given = {
        name.removeprefix(prefix): tensor
        for name, tensor in (summed or state).items()
        if name.startswith(prefix)
    }
    given = fit_positions(given, backbone)
    _require_fit(backbone, given, wanted, source)
    tensors = {name: given.get(name, torch.tensor(0)) for name in wanted}
    for name, tensor in tensors.items():
        tensors[name] = _sound(name, tensor, wanted[name], source)
    outside = [name for name in state if not name.startswith(prefix)]
    left_out = sorted([*outside, *(given.keys() - wanted.keys())])
    return Fitting(tensors, left_out, bool(summed))


def _choose_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> str:
    """What stands before the names of most tensors that fit."""
    fitting: Counter[str] = Counter()
    for name, tensor in state.items():
        for prefix, own_name in _splits(name):
            if own_name in wanted:
                fits = tensor.shape == wanted[own_name].shape
                fitting[prefix] += 1 + len(wanted) * fits  # shapes first, then names
    if not fitting:
        return ""
    (best, most), *others = fitting.most_common()
    rivals = [p for p, score in others if score == most and _differ(state, wanted, best, p)]
    if rivals and all(best + name in state for name in wanted if not name.endswith(COUNTER)):
        names = ", ".join(_shown(prefix) for prefix in sorted([best, *rivals]))
        raise UserError(
            f"{source}: several sets of its tensors fit, named {names}...; allowed: one; save it "
            "alone, as with torch.save(torch.load(path, weights_only=True)[name], new_path)"
        )
    return best


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every way to take first parts off a dotted name."""
    start = 0
    while True:
        yield name[:start], name[start:]
        end = name.find(".", start)
        if end < 0:
            return
        start = end + 1


def _differ(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], one: str, other: str
) -> bool:
    pairs = ((state.get(one + name), state.get(other + name)) for name in wanted)
    return any(a is not None and b is not None and not _same(a, b) for a, b in pairs)


def _same(one: Tensor, other: Tensor) -> bool:
    is_plain = one.layout == other.layout == torch.strided and not one.is_quantized
    return is_plain and one.dtype == other.dtype and torch.equal(one, other)


def _sum_colours(
    backbone: nn.Module, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state with first convolutions made for grey images; empty where there are none."""
    changed = dict(state)
    for own_name in _first_weights(backbone):
        if own_name not in wanted:
            continue
        for name in state:
            if name == own_name or name.endswith(f".{own_name}"):
                changed[name] = _as_grey(state[name], wanted[own_name])
    return changed if any(changed[name] is not state[name] for name in state) else {}


def _as_grey(tensor: Tensor, want: Tensor) -> Tensor:
    """(O, 3 I, H, W) to (O, I, H, W) by the sum over colours, which change fastest."""
    out, channels, *size = want.shape
    if list(tensor.shape) != [out, 3 * channels, *size] or _kind_problem(tensor, want):
        return tensor
    return tensor.float().reshape(out, channels, 3, *size).sum(dim=2)


def _first_weights(backbone: nn.Module) -> list[str]:
    first = _known(backbone, "first_conv") or ["conv1"]  # cnn3's
    return [f"{name}.weight" for name in first]


def _known(backbone: nn.Module, key: str) -> list[str]:
    """What timm knows of a network's layers, by name: none, one or several."""
    config: Any = getattr(backbone, "pretrained_cfg", {})
    names = config.get(key)
    return [names] if isinstance(names, str) else list(names or [])


def _require_fit(
    backbone: nn.Module,
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    source: str,
) -> None:
    missing = [n for n in wanted if n not in given and not n.endswith(COUNTER)]
    misshaped = [n for n in wanted if n in given and given[n].shape != wanted[n].shape]
    shapes = [
        f"{_shown(n)} is {tuple(given[n].shape)} and not {tuple(wanted[n].shape)}"
        for n in misshaped
    ]
    surplus = _of_larger_network(backbone, given, wanted)
    problems = [
        f"{len(names)} {what}: {_listed(shown)}"
        for names, what, shown in (
            (missing, "missing", [*map(_shown, missing)]),
            (misshaped, "of another shape", shapes),
            (surplus, "too many", [*map(_shown, surplus)]),
        )
        if names
    ]
    if problems:
        fit = sum(n in given and given[n].shape == want.shape for n, want in wanted.items())
        raise UserError(
            f"{source}: is of another network: {fit} of {len(wanted)} tensors fit; "
            f"{'; '.join(problems)}; allowed: weights of this very network"
        )


def _of_larger_network(
    backbone: nn.Module, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> list[str]:
    """Tensors inside parts of the backbone that have no place there, but for its old head."""
    parts = {name.partition(".")[0] for name in wanted}
    heads = tuple(f"{name}." for name in _known(backbone, "classifier"))
    return [
        name
        for name in given
        if name not in wanted
        and name.partition(".")[0] in parts
        and not name.startswith(heads)
        and name.rpartition(".")[2] not in (*DERIVED, COUNTER)
    ]


def _sound(name: str, tensor: Tensor, want: Tensor, source: str) -> Tensor:
    """The tensor in the type of the network, once it is one that a network can compute with."""
    problem = _kind_problem(tensor, want)
    if not problem:
        tensor = tensor.to(want.dtype)
        problem = _value_problem(name, tensor)
    if problem:
        raise UserError(f"{source}: tensor {_shown(name)} {problem}")
    return tensor


def _kind_problem(tensor: Tensor, want: Tensor) -> str:
    if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_meta:
        kind = "quantised" if tensor.is_quantized else "sparse" if not tensor.is_meta else "empty"
        return f"is {kind}; allowed: plain tensors"
    kinds = "floating-point numbers" if want.is_floating_point() else "integers"
    is_right = tensor.is_floating_point() == want.is_floating_point()
    if not is_right or tensor.is_complex() or tensor.dtype == torch.bool != want.dtype:
        return f"is of {str(tensor.dtype).removeprefix('torch.')}; allowed here: {kinds}"
    return ""


def _value_problem(name: str, tensor: Tensor) -> str:
    if tensor.is_floating_point() and not tensor.isfinite().all():
        return "holds NaN or infinity (as 32-bit floats); allowed: finite numbers"
    if name.endswith("running_var") and bool((tensor < 0).any()):
        return "holds negative variances; allowed: 0 and more"
    return ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")


def _listed(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return f"{', '.join(shown[:LISTED])}{more}"
