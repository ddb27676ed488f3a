"""Errors on the public X-rays, and agreement with radiologists."""

import pandas as pd

from tests.benchmarks.real_errors import Agreement, Errors, count_agreement, count_errors

SAID = [  # image, label, prediction
    ("a", "pneumonia", "pneumonia"),
    ("b", "pneumonia", "normal"),
    ("c", "normal", "normal"),
    ("d", "normal", "pneumonia"),
    ("e", "covid", "normal"),
    ("f", "pneumonia", "pneumonia"),
]


def table_of(*said: tuple[str, str, str], split: str = "test") -> pd.DataFrame:
    return pd.DataFrame(said, columns=["image_id", "label", "prediction"]).assign(split=split)


def test_errors_are_of_test_images_and_those_between_doubted_labels_are_counted() -> None:
    whole = pd.concat([table_of(*SAID), table_of(("b", "pneumonia", "normal"), split="train")])
    assert count_errors(whole, whole) == Errors(6, 3, 2, 3)


def test_an_image_that_one_training_has_right_is_not_missed_by_all() -> None:
    runs = pd.concat([table_of(*SAID), table_of(("b", "pneumonia", "pneumonia"), SAID[4])])
    assert count_errors(table_of(*SAID), runs).by_every_training == 2


def test_radiologists_are_agreed_with_where_opacity_and_pneumonia_go_together() -> None:
    manifest = pd.DataFrame(
        {"image_id": list("abcdef"), "source_path": [f"{x}.jpg" for x in "abcdef"]}
    )
    seen = {"a": "YES", "b": "NO", "c": "NO", "d": "NO", "f": "NO"}  # e was not looked at
    readings = pd.DataFrame({"file": [f"{x}.jpg" for x in seen], "airspace_opacity": seen.values()})
    assert count_agreement(table_of(*SAID), manifest, readings) == Agreement(
        read=5, with_label=3, with_readers=3, clear=2, clear_as_doubted=1
    )
