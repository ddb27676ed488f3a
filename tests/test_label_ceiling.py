"""The ceiling of the labels: a reader who sees every opacity and knows the metadata."""

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.label_ceiling import (
    Readings,
    agreement,
    ceiling,
    count_readings,
    expected_hits,
)

UNDECIDED = np.full(4, 0.5)
LABELS = np.array([True, True, False, False])


def test_readings_are_counted_by_the_folder_of_the_file() -> None:
    files = [f"Pneumonia/{n}.jpg" for n in range(3)] + [f"No_findings/{n}.jpg" for n in range(2)]
    table = pd.DataFrame({"file": files, "airspace_opacity": ["YES", "YES", "NO", "YES", "NO"]})
    readings = count_readings(table)
    assert readings == Readings(3, 2, 2, 1)
    assert agreement(readings) == "3 of 5"


def test_without_metadata_the_reader_is_right_as_often_as_label_and_opacity_agree() -> None:
    hits = expected_hits(0.6, 0.1, UNDECIDED, LABELS)
    assert hits == pytest.approx([0.6, 0.6, 0.9, 0.9])


def test_metadata_that_tell_more_than_the_opacity_decide() -> None:
    # Odds of 99 : 1 outweigh 6 : 1 of an opacity and 4 : 9 of none.
    shares = np.array([0.99, 0.01, 0.01, 0.99])
    assert expected_hits(0.6, 0.1, shares, LABELS) == pytest.approx([1, 0, 1, 0])


def test_an_opacity_that_never_lies_decides_alone() -> None:
    assert expected_hits(1.0, 0.0, np.array([0.01, 0.99, 0.01, 0.99]), LABELS) == pytest.approx(1)


def test_few_readings_leave_a_wide_interval_around_the_ceiling() -> None:
    labels, patients = np.tile(LABELS, 50), pd.Series([f"p{n}" for n in range(200)])
    shares = np.full(200, 0.5)
    value, (low, high) = ceiling(Readings(14, 8, 16, 1), shares, labels, patients)
    many, (many_low, many_high) = ceiling(Readings(1400, 800, 1600, 100), shares, labels, patients)
    assert value == many == pytest.approx((8 / 14 + 15 / 16) / 2)
    assert low < value < high
    assert many_high - many_low < (high - low) / 2
