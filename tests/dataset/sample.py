"""A data set's facts for tests that need some."""

from dataclasses import replace
from typing import Any

from stages.config.params import PercentileGrey
from stages.dataset.image_set import DatasetInfo
from stages.dataset.preprocessing import Preprocessing

GREY = PercentileGrey(kind="percentiles", low=0.5, high=99.5)
PREPARED = Preprocessing(grey=GREY, picture_px=64, view=None)

COVID_CT = DatasetInfo(
    dataset="ct",
    source="data/raw/ct",
    is_phantom=False,
    modality="ct",
    class_names=["normal", "covid"],
    positive="covid",
    n_files=4,
    n_rejected=0,
    n_left_out=0,
    leakage=[],
    implies={},
    suspicious={},
    preprocessing=PREPARED,
)


def info_of(**changes: Any) -> DatasetInfo:
    """CT images of two classes, with some facts changed."""
    return replace(COVID_CT, **changes)
