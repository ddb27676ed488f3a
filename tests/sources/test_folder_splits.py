"""Splits as folders below the class folders."""

from pathlib import Path

import pytest

from stages.config.errors import UserError
from tests.sources.trees import listed, paths, put


def splits(root: Path, *ignore: str) -> dict[str, str | None]:
    return {item.source_path: item.split for item in listed(root, *ignore).items}


def each(*names: str) -> list[str]:
    """The files below both class folders."""
    return [f"{label}/{name}" for label in ("COVID", "Normal") for name in names]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("train_set", "validation set", "test-set"),
        ("TrainData", "valset", "Test Images"),
        ("images/train", "images/val", "images/test"),
        ("train/images", "val/images", "test/images"),
        ("train/P1/day 2", "val/P2", "test/P3/x/y"),
        ("v1/images/Train ", "v1/images/Val ", "v1/images/Test "),
    ],
)
def test_split_folders_below_class_folders_give_the_split(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    put(tmp_path, *each(f"{train}/1.png", f"{train}/2.png", f"{val}/1.png", f"{test}/1.png"))
    expected = {f"{train}/1.png": "train", f"{train}/2.png": "train"}
    expected |= {f"{val}/1.png": "val", f"{test}/1.png": "test"}
    of_covid = {f"COVID/{name}": split for name, split in expected.items()}
    of_normal = {f"Normal/{name}": split for name, split in expected.items()}
    assert splits(tmp_path) == of_covid | of_normal


def test_masks_within_split_folders_are_refused(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        put(tmp_path, *each(f"train/{kind}/1.png", f"test/{kind}/1.png"))
    with pytest.raises(UserError, match=r"no pictures of a class: 'masks' \(4 files"):
        listed(tmp_path)
    assert set(splits(tmp_path, "masks").values()) == {"train", "test"}


def test_files_beside_split_folders_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *each("train/1.png", "test/2.png"), "COVID/P7/c.png", "COVID/b.png")
    said = (
        r"COVID: 2 of 4 files stand beside the split folders \(test, train\), the first "
        r"'COVID/P7/c\.png'; move them into one of these, or add them to ignore$"
    )
    with pytest.raises(UserError, match=said):
        listed(tmp_path)
    assert len(splits(tmp_path, "P7", "/COVID/b.png")) == 4


def test_classes_without_the_split_folders_of_others_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/train/1.png", "COVID/test/2.png", "Normal/3.png")
    with pytest.raises(UserError, match=r"class folder 'Normal' has no split folders, but others"):
        listed(tmp_path)
    put(tmp_path, "Normal/train/3.png")
    (tmp_path / "Normal/3.png").unlink()
    with pytest.raises(UserError, match="class 'normal' has no test folder below its class fold"):
        listed(tmp_path)
    put(tmp_path, "Normal/Test/4.png")
    assert set(splits(tmp_path).values()) == {"train", "test"}


def test_a_second_folder_of_a_class_may_hold_one_split_alone(tmp_path: Path) -> None:
    put(tmp_path, *each("train/1.png", "test/2.png"), "Covid-19/test/3.png")
    assert splits(tmp_path)["Covid-19/test/3.png"] == "test"


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *each("train/1.png", "Training/2.png", "test/3.png"))
    with pytest.raises(UserError, match="COVID: folders 'Training' and 'train' are the same split"):
        listed(tmp_path)


def test_splits_above_and_below_have_to_agree(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{file}" for file in each("train/1.png")))
    put(tmp_path, *(f"test/{file}" for file in each("1.png")))
    assert set(splits(tmp_path).values()) == {"train", "test"}
    put(tmp_path, "test/COVID/val/2.png")
    said = r"'test/COVID/val' lies in the splits 'test' and 'val'; move its files into one of them"
    with pytest.raises(UserError, match=said):
        listed(tmp_path)
    assert splits(tmp_path, "!val")["test/COVID/val/2.png"] == "test"


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("covid_train", "covid_test"), "'covid_test' and 'covid_train'"),
        (("train", "test", "test_old"), "'test_old'"),
        (("01_train", "02_test"), "'01_train' and '02_test'"),
        (("trainCT", "valCT"), "'trainCT' and 'valCT'"),
        (("fold1", "fold2"), "'fold1' and 'fold2'"),
        (("Fold 0",), "'Fold 0'"),
    ],
)
def test_names_that_look_like_splits_are_refused(
    tmp_path: Path, names: tuple[str, ...], named: str
) -> None:
    put(tmp_path, *each(*(f"{name}/{number}.png" for number, name in enumerate(names))))
    said = f"COVID: folders {named} look like splits or folds that came with the data; name them"
    with pytest.raises(UserError, match=said):
        listed(tmp_path)


def test_folders_that_are_to_be_kept_are_no_splits(tmp_path: Path) -> None:
    put(tmp_path, *each("train/1.png", "test/2.png"))
    assert set(splits(tmp_path, "!train", "!test").values()) == {None}
    assert set(splits(tmp_path, "!*").values()) == {"train", "test"}  # names none of them


def test_patients_whose_names_have_the_word_of_a_split_are_patients(tmp_path: Path) -> None:
    put(tmp_path, *each("test_001/1.png", "test_002/1.png", "P3/1.png"))
    assert set(splits(tmp_path).values()) == {None}
    assert len(paths(tmp_path)) == 6
