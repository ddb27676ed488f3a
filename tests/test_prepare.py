"""The stage `prepare` on folders and archives of files."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter, ImageOps

from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.image_set import FINGERPRINTS, ImageSet, load_image_set
from stages.imaging.fingerprint import FINGERPRINT
from stages.prepare import prepare_dataset
from stages.sources.identity import is_missing, tidy
from tests.hostile_names import HOSTILE_NAMES
from tests.imaging.phantoms import draw_phantoms

RawParams = dict[str, Any]
WritePicture = Callable[[Path, int], Path]
Prepare = Callable[..., ImageSet]


@pytest.fixture
def folder(tmp_path: Path, write_picture: WritePicture) -> Path:
    """Six patients of each class with two pictures each, all different."""
    root = tmp_path / "source"
    for number, label in enumerate(("covid", "normal")):
        for patient in range(6):
            for image in range(2):
                name = f"p{number}{patient}_{image}.png"
                write_picture(root / label / name, 100 * number + 10 * patient + image)
    return root


@pytest.fixture
def split_folder(tmp_path: Path, write_picture: WritePicture) -> Path:
    """Train, val and test folders of three pictures of each class, all different."""
    root = tmp_path / "source"
    names = [(s, c) for s in ("train", "val", "test") for c in ("covid", "normal")]
    for number, (split, label) in enumerate(names):
        for image in range(3):
            write_picture(root / split / label / f"p{number}{image}_0.png", 10 * number + image)
    return root


@pytest.fixture
def prepare(tiny_params: RawParams, tmp_path: Path) -> Prepare:
    """Prepares a folder or archive below tmp_path, with some settings changed."""

    def run(source: Path, root: str = "root", **changes: object) -> ImageSet:
        kind = "folder" if source.is_dir() else "archive"
        settings = {
            "source": {"kind": kind, "path": str(source)},
            "cohort": None,
            "group": by_name(r"^(p\d+)_"),
            "size_px": 48,
        }
        tiny_params["datasets"]["ct"] |= settings | changes
        paths = Paths(tmp_path / root)
        prepare_dataset(parse_params(tiny_params), "ct", paths)
        return load_image_set(paths.prepared("ct"))

    return run


def by_name(pattern: str) -> RawParams:
    return {"kind": "pattern", "pattern": pattern, "patients_per_class": False}


def read_rejected(tmp_path: Path) -> list[list[str]]:
    table = pd.read_csv(Paths(tmp_path / "root").prepared("ct") / "rejected.csv")
    rows: list[list[str]] = table.to_numpy().tolist()
    return rows


def test_a_folder_is_prepared_with_its_patients_kept_together(
    folder: Path, prepare: Prepare
) -> None:
    prepared = prepare(folder)
    assert prepared.images.shape == (24, 48, 48)
    assert prepared.truth is None
    assert not prepared.info.is_phantom
    assert prepared.info.source == str(folder)
    assert set(prepared.manifest["subgroup"]) == {""}
    patients = prepared.manifest["source_path"].str.extract(r"(p\d+)_")[0]
    assert prepared.manifest["group_id"].groupby(patients).nunique().eq(1).all()
    assert prepared.manifest["group_id"].nunique() == 12


def test_files_without_a_patient_in_their_name_are_not_one_group(
    folder: Path, prepare: Prepare, write_picture: WritePicture
) -> None:
    unnamed = [f"covid/scan {number}.png" for number in range(3)]
    for number, name in enumerate(unnamed):
        write_picture(folder / name, 5000 + number)
    manifest = prepare(folder, group=by_name(r"^(p\d+)")).manifest
    by_file = manifest.set_index("source_path")
    assert by_file.loc[unnamed, "group_id"].nunique() == len(unnamed)


def test_pictures_keep_their_place_inside_the_padding(folder: Path, prepare: Prepare) -> None:
    prepared = prepare(folder)
    boxes = prepared.manifest[["x0", "y0", "x1", "y1"]].drop_duplicates().to_numpy().tolist()
    assert boxes == [[0, 4, 48, 44]]  # 48 x 40 pixels in a square of 48
    first = prepared.manifest["source_path"].iloc[0]
    original = np.asarray(Image.open(folder / first))
    np.testing.assert_array_equal(prepared.images[0, 4:44], original)


def test_crop_boxes_count_in_pixels_of_the_file_not_of_the_prepared_array(
    folder: Path, prepare: Prepare, tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["views"]["full"]["crop"] = {"kind": "center", "fraction": 0.5}
    prepared = prepare(folder, size_px=32)
    # 48 x 40 pixels became 32 x 27; the middle is 16 x 14 of these, from (8, 6).
    assert prepared.manifest[["x0", "x1", "y0", "y1"]].to_numpy()[0].tolist() == [0, 32, 2, 29]
    paths = Paths(tmp_path / "root")
    crop_view(parse_params(tiny_params), "full", paths)
    boxes = load_image_set(paths.view("full")).boxes
    assert boxes is not None
    sides = boxes[["x0", "y0", "x1", "y1"]].to_numpy()[0].tolist()
    assert sides == pytest.approx([8 * 1.5, 6 * 40 / 27, 24 * 1.5, 20 * 40 / 27], abs=0.005)
    # 16 x 14 fill 80 x 70 of the view.
    places = boxes[["view_x0", "view_y0", "view_x1", "view_y1"]].to_numpy()[0].tolist()
    assert places == [0, 5, 80, 75]


def test_files_that_are_no_images_are_listed_with_the_reason(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    (folder / "covid" / "notes.txt").write_text("not an image")
    (folder / "normal" / "p99_0.png").write_bytes(b"")
    prepared = prepare(folder, max_rejected=0.2)
    rejected = read_rejected(tmp_path)
    assert [file for file, _ in rejected] == ["covid/notes.txt", "normal/p99_0.png"]
    assert rejected[0][1].startswith("not an image, or a damaged header")
    assert rejected[1][1] == "empty file"
    assert (prepared.info.n_files, prepared.info.n_rejected) == (26, 2)
    assert len(prepared.images) == len(prepared.manifest) == 24


def test_what_is_left_out_is_listed_with_the_reason_and_counted_in_files(
    folder: Path, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "notes, 1.txt").write_text("not an image")
    for number in range(3):
        shutil.copytree(folder / "normal", folder / "covid" / f"masks {number}" / "x")
    (folder / "normal" / ".DS_Store").write_bytes(b"")
    with caplog.at_level("INFO"):
        prepared = prepare(folder, ignore=["masks *"])
    table = pd.read_csv(Paths(tmp_path / "root").prepared("ct") / "left_out.csv")
    assert table.columns.tolist() == ["path", "reason", "files"]
    assert table.to_numpy().tolist() == [
        *([f"covid/masks {number}/", "ignored by 'masks *'", 12] for number in range(3)),
        ["normal/.DS_Store", "hidden, or left behind by an operating system", 1],
        ["notes, 1.txt", "outside the class folders", 1],
    ]
    assert prepared.info.n_left_out == 3 * 12 + 2
    assert "0 files rejected (rejected.csv); 38 left out (left_out.csv)" in caplog.text
    assert len(prepared.images) == 24


def test_splits_below_the_class_folders_are_kept(
    tmp_path: Path, prepare: Prepare, write_picture: WritePicture
) -> None:
    for number, split in enumerate(("train", "val", "test")):
        for label in ("covid", "normal"):
            for image in range(3):
                seed = 100 * number + image + 10 * (label == "covid")
                write_picture(tmp_path / f"set/{label}/{split}/p{seed}_0.png", seed)
    prepared = prepare(tmp_path / "set")
    folders = prepared.manifest["source_path"].str.split("/").str[1]
    assert folders.tolist() == prepared.manifest["split"].tolist()


def test_too_many_unreadable_files_stop_the_run_and_are_listed(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    for number in range(3):
        (folder / "covid" / f"bad{number}.png").write_bytes(b"")
    said = (
        r"^params\.yaml: datasets\.ct: 3 of 27 files cannot be read: empty file \(3\); "
        r"allowed: a share of 0\.1 \(max_rejected\); all are listed in .*rejected\.csv$"
    )
    with pytest.raises(UserError, match=said):
        prepare(folder, max_rejected=0.1)
    assert len(read_rejected(tmp_path)) == 3


@pytest.mark.parametrize("labels", [["covid"], ["covid", "normal"]])
def test_a_class_without_a_readable_image_stops_the_run(
    folder: Path, prepare: Prepare, labels: list[str]
) -> None:
    for label in labels:
        for picture in (folder / label).iterdir():
            picture.write_bytes(b"")
    said = rf"^params\.yaml: datasets\.ct: classes\.({'|'.join(labels)}): none of its images"
    with pytest.raises(UserError, match=said):
        prepare(folder, max_rejected=1.0)


def test_splits_that_came_with_the_data_are_kept(split_folder: Path, prepare: Prepare) -> None:
    prepared = prepare(split_folder)
    folders = prepared.manifest["source_path"].str.partition("/")[0]
    assert folders.tolist() == prepared.manifest["split"].tolist()
    assert prepared.info.leakage == []


def leak_by_patient(root: Path, write: WritePicture) -> tuple[str, str]:
    write(root / "test" / "covid" / "p00_9.png", 999)
    return "train/covid/p00_0.png", "test/covid/p00_9.png"


def leak_by_pixels(root: Path, write: WritePicture) -> tuple[str, str]:
    shutil.copy(root / "train" / "covid" / "p00_0.png", root / "test" / "covid" / "new_0.png")
    return "train/covid/p00_0.png", "test/covid/new_0.png"


def leak_by_a_flipped_copy(root: Path, write: WritePicture) -> tuple[str, str]:
    picture = Image.open(root / "train" / "covid" / "p00_0.png")
    ImageOps.mirror(picture).save(root / "test" / "covid" / "new_0.jpg", quality=90)
    return "train/covid/p00_0.png", "test/covid/new_0.jpg"


def leak_by_pixels_of_another_file_format(root: Path, write: WritePicture) -> tuple[str, str]:
    picture = Image.open(root / "train" / "covid" / "p00_0.png")
    picture.save(root / "test" / "covid" / "new_0.bmp")
    return "train/covid/p00_0.png", "test/covid/new_0.bmp"


@pytest.mark.parametrize(
    "leak",
    [
        leak_by_patient,
        leak_by_pixels,
        leak_by_a_flipped_copy,
        leak_by_pixels_of_another_file_format,
    ],
)
def test_a_leak_between_given_splits_stops_the_run_and_names_the_files(
    split_folder: Path,
    prepare: Prepare,
    write_picture: WritePicture,
    tmp_path: Path,
    leak: Callable[[Path, WritePicture], tuple[str, str]],
) -> None:
    files = leak(split_folder, write_picture)
    with pytest.raises(UserError, match=r"^params\.yaml: datasets\.ct: 1 groups .* allow_leakage"):
        prepare(split_folder)
    with pytest.raises(UserError) as caught:
        prepare(split_folder)
    assert f"the first, in test and train: {', '.join(sorted(files))}; all" in str(caught.value)
    listed = pd.read_csv(Paths(tmp_path / "root").prepared("ct") / "leaks.csv")
    assert set(files) <= set(listed["source_path"])


def test_a_leak_that_is_allowed_is_noted(
    split_folder: Path, prepare: Prepare, write_picture: WritePicture
) -> None:
    files = leak_by_patient(split_folder, write_picture)
    prepared = prepare(split_folder, allow_leakage=True)
    by_file = prepared.manifest.set_index("source_path")
    assert prepared.info.leakage == [by_file.loc[files[0], "group_id"]]
    assert by_file.loc[list(files), "split"].tolist() == ["train", "test"]


def test_files_of_an_earlier_run_do_not_stay(
    split_folder: Path,
    prepare: Prepare,
    write_picture: WritePicture,
    tiny_params: RawParams,
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path / "root")
    prepare_dataset(parse_params(tiny_params), "ct", paths)
    crop_view(parse_params(tiny_params), "full", paths)
    truths = [folder / "truth.npy" for folder in (paths.prepared("ct"), paths.view("full"))]
    assert all(truth.exists() for truth in truths)
    leaked = split_folder / leak_by_patient(split_folder, write_picture)[1]
    prepare(split_folder, allow_leakage=True)
    crop_view(parse_params(tiny_params), "full", paths)
    assert not any(truth.exists() for truth in truths)
    leaks = paths.prepared("ct") / "leaks.csv"
    assert leaks.exists()
    leaked.unlink()
    prepare(split_folder)
    assert not leaks.exists()


def test_a_run_that_fails_leaves_no_half_written_file(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    prepare(folder)
    prepared = Paths(tmp_path / "root").prepared("ct")
    names = {path.name for path in prepared.iterdir()}
    with pytest.raises(UserError, match="too few to give"):
        prepare(folder, split={"train": 0.8, "val": 0.1, "test": 0.1})
    assert {path.name for path in prepared.iterdir()} == names


def test_an_archive_gives_what_its_folder_gives(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "source"), "zip", folder))
    packed, loose = prepare(archive, root="packed"), prepare(folder, root="loose")
    pd.testing.assert_frame_equal(packed.manifest, loose.manifest)
    np.testing.assert_array_equal(packed.images, loose.images)
    left = Paths(tmp_path / "packed").scratch("prepare-ct")
    assert not left.exists()


def test_another_seed_gives_another_split_of_the_same_images(
    folder: Path, prepare: Prepare, tiny_params: RawParams
) -> None:
    first = prepare(folder, root="first").manifest
    tiny_params["seed"] = 7
    second = prepare(folder, root="second").manifest
    assert first.drop(columns="split").equals(second.drop(columns="split"))
    assert first["split"].tolist() != second["split"].tolist()


def test_too_few_patients_are_explained_with_the_data_set(folder: Path, prepare: Prepare) -> None:
    said = r"^params\.yaml: datasets\.ct: split: class '\w+' has 6 groups .* at least 10 are needed"
    with pytest.raises(UserError, match=said):
        prepare(folder, split={"train": 0.8, "val": 0.1, "test": 0.1})


def grouping_of(tmp_path: Path) -> dict[str, Any]:
    text = (Paths(tmp_path / "root").prepared("ct") / "grouping.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture
def messy(tmp_path: Path, write_picture: WritePicture) -> Path:
    """A flat folder and the table of it as people have them; 24 patients, two images each.

    Every second patient's id is written in two ways; file names differ in case and ending.
    """
    root = tmp_path / "messy"
    lines = ["Bild;Patient;Befund;Alter"]
    for patient in range(24):
        finding = "COVID-19" if patient % 2 else "Normal "
        spellings = [(f"{patient}", f"{patient}.0"), (f"P{patient} ", f"p{patient}")][patient % 2]
        for image, who in enumerate(spellings):
            write_picture(root / f"s{patient}_{image}.png", 10 * patient + image)
            name = [f"images\\S{patient}_{image}.PNG", f"s{patient}_{image}"][image]
            lines.append(f"{name};{who};{finding};{patient + 30}")
    lines += ["gone.png;5;COVID-19;1", "s99;;Normal;J\u00e4ger"]
    write_picture(root / "s99.png", 99)
    write_picture(root / "stray.png", 1000)
    (root / "readme.txt").write_text("about this set")
    (root / "m.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    return root


MESSY: RawParams = {
    "classes": {"normal": ["normal"], "covid": ["COVID-19"]},
    "table": {
        **{"path": "m.csv", "file": "Bild", "label": "Befund", "patient": "Patient"},
        **{"split": None, "fold": None},
    },
    "metadata": {"table": "m.csv", "file": "Bild", "columns": {"Alter": "number"}},
    "group": {"kind": "table", "patients_per_class": False},
    "near_duplicates": False,
}


def prepared_table(tmp_path: Path, name: str) -> pd.DataFrame:
    path = Paths(tmp_path / "root").prepared("ct") / name
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("packed", [False, True])
def test_a_messy_table_is_reconciled_and_splits_keep_its_patients_whole(
    messy: Path, prepare: Prepare, tmp_path: Path, packed: bool
) -> None:
    source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", messy)) if packed else messy
    prepared = prepare(source, **MESSY)
    manifest = prepared.manifest
    assert len(manifest) == 49  # and not stray.png, which has no row and so no class
    numbers = manifest["source_path"].str.extract(r"s(\d+)")[0].astype(int)
    labels = ["covid" if number % 2 and number < 24 else "normal" for number in numbers]
    assert manifest["label"].tolist() == labels
    assert manifest["group_id"].nunique() == 25  # 24 patients, and one image of nobody known
    assert manifest.groupby(numbers)["split"].nunique().eq(1).all()
    assert manifest.groupby("patient_id")["split"].nunique().eq(1).all()
    assert prepared.info.n_left_out == 2
    hows = prepared_table(tmp_path, "reconciliation.csv")["how"].value_counts().to_dict()
    assert hows == {
        "end of path, without case": 24,
        "path, without ending": 25,
        "file without a row": 1,
        "row without a file": 1,
        "neither a row nor the name of an image": 1,
    }
    kept = prepared_table(tmp_path, "metadata.csv")
    assert kept["image_id"].tolist() == manifest["image_id"].tolist()
    assert kept["Alter"].tolist() == [
        "" if number == 99 else f"{number + 30}.0" for number in numbers
    ]
    assert grouping_of(tmp_path)["n_images_of_known_patient"] == 48
    notes = grouping_of(tmp_path)["notes"]
    assert notes[0] == "m.csv is read as cp1252, cells separated by semicolons"
    assert any(note.startswith("12 patients are one only by case") for note in notes)
    assert notes[-2:] == [
        "metadata: 1 of 50 rows name no file, or several, such as 'gone.png'",
        "metadata: 1 cells of Alter are no number, such as 'J\u00e4ger'; they are taken as missing",
    ]


def test_more_unmatched_than_allowed_stop_the_run_and_are_listed(
    messy: Path, prepare: Prepare, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"1 of 50 files have no row.*'stray\.png'; 1 of 50 rows"):
        prepare(messy, **MESSY, max_unmatched=0.01)
    assert "stray.png" in prepared_table(tmp_path, "reconciliation.csv")["file"].tolist()


def test_given_splits_and_folds_of_a_table_are_kept_and_may_not_cut_patients(
    messy: Path, prepare: Prepare, tmp_path: Path
) -> None:
    def part(patient: int) -> str:
        return ("Training", "Training", "VALID", "VALID", "test", "test")[patient % 6]

    lines = ["f,who,y,part,k"]
    for patient in range(24):
        finding = "COVID-19" if patient % 2 else "normal"
        lines += [f"s{patient}_{i},{patient},{finding},{part(patient)},{patient % 4}" for i in "01"]
    table = {"path": "t.csv", "file": "f", "label": "y", "patient": "who", "split": "part"}
    changes = MESSY | {"table": table | {"fold": "k"}, "max_unmatched": 0.05, "metadata": None}
    (messy / "t.csv").write_text("\n".join(lines))
    manifest = prepare(messy, **changes).manifest
    numbers = manifest["source_path"].str.extract(r"s(\d+)")[0].astype(int)
    split_of = {"Training": "train", "VALID": "val", "test": "test"}
    assert manifest["split"].tolist() == [split_of[part(number)] for number in numbers]
    assert manifest["given_fold"].tolist() == [str(number % 4) for number in numbers]
    assert prepared_table(tmp_path, "metadata.csv").columns.tolist() == ["image_id"]
    lines[1] = "s0_0,0,normal,test,0"  # its other image is in Training
    lines[3] = "s1_0,1,COVID-19,Training,3"  # and here in fold 1
    (messy / "t.csv").write_text("\n".join(lines))
    said = r"2 groups .* stand in more than one of the splits or folds .*in test and train: s0_0"
    with pytest.raises(UserError, match=said):
        prepare(messy, **changes)
    leaks = grouping_of(tmp_path) and prepare(messy, **changes, allow_leakage=True).info.leakage
    assert len(leaks) == 2
    assert sorted(leak["splits"] for leak in grouping_of(tmp_path)["leaks"].values()) == [
        ["fold 1", "fold 3"],
        ["test", "train"],
    ]


def test_patients_of_two_classes_are_listed(
    folder: Path, prepare: Prepare, write_picture: WritePicture, tmp_path: Path
) -> None:
    path = Paths(tmp_path / "root").prepared("ct") / "patients_of_two_classes.csv"
    prepare(folder)
    assert not path.exists()
    write_picture(folder / "normal" / "p00_7.png", 4000)
    prepare(folder)
    table = prepared_table(tmp_path, path.name)
    assert table["source_path"].tolist() == [
        "covid/p00_0.png",
        "covid/p00_1.png",
        "normal/p00_7.png",
    ]
    assert set(table["patient_id"]) == {"p00"}
    assert grouping_of(tmp_path)["n_patients_of_two_classes"] == 1


def test_ids_that_begin_anew_in_each_class_are_noted_or_declared(
    prepare: Prepare, write_picture: WritePicture, tmp_path: Path
) -> None:
    for number, label in enumerate(("covid", "normal")):
        for patient in range(1, 11):
            write_picture(tmp_path / "anew" / label / f"{patient}.png", 100 * number + patient)
    group = by_name(r"^(\d+)")
    prepare(tmp_path / "anew", group=group)
    assert grouping_of(tmp_path)["n_groups"] == 10
    [note] = grouping_of(tmp_path)["notes"]
    assert "set group.patients_per_class: true" in note
    prepare(tmp_path / "anew", group=group | {"patients_per_class": True})
    assert (grouping_of(tmp_path)["n_groups"], grouping_of(tmp_path)["notes"]) == (20, [])


def test_a_flipped_blurred_copy_joins_the_group_of_its_picture(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    picture = Image.open(folder / "covid" / "p00_0.png")
    ImageOps.mirror(picture.filter(ImageFilter.GaussianBlur(0.5))).save(folder / "covid/copy.png")
    groups = prepare(folder).manifest.set_index("source_path")["group_id"]
    assert groups["covid/copy.png"] == groups["covid/p00_0.png"]
    found = grouping_of(tmp_path)
    assert found["pairs"] == {"bytes": 0, "pixels": 0, "near": 1}
    assert (found["n_clusters"], found["n_images_in_clusters"]) == (1, 2)
    assert found["clusters_with_two_labels"] == 0
    assert (found["n_images"], found["n_patients"], found["n_groups"]) == (25, 12, 12)
    assert found["n_images_of_known_patient"] == 24


def test_near_duplicates_are_kept_apart_where_that_is_asked_for(
    folder: Path, prepare: Prepare
) -> None:
    ImageOps.mirror(Image.open(folder / "covid" / "p00_0.png")).save(folder / "covid/copy.png")
    groups = prepare(folder, near_duplicates=False).manifest.set_index("source_path")["group_id"]
    assert groups["covid/copy.png"] != groups["covid/p00_0.png"]


def test_what_tells_copies_is_kept_where_near_duplicates_are_looked_for(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    kept = Paths(tmp_path / "root").prepared("ct") / FINGERPRINTS
    prepare(folder)
    assert kept.stat().st_size == 24 * FINGERPRINT.itemsize
    prepare(folder, near_duplicates=False)
    assert not kept.exists()


def test_the_same_picture_under_two_labels_is_counted(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    shutil.copy(folder / "covid" / "p00_0.png", folder / "normal" / "other.png")
    prepare(folder)
    assert grouping_of(tmp_path)["clusters_with_two_labels"] == 1


def test_pictures_under_two_labels_are_listed_by_name(
    folder: Path, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirrored = ImageOps.mirror(Image.open(folder / "covid" / "p00_0.png"))
    mirrored.save(folder / "normal" / "other.png")
    shutil.copy(folder / "normal" / "p11_1.png", folder / "normal" / "same.png")
    prepare(folder)
    [picture] = grouping_of(tmp_path)["two_labels"]
    assert picture == [
        {"file": "covid/p00_0.png", "label": "covid"},
        {"file": "normal/other.png", "label": "normal"},
    ]
    assert "the first: covid/p00_0.png (covid), normal/other.png (normal)" in caplog.text


def test_without_a_picture_under_two_labels_none_is_listed(
    folder: Path, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(folder)
    assert grouping_of(tmp_path)["two_labels"] == []
    assert "two labels" not in caplog.text


def suspicious_of(tmp_path: Path) -> list[list[str]]:
    folder = Paths(tmp_path / "root").prepared("ct")
    rows: list[list[str]] = read_csv(folder / "suspicious.csv", str).to_numpy().tolist()
    return rows


def test_hostile_names_come_through_to_the_manifest_and_back(
    folder: Path, prepare: Prepare, write_picture: WritePicture, tmp_path: Path
) -> None:
    names = [f"covid/{name}_{number}.png" for number, name in enumerate(HOSTILE_NAMES)]
    for number, name in enumerate(names):
        write_picture(folder / name, 1000 + number)
    bad = [f"normal/{name}_{number}.txt" for number, name in enumerate(HOSTILE_NAMES)]
    for name in bad:
        (folder / name).write_bytes(b"")
    blank = f"normal/{HOSTILE_NAMES[0]}_blank.png"
    Image.new("L", (40, 48), 77).save(folder / blank)
    prepared = prepare(
        folder,
        max_rejected=0.9,
        group={"kind": "pattern", "pattern": r"^(.+)_\d", "patients_per_class": False},
    )
    assert len(names) >= 30
    assert set(names) | {blank} <= set(prepared.manifest["source_path"])
    assert len(prepared.manifest) == len(prepared.images) == 25 + len(names)
    rejected = read_csv(Paths(tmp_path / "root").prepared("ct") / "rejected.csv", str)
    assert sorted(rejected["file"]) == sorted(bad)
    assert suspicious_of(tmp_path) == [[blank, "blank: one grey level"]]
    crop_paths = Paths(tmp_path / "root")
    manifest = load_image_set(crop_paths.prepared("ct")).manifest
    pd.testing.assert_frame_equal(manifest, prepared.manifest)


def test_patients_with_hostile_names_stay_apart(
    folder: Path, prepare: Prepare, write_picture: WritePicture
) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        for image in range(2):
            write_picture(folder / f"covid/{name}#{image}.png", 1000 + 2 * number + image)
    groups = prepare(
        folder,
        group={"kind": "pattern", "pattern": r"(?s)^(.+)[#_]\d", "patients_per_class": False},
    ).manifest
    of_patient = groups["group_id"].groupby(groups["source_path"].str.slice(0, -6)).nunique()
    nobody = {f"covid/{name}" for name in HOSTILE_NAMES if is_missing(tidy(name))}
    assert set(of_patient.index[of_patient != 1]) == nobody  # blanks, signs, NA, null
    # Blanks of all kinds at the ends or in a row, and case, make no other person.
    people = {tidy(name).casefold() for name in HOSTILE_NAMES if not is_missing(tidy(name))}
    assert groups["group_id"].nunique() == 12 + len(people) + 2 * len(nobody)


def test_odd_pictures_stay_in_the_set_and_are_listed_and_counted(
    folder: Path, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phantom = draw_phantoms("ct", patients=1, size_px=96, seed=1)[0].image
    Image.fromarray(255 - phantom).save(folder / "covid" / "p90_0.png")
    Image.new("L", (40, 48), 90).save(folder / "covid" / "p91_0.png")
    content = (folder / "covid" / "p92_0.jpg").open("wb")
    with content:
        Image.fromarray(phantom).save(content, "JPEG")
    whole = (folder / "covid" / "p92_0.jpg").read_bytes()
    (folder / "covid" / "p92_0.jpg").write_bytes(whole[:-2] + bytes(5) + whole[-2:])
    with caplog.at_level("WARNING"):
        prepared = prepare(folder)
    assert len(prepared.manifest) == 27
    assert [what.partition(":")[0] for _, what in suspicious_of(tmp_path)] == [
        "likely inverted",
        "blank",
        "decoder",
    ]
    assert prepared.info.suspicious == {"likely inverted": 1, "blank": 1, "decoder": 1}
    said = "pictures to look at (suspicious.csv): 1 likely inverted, 1 blank, 1 decoder"
    assert said in caplog.messages
    by_file = prepared.manifest.set_index("source_path")
    row = by_file.index.get_loc("covid/p90_0.png")
    assert np.median(prepared.images[row]) > 127  # not changed


def test_grey_levels_of_deep_pictures_are_a_matter_of_the_data_set(
    folder: Path, prepare: Prepare
) -> None:
    deep = np.linspace(1000, 3000, 48 * 48).astype(np.uint16).reshape(48, 48)
    deep[0, 0] = 65535  # a hot pixel
    Image.fromarray(deep).save(folder / "covid" / "p90_0.png")
    by_percentiles = prepare(folder, root="first")
    window = {"kind": "window", "low": 0, "high": 4000}
    by_window = prepare(folder, root="second", grey=window)
    row = by_window.manifest["source_path"].tolist().index("covid/p90_0.png")
    middle, others = by_percentiles.images[row, 24, 24], np.arange(25) != row
    assert abs(int(middle) - 128) <= 3
    assert by_window.images[row, 24, 24] == pytest.approx(2000 * 255 / 4000, abs=2)
    np.testing.assert_array_equal(by_percentiles.images[others], by_window.images[others])


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_one_file_that_the_system_cannot_read_is_rejected_and_the_run_goes_on(
    folder: Path,
    prepare: Prepare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    open_file = Path.open

    def fail_once(path: Path, *args: Any, **options: Any) -> IO[Any]:
        if path.name == "p00_0.png":
            raise OSError(number, os.strerror(number))
        return open_file(path, *args, **options)

    monkeypatch.setattr(Path, "open", fail_once)
    prepared = prepare(folder, max_rejected=0.05)
    assert read_rejected(tmp_path) == [
        ["covid/p00_0.png", f"cannot be read ({os.strerror(number)})"]
    ]
    assert len(prepared.manifest) == 23
    with pytest.raises(UserError, match=r"1 of 24 files cannot be read: cannot be read"):
        prepare(folder, max_rejected=0.0)


def test_files_without_end_and_links_to_nothing_are_rejected(
    folder: Path, prepare: Prepare, tmp_path: Path
) -> None:
    with (folder / "covid" / "sparse.png").open("wb") as file:
        file.truncate(2**41)
    (folder / "covid" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "covid" / "self.png").symlink_to(folder / "covid" / "self.png")
    (folder / "covid" / "zeros.png").symlink_to("/dev/zero")
    prepared = prepare(folder, max_rejected=0.2)
    assert dict(read_rejected(tmp_path)) == {
        "covid/gone.png": "a link to a file that is not there",
        "covid/self.png": "cannot be read (Too many levels of symbolic links)",
        "covid/sparse.png": "2,097,152 MiB: a picture may take 256",
    }
    assert prepared.info.n_left_out == 1  # the device
