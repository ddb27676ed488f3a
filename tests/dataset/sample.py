"""A data set's facts for tests that need some."""

from dataclasses import replace
from typing import Any

from stages.dataset.image_set import DatasetInfo

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
)


def info_of(**changes: Any) -> DatasetInfo:
    """CT images of two classes, with some facts changed."""
    return replace(COVID_CT, **changes)
