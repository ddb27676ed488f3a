import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.sources.folder import FolderListing, folder_items
from stages.sources.item import UnreadableImage
from stages.sources.tree import MAX_DEPTH, LeftOut
from tests.sources.trees import listed, put


def paths_left_out(listing: FolderListing) -> list[str]:
    return [out.path for out in listing.left_out]


def rows(listing: FolderListing) -> list[tuple[str, str, str | None]]:
    return [(item.source_path, item.label, item.split) for item in listing.items]


def test_files_of_class_folders_become_items_of_their_class(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Covid-19/b.jpg", "Normal/c.png")
    listing = listed(tmp_path)
    assert rows(listing) == [
        ("COVID/a.png", "covid", None),
        ("Covid-19/b.jpg", "covid", None),
        ("Normal/c.png", "normal", None),
    ]
    assert listing.left_out == []
    assert {(item.patient_id, item.subgroup) for item in listing.items} == {(None, "")}


def test_an_item_reads_the_bytes_of_its_file(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    raw = listed(tmp_path).items[1].read()
    assert raw.content == b"Normal/c.png"
    assert raw.truth is None


def test_file_that_is_gone_when_read_gives_the_reason(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    item = listed(tmp_path).items[0]
    (tmp_path / "COVID/a.png").unlink()
    with pytest.raises(UnreadableImage, match=r"^gone since listed$"):
        item.read()


def test_split_folders_in_any_spelling_give_the_split(tmp_path: Path) -> None:
    for folder in ("Training", "VALID", "test"):
        put(tmp_path, f"{folder}/COVID/a.png", f"{folder}/Normal/b.png")
    assert rows(listed(tmp_path)) == [
        ("Training/COVID/a.png", "covid", "train"),
        ("Training/Normal/b.png", "normal", "train"),
        ("VALID/COVID/a.png", "covid", "val"),
        ("VALID/Normal/b.png", "normal", "val"),
        ("test/COVID/a.png", "covid", "test"),
        ("test/Normal/b.png", "normal", "test"),
    ]


@pytest.mark.parametrize("layout", ["", "train/"])
def test_wrapping_folders_are_entered_also_beside_macosx(tmp_path: Path, layout: str) -> None:
    put(tmp_path, f"set/v1.0/{layout}COVID/a.png", f"set/v1.0/{layout}Normal/b.png")
    put(tmp_path, "__MACOSX/set/._a.png", "README.txt", "set/licence.txt")
    listing = listed(tmp_path)
    assert [item.label for item in listing.items] == ["covid", "normal"]
    assert listing.items[0].source_path == f"set/v1.0/{layout}COVID/a.png"
    assert paths_left_out(listing) == ["README.txt", "__MACOSX/", "set/licence.txt"]


def test_files_at_any_depth_of_a_class_folder_become_items(tmp_path: Path) -> None:
    put(tmp_path, "COVID/P1/day 2/a.png", "COVID/b.png", "Normal/c.png")
    paths = [path for path, _, _ in rows(listed(tmp_path))]
    assert paths == ["COVID/P1/day 2/a.png", "COVID/b.png", "Normal/c.png"]


def test_files_that_are_no_images_stay_items(tmp_path: Path) -> None:
    put(tmp_path, "COVID/notes.txt", "COVID/no-suffix", "Normal/c.png")
    assert len(listed(tmp_path).items) == 3


def test_items_are_sorted_by_bytes(tmp_path: Path) -> None:
    put(
        tmp_path,
        "COVID/é.png",
        "COVID/a.png",
        "COVID/Z.png",
        "COVID/a/x.png",
        "Normal/10",
        "Normal/9",
    )
    paths = [path for path, _, _ in rows(listed(tmp_path))]
    assert paths == [
        "COVID/Z.png",
        "COVID/a.png",  # "." is 2E, "/" is 2F
        "COVID/a/x.png",
        "COVID/é.png",
        "Normal/10",
        "Normal/9",
    ]


def test_names_with_blanks_percent_signs_brackets_and_unicode_are_kept(tmp_path: Path) -> None:
    name = "COVID/肺 100% [1] {x} 'q' #é.png"
    put(tmp_path, name, "Normal/c.png")
    item = listed(tmp_path).items[0]
    assert item.source_path == name
    assert item.read().content == name.encode()


def test_droppings_of_operating_systems_are_left_out_and_listed(tmp_path: Path) -> None:
    droppings = ("COVID/.DS_Store", "COVID/._a.png", "COVID/Thumbs.db", "Normal/Desktop.ini")
    put(tmp_path, *droppings, "COVID/a.png", "Normal/c.png", ".DS_Store")
    put(tmp_path, "COVID/.ipynb_checkpoints/a-checkpoint.png", "COVID/@eaDir/a.png")
    listing = listed(tmp_path)
    assert [item.source_path for item in listing.items] == ["COVID/a.png", "Normal/c.png"]
    extra = (".DS_Store", "COVID/.ipynb_checkpoints/", "COVID/@eaDir/")
    assert paths_left_out(listing) == sorted((*droppings, *extra))
    assert {out.reason for out in listing.left_out} == {
        "hidden, or left behind by an operating system"
    }


def test_ignored_folders_are_left_out_at_any_depth_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "COVID/images/a.png", "COVID/masks/a.png", "Normal/c.png", "Other/d.png")
    listing = listed(tmp_path, "masks", "Other")
    assert [item.source_path for item in listing.items] == ["COVID/images/a.png", "Normal/c.png"]
    assert listing.left_out == [
        LeftOut("COVID/masks/", "ignored by 'masks'", 1),
        LeftOut("Other/", "ignored by 'Other'", 1),
    ]


def test_ignored_folder_does_not_hinder_a_wrapping_folder(tmp_path: Path) -> None:
    put(tmp_path, "set/COVID/a.png", "set/Normal/b.png", "papers/x.pdf")
    assert len(listed(tmp_path, "papers").items) == 2


def test_folder_of_no_class_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/b.png", "Viral Pneumonia/c.png")
    message = (
        r"folder 'Viral Pneumonia' belongs to no class; classes take 'COVID', 'Covid-19', "
        r"'Normal'; ignored are 'Old'; add it to a class or to ignore"
    )
    with pytest.raises(UserError, match=message):
        listed(tmp_path, "Old")


def test_class_folders_have_to_be_spelt_as_in_the_parameters(tmp_path: Path) -> None:
    put(tmp_path, "covid/a.png", "Normal/b.png")
    with pytest.raises(UserError, match="folder 'covid' belongs to no class"):
        listed(tmp_path)


def test_class_without_any_of_its_folders_is_named_with_what_was_found(tmp_path: Path) -> None:
    put(tmp_path, "Normal/b.png")
    message = r"class 'covid' has no folder here; it takes 'COVID', 'Covid-19'; found 'Normal'"
    with pytest.raises(UserError, match=message):
        listed(tmp_path)


def test_split_that_lacks_a_class_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train/COVID/a.png", "train/Normal/b.png", "val/COVID/c.png")
    with pytest.raises(UserError, match=r"val: class 'normal' has no folder here"):
        listed(tmp_path)


def test_split_folder_beside_class_folders_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/b.png", "Test/COVID/c.png")
    with pytest.raises(UserError, match="split folder 'Test' beside class folders"):
        listed(tmp_path)


def test_unknown_folder_beside_split_folders_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/COVID/a.png", "train/Normal/b.png", "extra/COVID/c.png")
    with pytest.raises(UserError, match="folder 'extra' beside split folders is neither train"):
        listed(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for folder in ("train", "training"):
        put(tmp_path, f"{folder}/COVID/a.png", f"{folder}/Normal/b.png")
    with pytest.raises(UserError, match="folders 'train' and 'training' are both the train split"):
        listed(tmp_path)


@pytest.mark.parametrize("dropping", [None, "COVID/.DS_Store"])
def test_class_folder_without_any_file_is_refused(tmp_path: Path, dropping: str | None) -> None:
    put(tmp_path, "Covid-19/a.png", "Normal/b.png", *([dropping] if dropping else []))
    (tmp_path / "COVID").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="COVID: class folder without any file"):
        listed(tmp_path)


def test_root_without_class_or_split_folders_lists_what_was_found(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "labels/b.csv")
    message = r"no class folder and no train, val or test folder; found 'images', 'labels'"
    with pytest.raises(UserError, match=message):
        listed(tmp_path)


def test_empty_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no class folder and no train, .* found none"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("classes", "ignore"),
    [
        ({"covid": ["COVID"], "normal": ["Normal", "COVID"]}, []),
        ({"covid": ["COVID"], "normal": ["Normal"]}, ["COVID"]),
    ],
)
def test_folder_that_is_named_twice_is_refused(
    tmp_path: Path, classes: dict[str, list[str]], ignore: list[str]
) -> None:
    put(tmp_path, "COVID/a.png", "Normal/b.png")
    with pytest.raises(UserError, match="folder 'COVID' is named in more than one of them"):
        folder_items(tmp_path, classes=classes, ignore=ignore)


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "store/1.png", "store/more/2.png", "set/Normal/c.png", "set/COVID/a.png")
    (tmp_path / "set/COVID/1.png").symlink_to(tmp_path / "store/1.png")
    (tmp_path / "set/COVID/more").symlink_to(tmp_path / "store/more")
    listing = listed(tmp_path / "set")
    assert [item.source_path for item in listing.items if item.label == "covid"] == [
        "COVID/1.png",
        "COVID/a.png",
        "COVID/more/2.png",
    ]
    assert listing.items[0].read().content == b"store/1.png"


def test_link_to_a_folder_above_is_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "COVID/P1/a.png", "Normal/c.png")
    (tmp_path / "COVID/P1/back").symlink_to(tmp_path / "COVID")
    listing = listed(tmp_path)
    assert [item.source_path for item in listing.items] == ["COVID/P1/a.png", "Normal/c.png"]
    assert listing.left_out == [LeftOut("COVID/P1/back/", "a link back to a folder around it", 0)]


def test_wrapping_folder_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").symlink_to(tmp_path)
    with pytest.raises(UserError, match="no class folder and no train, val or test folder"):
        listed(tmp_path)


@pytest.mark.parametrize("target", ["gone.png", "link.png"])
def test_link_to_nothing_or_to_itself_is_an_item_that_cannot_be_read(
    tmp_path: Path, target: str
) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    (tmp_path / "COVID/link.png").symlink_to(tmp_path / "COVID" / target)
    item = listed(tmp_path).items[1]
    assert item.source_path == "COVID/link.png"
    with pytest.raises(UnreadableImage, match=r"link to a file that is not there|Too many"):
        item.read()


def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    os.mkfifo(tmp_path / "COVID/pipe")
    (tmp_path / "COVID/zeros.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "COVID/socket"))  # 108 bytes of path at most
    assert listed(tmp_path).left_out == [
        LeftOut(f"COVID/{name}", "neither a file nor a folder", 1)
        for name in ("pipe", "socket", "zeros.png")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not make such names")
def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png")
    with open(os.fsencode(tmp_path / "COVID") + b"/\xff.png", "w"):
        pass
    with pytest.raises(UserError, match=r"COVID: name b'\\xff\.png' is not UTF-8; rename it"):
        listed(tmp_path)


def test_a_file_left_out_counts_one_and_a_folder_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png", "notes.txt")
    put(tmp_path, *(f"old/{number}/x.png" for number in range(4)), "old/y.png")
    assert listed(tmp_path, "old").left_out == [
        LeftOut("notes.txt", "outside the class folders", 1),
        LeftOut("old/", "ignored by 'old'", 5),
    ]


def test_folders_deeper_than_anyone_needs_are_refused_in_a_line(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "Normal/c.png", "COVID/" + "d/" * (MAX_DEPTH - 1) + "x.png")
    assert len(listed(tmp_path).items) == 3
    put(tmp_path, "COVID/" + "d/" * MAX_DEPTH + "x.png")
    with pytest.raises(UserError, match=rf"COVID: folders .* more than {MAX_DEPTH} deep, at 'COV"):
        listed(tmp_path)
    assert listed(tmp_path, "COVID/d").left_out == [LeftOut("COVID/d/", "ignored by 'COVID/d'", 2)]


# ---- names ------------------------------------------------------------------------------------

NFC, NFD = "Pat\u00e9", "Pate\u0301"


@pytest.mark.parametrize(("on_disk", "named"), [(NFC, NFD), (NFD, NFC)])
def test_forms_of_unicode_are_one_name(tmp_path: Path, on_disk: str, named: str) -> None:
    put(tmp_path, f"{on_disk}/a.png", "Normal/c.png")
    listing = folder_items(tmp_path, classes={"a": [named], "b": ["Normal"]}, ignore=[])
    item = next(item for item in listing.items if item.label == "a")
    assert item.source_path == f"{on_disk}/a.png"  # as it is on the disk
    assert item.read().content == item.source_path.encode()
    ignored = folder_items(
        put(tmp_path, f"Normal/{on_disk}/x.png"),
        classes={"a": [named], "b": ["Normal"]},
        ignore=[f"Normal/{named}"],
    )
    assert paths_left_out(ignored) == [f"Normal/{on_disk}/"]


def test_two_folders_that_are_one_name_in_two_forms_are_refused(tmp_path: Path) -> None:
    put(tmp_path, f"{NFC}/a.png", f"{NFD}/a.png", "Normal/c.png")
    if len(list(tmp_path.iterdir())) == 2:
        pytest.skip("this file system has one form")
    with pytest.raises(UserError, match=r"'Pate\\u0301' and 'Pat\\xe9' have the same name in two"):
        folder_items(tmp_path, classes={"a": [NFC], "b": ["Normal"]}, ignore=[])


def test_a_name_in_two_forms_within_two_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is named in more than one of them"):
        folder_items(tmp_path, classes={"a": [NFC], "b": [NFD]}, ignore=[])


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("covid", r"'covid' belongs to no class \(did you mean 'COVID'\? 'covid' differs in case"),
        ("COVID ", r"'COVID ' belongs to no class \(did you mean 'COVID'\? 'COVID ' differs"),
        ("COVID\u200b", r"did you mean 'COVID'\? 'COVID\\u200b' \('COVID\\u200b'\) differs in"),
        ("Covid_19", r"'Covid_19' belongs to no class \(did you mean 'Covid-19'\?"),
        ("\u0421OVID", r"\(did you mean 'COVID'\? The folder is '\\u0421OVID'\)"),  # Cyrillic
        ("Normall", r"'Normall' belongs to no class \(did you mean 'Normal'\?\); classes take"),
    ],
)
def test_a_name_that_is_nearly_one_of_a_class_is_compared_with_it(
    tmp_path: Path, folder: str, said: str
) -> None:
    put(tmp_path, "COVID/b.png", "Normal/c.png", f"{folder}/a.png")
    with pytest.raises(UserError, match=said):
        listed(tmp_path)
    shutil.rmtree(tmp_path / "COVID")
    shutil.rmtree(tmp_path / "Normal")
    put(tmp_path, "other/d.png")
    with pytest.raises(UserError, match=r"no class folder and no train.*did you mean"):
        listed(tmp_path)


def test_a_folder_of_another_class_below_a_class_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.png", "COVID/COVID/b.png", "COVID/x/Normal/b.png", "Normal/c.png")
    with pytest.raises(UserError, match=r"COVID/x/Normal: folder of class 'normal' below a folder"):
        listed(tmp_path)
    assert len(listed(tmp_path, "x").items) == 3
    assert len(listed(tmp_path, "!x/Normal").items) == 4


# ---- splits in folders of their own below a wrapper --------------------------------------------


def test_split_folders_may_wrap_their_class_folders_once_more(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path, f"{split}/images/COVID/a.png", f"{split}/images/Normal/b.png")
        put(tmp_path, f"{split}/masks/COVID/a.png", f"{split}/masks/Normal/b.png")
    listing = listed(tmp_path, "masks")
    assert [split for _, _, split in rows(listing)] == ["test", "test", "train", "train"]


def test_a_split_within_another_split_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/test/COVID/a.png", "train/test/Normal/b.png")
    with pytest.raises(UserError, match=r"train/test: lies in the split 'train'"):
        listed(tmp_path)
