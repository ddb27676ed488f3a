import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.params import LungCrop, View, WindowGrey
from stages.dataset.arrays import write_images
from stages.dataset.image_set import (
    BOX_COLUMNS,
    MANIFEST_COLUMNS,
    load_dataset_info,
    load_image_set,
    load_manifest,
    without_padding,
)
from stages.dataset.preprocessing import Preprocessing
from tests.dataset.sample import info_of

INFO = info_of(n_rejected=1, n_left_out=2, leakage=["g000001"], implies={"covid": ["normal"]})


def manifest_of(labels: list[str], splits: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({column: ["0"] * len(labels) for column in MANIFEST_COLUMNS})
    return table.assign(label=labels, split=splits)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of a prepared data set, without truth, masks or boxes."""
    INFO.save(tmp_path)
    table = manifest_of(["covid", "normal", "covid"], ["train", "test", "train"])
    table = table.assign(group_id=["00000061", "NA", "7"], subgroup="")
    table.to_csv(tmp_path / "manifest.csv", index=False)
    write_array(tmp_path / "images.npy")
    return tmp_path


def write_array(path: Path) -> None:
    with write_images(path, 4, 4) as writer:
        for number in range(3):
            writer.append(np.full((4, 4), number, np.uint8))


def test_facts_of_a_data_set_come_back_as_saved(folder: Path) -> None:
    assert load_dataset_info(folder) == INFO


def test_a_view_says_how_its_images_were_made(tmp_path: Path) -> None:
    crop = LungCrop(kind="lungs", margin=0.05, fallback_fraction=0.8)
    view = View(dataset="ct", crop=crop, size_px=48, fit="stretch")
    grey = WindowGrey(kind="window", low=-1350, high=150)
    info = info_of(preprocessing=Preprocessing(grey=grey, picture_px=144, view=view))
    info.save(tmp_path)
    assert load_dataset_info(tmp_path) == info


def test_facts_that_do_not_say_how_pictures_were_made_name_the_remedy(tmp_path: Path) -> None:
    INFO.save(tmp_path)
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["preprocessing"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"dataset.json: has no `preprocessing`; .*dvc repro$"):
        load_dataset_info(tmp_path)


def test_the_positive_index_is_its_place_in_the_class_order() -> None:
    assert INFO.positive_index == 1
    assert replace(INFO, positive="normal").positive_index == 0


def test_label_patterns_are_each_class_and_what_it_implies() -> None:
    classes = ["normal", "pneumonia", "covid"]
    info = replace(INFO, class_names=classes, implies={"covid": ["pneumonia"]})
    assert info.label_patterns.astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert (replace(info, implies={}).label_patterns == np.eye(3)).all()


def test_targets_follow_the_class_order_not_the_alphabet(folder: Path) -> None:
    targets = load_image_set(folder).targets
    assert targets.tolist() == [1, 0, 1]
    assert targets.dtype == np.int64


def test_rows_of_a_split_are_its_row_numbers(folder: Path) -> None:
    images = load_image_set(folder)
    assert images.rows("train").tolist() == [0, 2]
    assert images.rows("test").tolist() == [1]
    assert images.rows("val").tolist() == []


def test_group_ids_stay_text_and_empty_text_stays_empty(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest["group_id"].tolist() == ["00000061", "NA", "7"]
    assert manifest["subgroup"].tolist() == ["", "", ""]


def test_what_a_folder_does_not_hold_is_none(folder: Path) -> None:
    images = load_image_set(folder)
    assert images.truth is None
    assert images.lung_masks is None
    assert images.boxes is None
    assert images.pictures is None
    assert images.images[2, 0, 0] == 2


def test_masks_boxes_and_pictures_of_a_view_are_opened(folder: Path) -> None:
    for name in ("truth.npy", "lung_masks.npy", "pictures.npy"):
        write_array(folder / name)
    boxes = pd.DataFrame({column: ["0"] for column in BOX_COLUMNS})
    boxes.to_csv(folder / "boxes.csv", index=False)
    images = load_image_set(folder)
    assert images.truth is not None
    assert images.truth[1, 0, 0] == 1
    assert images.lung_masks is not None
    assert images.lung_masks.shape == (3, 4, 4)
    assert images.boxes is not None
    assert tuple(images.boxes.columns) == BOX_COLUMNS
    assert images.pictures is not None
    assert images.pictures[2, 0, 0] == 2


def test_a_picture_is_what_lies_inside_the_padding_of_its_square() -> None:
    square = np.zeros((6, 6), np.uint8)
    square[1:5] = np.arange(1, 25).reshape(4, 6)
    picture = without_padding(square, {"x0": 0, "y0": 1, "x1": 6, "y1": 5})
    np.testing.assert_array_equal(picture, np.arange(1, 25).reshape(4, 6))
