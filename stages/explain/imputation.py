"""Pixels made up from their neighbours: the noisy linear imputation of ROAD, in less time."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy.sparse import csc_array
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor

# The matrix is symmetric and its diagonal dominates: an ordering for such matrices, no pivoting,
# and no gathering of columns, which pays for matrices that fill up more than those of a grid.
SYMMETRIC = {
    "permc_spec": "MMD_AT_PLUS_A",
    "diag_pivot_thresh": 0.0,
    "relax": 1,
    "panel_size": 1,
    "options": {"SymmetricMode": True, "Equil": False},
}


class _System(NamedTuple):
    """Equations of the n missing pixels of a mask (S, S), factorised.

    Attributes:
        kept: (S, S) the mask that they are of, True where a pixel is known.
        factors: of the (n, n) matrix.
        from_known: (n, S * S) what a missing pixel takes from each known one.
    """

    kept: NDArray[np.bool_]
    factors: SuperLU
    from_known: csc_array


class FastImputer(NoisyLinearImputer):
    """Each missing pixel is the mean of its neighbours, also of missing ones, and noise is added.

    The library's equations, weights, noise and order of drawing it. It fills its matrix entry by
    entry and factorises it like any other, anew for every image; here that is done in one step, and
    once for images that follow each other under the same mask.
    """

    def __init__(self, noise: float = 0.01) -> None:
        super().__init__(noise)
        self._last: _System | None = None

    def __call__(self, img: Tensor, mask: Tensor) -> Tensor:
        """Fill an image (C, S, S) where the mask (S, S) is 0; some pixel has to be known."""
        kept = mask.numpy() > 0
        if self._last is None or not np.array_equal(self._last.kept, kept):
            self._last = _factorise(kept, self.weighting)
        known = img.flatten(start_dim=1).double().numpy()
        solved = self._last.factors.solve(self._last.from_known @ known.T)  # (n, C)
        filled = torch.from_numpy(solved).float().T
        infilled = img.flatten(start_dim=1).clone()
        infilled[:, ~kept.ravel()] = filled + self.noise * torch.randn_like(filled)
        return infilled.reshape_as(img)


def _factorise(kept: NDArray[np.bool_], weighting: list[tuple[tuple[int, int], float]]) -> _System:
    missing = np.flatnonzero(~kept)
    number = np.full(kept.size, -1)
    number[missing] = np.arange(len(missing))
    pixels, neighbours, weights = _find_neighbours(kept.shape, missing, weighting)
    rows, is_known = number[pixels], kept.ravel()[neighbours]
    total = np.zeros(len(missing))
    np.add.at(total, rows, weights)
    between = csc_array(
        (-weights[~is_known], (rows[~is_known], number[neighbours[~is_known]])),
        shape=(len(missing), len(missing)),
    )
    from_known = csc_array(
        (weights[is_known], (rows[is_known], neighbours[is_known])),
        shape=(len(missing), kept.size),
    )
    return _System(kept, splu(between + _diagonal(total), **SYMMETRIC), from_known)


def _diagonal(values: NDArray[np.float64]) -> csc_array:
    places = np.arange(len(values))
    return csc_array((values, (places, places)))


def _find_neighbours(
    shape: tuple[int, ...],
    missing: NDArray[np.int64],
    weighting: list[tuple[tuple[int, int], float]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Missing pixels, a neighbour of each inside the image, and its weight: flat, of all pairs."""
    offsets = np.array([offset for offset, _ in weighting])
    rows, columns = np.divmod(missing, shape[1])
    rows = rows + offsets[:, :1]  # (neighbours, n)
    columns = columns + offsets[:, 1:]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    weights = np.array([weight for _, weight in weighting])[:, None]
    return (
        np.broadcast_to(missing, inside.shape)[inside],
        (rows * shape[1] + columns)[inside],
        np.broadcast_to(weights, inside.shape)[inside],
    )
