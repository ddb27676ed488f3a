"""What the backbone of a network says of images, noted while it predicts."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.modeling.classifier import Classifier


class Penultimate:
    """The features of some of the images that a classifier is given, in their order.

    Args:
        wanted: (N,) of which images they are kept: of all of many they would fill the memory.
    """

    def __init__(self, wanted: NDArray[np.bool_]) -> None:
        self._wanted = torch.from_numpy(wanted)
        self._parts: list[Tensor] = []
        self._seen = 0

    @contextmanager
    def noting(self, classifier: Classifier) -> Iterator[None]:
        """Note what goes into the head while the block runs."""
        handle = classifier.head.register_forward_pre_hook(self._note)
        try:
            yield
        finally:
            handle.remove()

    def _note(self, _head: nn.Module, inputs: tuple[Tensor]) -> None:
        features = inputs[0].float().cpu()
        end = self._seen + len(features)
        self._parts.append(features[self._wanted[self._seen : end]])
        self._seen = end

    @property
    def values(self) -> NDArray[np.float32]:
        """(n, F) of the images wanted."""
        return torch.cat(self._parts).numpy()
