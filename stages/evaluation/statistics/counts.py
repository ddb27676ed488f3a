"""How many independent images a share of some rows rests on."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.evaluation.statistics.effective_size import Support

Mask = NDArray[np.bool_]


class Counted(NamedTuple):
    """A number of rows, and Kish's effective size of them, all rows of a patient being alike."""

    images: float
    patients: float


def count_rows(rows: Mask, groups: ArrayLike) -> Counted:
    """How many of n rows are True, and what they are worth if all of a patient are alike.

    Kish 1965: (sum m)^2 / sum m^2 of the rows m of each patient.

    Args:
        rows: (n,) which are counted.
        groups: (n,) patient of each row.
    """
    of_patient = np.unique(np.asarray(groups)[rows], return_counts=True)[1].astype(float)
    if not len(of_patient):
        return Counted(0.0, 0.0)
    return Counted(of_patient.sum(), of_patient.sum() ** 2 / (of_patient**2).sum())


def share_support(count: Counted) -> Support:
    """Of a share of some images."""
    return Support(*count, most=count.images, least=count.patients)


def mean_of_shares_support(count: Counted) -> Support:
    """Of a mean over images of figures in [0, 1], which vary less than a share of images does."""
    return Support(*count, most=math.inf, least=count.patients / 2)
