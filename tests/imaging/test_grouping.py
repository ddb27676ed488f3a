from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.imaging.fingerprint import FINGERPRINT, fingerprint
from stages.imaging.grouping import find_leaks, group_images, join_groups, join_images


def test_images_that_share_a_patient_or_are_linked_are_one_group() -> None:
    patients = ["anna", "anna", "ben", None]
    assert join_groups(patients, [(2, 3)]) == ["g000000", "g000000", "g000002", "g000002"]


def test_groups_are_joined_through_images_in_between() -> None:
    # 0-1 by patient, 1-2 by a link, 2-3 by patient; 4 by nothing.
    patients = ["anna", "anna", "ben", "ben", "carl"]
    assert join_groups(patients, [(1, 2)]) == ["g000000"] * 4 + ["g000004"]


def test_groups_are_joined_whatever_the_order_of_the_links() -> None:
    # The link joins two groups that exist already.
    patients = ["a", "b", "a", "b"]
    assert join_groups(patients, [(3, 0)]) == join_groups(patients, [(0, 3)]) == ["g000000"] * 4


def test_an_unknown_patient_belongs_to_nobody() -> None:
    assert join_groups([None, None, None], []) == ["g000000", "g000001", "g000002"]


def test_group_ids_do_not_depend_on_the_spelling_of_the_patients() -> None:
    assert join_groups(["x", "y", "x"], []) == join_groups(["bob", "al", "bob"], [])


@pytest.mark.parametrize("count", [1, 4])
def test_images_without_links_are_each_the_first_of_their_own(count: int) -> None:
    assert join_images(count, []).tolist() == list(range(count))


def test_images_are_named_by_the_first_that_they_are_chained_to() -> None:
    assert join_images(6, [(5, 3), (3, 1), (4, 2)]).tolist() == [0, 1, 2, 1, 2, 1]


def test_a_group_in_two_given_splits_is_a_leak() -> None:
    groups = ["a", "a", "b", "b", "c", "c"]
    splits = ["train", "test", "train", "train", "val", "train"]
    assert find_leaks(groups, splits) == {"a": ["test", "train"], "c": ["train", "val"]}


def test_images_without_a_given_split_leak_nothing() -> None:
    assert find_leaks(["a", "a", "b"], ["train", None, None]) == {}
    assert find_leaks(["a", "a"], [None, None]) == {}


def test_patients_and_pictures_make_groups_and_pictures_alone_make_clusters(
    tmp_path: Path,
) -> None:
    # 0 and 1 are of one patient, 1 and 2 have the same pixels, 3 is on its own.
    rng = np.random.default_rng(0)
    marks = [fingerprint(rng.integers(0, 256, (64, 64), dtype=np.uint8)) for _ in range(4)]
    marks[2] = marks[1]
    manifest = pd.DataFrame(
        {
            "source_path": [f"{name}.png" for name in "abcd"],
            "sha256": list("abcd"),
            "volume": [None] * 4,
            "pixel_hash": list("pqqr"),
            "patient_id": ["anna", "anna", None, None],
            "given_split": ["train", None, "test", "test"],
            "given_fold": ["1", "2", None, "1"],
        }
    )
    records = np.array(marks, dtype=FINGERPRINT)
    found = group_images(manifest, records, near_duplicates=True, scratch=tmp_path)
    assert found.group_ids == ["g000000", "g000000", "g000000", "g000003"]
    assert found.clusters.tolist() == [0, 1, 1, 3]
    assert [pair[:3] for pair in found.pairs] == [(1, 2, "pixels")]
    assert found.leaks == {"g000000": ["test", "train", "fold 1", "fold 2"]}
