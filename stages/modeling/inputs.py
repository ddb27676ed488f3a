"""What a network is given in a training: images, or what its frozen part makes of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from stages.modeling.boundary import split_at_boundary
from stages.modeling.classifier import Classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import Rows
from stages.modeling.distributed import Team
from stages.modeling.features import compute_features
from stages.modeling.fused import fuse


class Inputs(NamedTuple):
    """Who is given what; the words are those of a `Lesson`."""

    network: nn.Module
    to_input: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    train: Rows
    val: Rows


def behind_boundary(
    images: Inputs,
    classifier: Classifier,
    *,
    views: int,
    hardware: Hardware,
    scratch: Path,
    team: Team,
) -> Inputs:
    """The part of the network that trains, and the activations in front of it.

    Args:
        images: what the whole network would be given.
        classifier: that network, frozen as it is to be trained.
        views: how often each training image is augmented and kept.
        hardware: device and precision.
        scratch: folder for the activations.
        team: the processes that share the work.

    Raises:
        UserError: the network cannot be cut there, or the disk has too little room.
    """
    halves = split_at_boundary(classifier)
    # Fused: the frozen part is only evaluated.
    frozen = fuse(halves.frozen)
    compute = partial(compute_features, frozen, hardware=hardware, scratch=scratch, team=team)
    train = compute(images.train, augment=images.augment, views=views)
    val = compute(images.val, augment=_as_it_is, views=1)
    return Inputs(halves.trained, _as_it_is, _as_it_is, train, val)


def _as_it_is(values: Tensor) -> Tensor:
    return values
