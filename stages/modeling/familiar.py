"""Whether a picture is like those that a model was trained on.

In each of three respects a picture is as far from the training images as from the k-th nearest of
a sample of them: in its size, in its grey levels, and in what the network makes of it, features
scaled to length 1 (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors").
What is further away than 95 % of the validation images are is unlike them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.config.writing import replacing
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run

FAMILIAR = "familiar.safetensors"
SAMPLE = 200  # training images; of 2,048 features they take 0.8 MB
NEAREST = 5
PASSING = 0.95  # share of the validation images
SIZE, GREY, FEATURES = "size", "grey levels", "features"
# Octaves that a side may differ, 7 %: where all pictures have one size no other would pass.
SIZE_TOLERANCE = 0.1
GREY_TOLERANCE = 1.0  # of 255: where all pictures have one mean, one level more is not unlike it
BLACK, WHITE = 5, 250  # up to and from which level on

Floats = NDArray[np.float64]


class Respect(NamedTuple):
    """The training images in one respect.

    Attributes:
        sample: (m, D) of some of them.
        threshold: largest distance that is not unlike them.
    """

    sample: NDArray[np.floating[Any]]
    threshold: float

    @classmethod
    def fit(cls, sample: NDArray[np.floating[Any]], val: Floats, tolerance: float = 0.0) -> Self:
        """Of (m, D) training images and (n, D) validation images."""
        far = np.quantile(_distances(val, sample), PASSING, method="higher")
        return cls(sample, float(far) + tolerance)

    def is_unlike(self, values: Floats) -> NDArray[np.bool_]:
        """(n,) of (n, D) values."""
        unlike: NDArray[np.bool_] = _distances(values, self.sample) > self.threshold
        return unlike


def _distances(values: Floats, sample: NDArray[np.floating[Any]]) -> Floats:
    """(n,) Euclidean distance to the k-th nearest of a sample, image by image to spare memory."""
    others = sample.astype(np.float64)
    k = min(NEAREST, len(others)) - 1
    found = [np.partition(((others - one) ** 2).sum(axis=1), k)[k] for one in values]
    return np.sqrt(np.array(found))


class Familiar(NamedTuple):
    """What a model knows of the pictures that it was trained on.

    Attributes:
        respects: SIZE, GREY and FEATURES.
        grey_scale: (4,) by which figures of grey levels are divided.
    """

    respects: Mapping[str, Respect]
    grey_scale: Floats

    def find_unlike(
        self,
        images: NDArray[np.uint8],
        sizes: Sequence[tuple[int, int]],
        features: NDArray[np.float32],
    ) -> list[list[str]]:
        """In what each of n pictures is unlike the training images.

        Args:
            images: (n, S, S) rows of the view.
            sizes: (n,) width and height of the pictures as decoded.
            features: (n, F) of the backbone.
        """
        values = {
            SIZE: _octaves(sizes),
            GREY: _describe_grey(images) / self.grey_scale,
            FEATURES: _directions(features),
        }
        is_unlike = {
            name: respect.is_unlike(values[name]) for name, respect in self.respects.items()
        }
        return [
            [name for name, found in is_unlike.items() if found[number]]
            for number in range(len(images))
        ]

    def save(self, folder: Path) -> None:
        """Write familiar.safetensors."""
        tensors = {"grey_scale": self.grey_scale}
        for name, respect in self.respects.items():
            tensors[f"{name}.sample"] = np.ascontiguousarray(respect.sample)
            tensors[f"{name}.threshold"] = np.array([respect.threshold])
        with replacing(folder / FAMILIAR) as partial:
            partial.write_bytes(safetensors.numpy.save(tensors))


def load_familiar(folder: Path) -> Familiar:
    """Read familiar.safetensors.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = folder / FAMILIAR
    try:
        tensors = safetensors.numpy.load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist; training writes it; run: dvc repro") from None
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: is not a readable .safetensors file: {error}") from None
    respects = {
        name: Respect(tensors[f"{name}.sample"], float(tensors[f"{name}.threshold"][0]))
        for name in (SIZE, GREY, FEATURES)
    }
    return Familiar(respects, tensors["grey_scale"])


class Looked(NamedTuple):
    """Which images of a run are looked at for this.

    Attributes:
        train: (m,) rows of a sample of the training images, rising.
        val: (n,) rows of the validation images.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]

    @classmethod
    def of(cls, run: Run) -> Self:
        """Drawn with the seed of the run."""
        drawn = np.random.default_rng(run.seed).permutation(run.rows("train"))[:SAMPLE]
        return cls(np.sort(drawn), run.rows("val"))

    def mask(self, count: int) -> NDArray[np.bool_]:
        """(count,) which rows are looked at."""
        mask = np.full(count, False)
        mask[np.concatenate(self)] = True
        return mask


def learn_familiar(view: ImageSet, looked: Looked, features: NDArray[np.float32]) -> Familiar:
    """Look at the training and validation images of a run.

    Args:
        view: the images.
        looked: which of them.
        features: (n, F) of those in `looked.mask`, by rising row.
    """
    rows = np.flatnonzero(looked.mask(len(view.images)))
    train, val = (np.searchsorted(rows, of) for of in looked)
    sizes = _octaves(view.manifest[["width", "height"]].to_numpy()[rows])
    grey = _describe_grey(view.images[rows])
    scale = grey[train].std(axis=0) + GREY_TOLERANCE
    directions = _directions(features)
    # Half precision: features in bf16 have less.
    sample = directions[train].astype(np.float16)
    respects = {
        SIZE: Respect.fit(sizes[train], sizes[val], SIZE_TOLERANCE),
        GREY: Respect.fit(grey[train] / scale, grey[val] / scale),
        FEATURES: Respect.fit(sample, directions[val]),
    }
    return Familiar(respects, scale)


def _octaves(sizes: Sequence[tuple[int, int]] | NDArray[np.integer]) -> Floats:
    """(n, 2) base 2 logarithms of width and height."""
    logarithms: Floats = np.log2(np.asarray(sizes, np.float64))
    return logarithms


def _describe_grey(images: NDArray[np.uint8]) -> Floats:
    """(n, 4) mean, standard deviation, shares of black and of white (times 255) of (n, S, S)."""
    pixels = images.reshape(len(images), -1)
    mean, spread = pixels.mean(axis=1), pixels.std(axis=1)
    black, white = (pixels <= BLACK).mean(axis=1), (pixels >= WHITE).mean(axis=1)
    return np.column_stack((mean, spread, 255 * black, 255 * white))


def _directions(features: NDArray[np.float32]) -> Floats:
    """(n, F) of length 1; what has no length stays 0."""
    values = features.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
