"""Trees as public sets have them: which are patients, which are kinds of pictures."""

from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.sources.companions import CompanionsFound
from tests.sources.trees import listed, paths, put

COUNTED = ("1.png", "2.png", "3.png")


def tree(root: Path, *folders: str, files: tuple[str, ...] = COUNTED) -> Path:
    """The files in each of the folders."""
    return put(root, *(f"{folder}/{file}" for folder in folders for file in files))


def each(*names: str) -> list[str]:
    """The folders below both class folders."""
    return [f"{label}/{name}" for label in ("COVID", "Normal") for name in names]


# ---- what is refused ---------------------------------------------------------------------------

KINDS = [
    "masks",
    "mask",
    "Masks",
    "lung masks",
    "LungMasks",
    "lung_mask",
    "masks_png",
    "infection masks",
    "segmentations",
    "Segmentation",
    "annotations",
    "labels",
    "overlays",
    "heatmaps",
    "Grad-CAM",
    "ground truth",
    "GT",
    "bounding boxes",
    "ROI",
    "thumbnails",
    "augmented",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["COVID/{}", "COVID/P1/{}", "COVID/set/{}/P1"])
def test_folders_that_are_no_pictures_by_name_are_refused(
    tmp_path: Path, kind: str, place: str
) -> None:
    tree(tmp_path, place.format("images"), "Normal/P2", place.format(kind), files=("x.png",))
    example = place.format(kind).partition(kind)[0] + kind
    said = (
        rf"^{tmp_path}: folders below class folders are by their names no pictures of a class: "
        rf"'{kind}' \(1 files, such as '{example}/'\); add those that do not show the class to "
        rf"ignore, such as '{kind}', and those that do with a '!', such as '!{kind}'$"
    )
    with pytest.raises(UserError, match=said):
        listed(tmp_path)
    assert len(paths(tmp_path, kind)) == 2
    assert len(paths(tmp_path, f"!{kind}", "!images")) == 3


def test_kinds_are_counted_over_all_classes(tmp_path: Path) -> None:
    tree(tmp_path, *each("images", "masks"))
    with pytest.raises(UserError, match=r"'masks' \(6 files, such as 'COVID/masks/'\); add"):
        listed(tmp_path)
    assert paths(tmp_path, "masks") == [
        f"{folder}/{n}.png" for folder in each("images") for n in (1, 2, 3)
    ]


def test_a_class_folder_that_has_masks_alone_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "COVID/masks", "Normal")
    with pytest.raises(UserError, match="no pictures of a class: 'masks'"):
        listed(tmp_path)


def test_masks_beside_loose_pictures_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "COVID", "COVID/masks", "Normal")
    with pytest.raises(UserError, match="no pictures of a class: 'masks'"):
        listed(tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        ("COVID/raw", "COVID/enhanced", "Normal"),  # names that no list has
        ("COVID/P1/raw", "COVID/P1/enhanced", "Normal"),
        ("COVID/raw/P1", "COVID/enhanced/P1", "Normal"),
    ],
)
def test_folders_of_words_with_files_of_the_same_names_are_refused(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    tree(tmp_path, *folders)
    said = (
        r"folders below class folders hold files of the same names: 'enhanced' \(3 files, such as "
        r"'COVID/(P1/)?enhanced/'\), 'raw' \(3 files, .*\); add those that do not show"
    )
    with pytest.raises(UserError, match=said):
        listed(tmp_path)
    assert len(paths(tmp_path, "enhanced")) == 6
    assert len(paths(tmp_path, "!enhanced", "!raw")) == 9


def test_other_endings_or_a_word_more_do_not_hide_files_of_the_same_names(tmp_path: Path) -> None:
    put(tmp_path, *(f"COVID/raw/c{n}.jpg" for n in range(4)), "Normal/x.png")
    put(tmp_path, *(f"COVID/lungs/c{n}_lung.png" for n in range(4)))
    with pytest.raises(UserError, match="files of the same names: 'lungs'"):
        listed(tmp_path)


def test_half_of_the_files_with_a_namesake_are_enough_and_fewer_are_not(tmp_path: Path) -> None:
    put(tmp_path, *(f"COVID/raw/a{n}.png" for n in range(6)), "Normal/x.png")
    put(tmp_path, *(f"COVID/left/a{n}.png" for n in (5, 6, 7)))
    assert len(paths(tmp_path)) == 10  # one of three
    put(tmp_path, "COVID/left/a4.png")
    with pytest.raises(UserError, match="files of the same names: 'left'"):
        listed(tmp_path)  # two of four


def test_a_folder_with_the_names_of_the_files_beside_it_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "COVID", "COVID/enhanced", "Normal")
    with pytest.raises(UserError, match="files of the same names: 'enhanced'"):
        listed(tmp_path)


def test_numbers_in_folder_names_do_not_hide_names_that_are_no_count(tmp_path: Path) -> None:
    uuids = ("0b4e-9.png", "77af-c.png", "e1d0-f.png", "9c9-a.png")
    tree(tmp_path, *each("256px", "512px"), files=uuids)
    with pytest.raises(UserError, match=r"files of the same names: '256px' \(8 files"):
        listed(tmp_path)


def test_folders_of_words_that_lie_in_every_class_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/AP/1.png", "COVID/PA/2.png", "Normal/ap/3.png", "Normal/PA/4.png")
    with pytest.raises(UserError, match=r"lie in every class: 'AP' \(1 files.*'PA'.*'ap'"):
        listed(tmp_path)
    assert len(paths(tmp_path, "!AP", "!PA", "!ap")) == 4
    assert len(paths(tmp_path, "!*")) == 4
    assert len(paths(tmp_path, "PA")) == 2


def test_keeping_everything_keeps_no_masks(tmp_path: Path) -> None:
    put(tmp_path, *each("AP/1.png", "PA/2.png", "masks/3.png"))
    with pytest.raises(UserError, match="no pictures of a class: 'masks'"):
        listed(tmp_path, "!*")
    assert len(paths(tmp_path, "!*", "masks")) == 4


# ---- what is let through -----------------------------------------------------------------------

PATIENTS = {
    "numbered patients": ["COVID/patient01", "COVID/patient02", "Normal/patient03"],
    "numbering that restarts": each("patient01", "patient02"),
    "bare numbers": each("1", "2", "3"),
    "words and numbers": ["COVID/A1", "COVID/B7", "Normal/C2"],
    "dates": ["COVID/P1/2020-01-01", "COVID/P1/2020-02-01", "Normal/P2/2020-01-01"],
    "series": ["COVID/P1/S1", "COVID/P1/S2", "COVID/P2/S1", "Normal/P3/S1", "Normal/P3/S2"],
    "unique identifiers": ["COVID/1.2.840.113", "COVID/1.2.840.114", "Normal/1.2.840.9"],
    "many by name": [f"COVID/{name}" for name in "ant bee cat dog elk fox gnu hen ibis".split()]
    + ["Normal/jay"],
    "images alone": each("images"),
    "images below a wrapper": each("v1/images"),
    "patients below images": each("images/P1", "images/P2"),
    "kinds of pneumonia": ["COVID", "Normal/left/x", "Normal/x"],
    "one role per file": ["COVID/P1", "COVID/P2", "Normal/P3"],
    "one class in folders": ["COVID/images", "Normal"],
}


@pytest.mark.parametrize("folders", PATIENTS.values(), ids=PATIENTS.keys())
def test_patients_and_studies_of_any_depth_are_pictures_of_the_class(
    tmp_path: Path, folders: list[str]
) -> None:
    roles = folders == PATIENTS["one role per file"]
    tree(tmp_path, *folders, files=("front.png", "side.png", "x1.png") if roles else COUNTED)
    if folders == PATIENTS["kinds of pneumonia"]:
        put(tmp_path, "Normal/bacterial/a.png", "Normal/viral/b.png")
    found = paths(tmp_path)
    assert len(found) == 3 * len(folders) + 2 * (folders == PATIENTS["kinds of pneumonia"])


def test_series_counted_twice_are_no_kinds(tmp_path: Path) -> None:
    files = ("IM-0001-0001.dcm", "IM-0001-0002.dcm", "IM-0002-0001.dcm")
    tree(tmp_path, *each("P1", "P2"), files=files)
    assert len(paths(tmp_path)) == 12


# ---- files -------------------------------------------------------------------------------------

FILES = [
    (("a.png", "a_mask.png"), "*_mask.*", 1),
    (("a.png", "b.png", "a-Mask.png", "b-Mask.png"), "*-Mask.*", 2),
    (("img.png", "mask.png"), "mask.*", 1),
    (("image.png", "label.png"), "label.*", 1),
    (("a.png", "a_seg_2.png", "b_seg.png"), "*_seg_*", 1),
    (("a.png", "mask_a.png"), "mask_*", 1),
    (("a_1.png", "a_mask_1.png"), "*_mask_*", 1),
    (("a.png", "aMask.png"), "*Mask.*", 1),
    (("a.png", "a_seg.png"), "*_seg.*", 1),
    (("a_ct.png", "a_seg.png"), "*_seg.*", 1),
    (("1.png", "label_1.png"), "label_*", 1),
    (("a.jpg", "a_segmentation.png"), "*_segmentation.*", 1),
    (("a_overlay.png", "b.png"), "*_overlay.*", 1),
]


@pytest.mark.parametrize(("files", "pattern", "count"), FILES)
def test_files_that_are_no_pictures_by_name_are_refused(
    tmp_path: Path, files: tuple[str, ...], pattern: str, count: int
) -> None:
    tree(tmp_path, "COVID/P1", files=files)
    put(tmp_path, "Normal/x.png")
    said = rf"files below class folders .* no pictures of a class: '(.*)' \({count} files, such as"
    with pytest.raises(UserError, match=said) as caught:
        listed(tmp_path)
    assert f"such as '{pattern}', and those that do with a '!', such as '!{pattern}'" in str(
        caught.value
    )
    assert len(paths(tmp_path, pattern)) == len(files) - count + 1
    assert len(paths(tmp_path, f"!{pattern}")) == len(files) + 1


def test_files_called_like_one_beside_them_and_a_word_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"COVID/{n}.png" for n in range(4)), "Normal/x.png")
    put(tmp_path, "COVID/0_lung.png")
    assert len(paths(tmp_path)) == 6  # one of four: a name as any other
    put(tmp_path, "COVID/1_lung.png")
    with pytest.raises(
        UserError, match=r"but for a last word: '\*_lung\.\*' \(2 files, such as 'COV"
    ):
        listed(tmp_path)
    assert len(paths(tmp_path, "*_lung.*")) == 5
    assert len(paths(tmp_path, "!*_lung.*")) == 7


def test_pairs_of_files_with_other_last_words_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"COVID/{n}_{word}.png" for n in range(3) for word in ("ct", "lung")))
    put(tmp_path, "Normal/x.png")
    with pytest.raises(UserError, match=r"last word: '\*_ct\.\*' \(3 .*'\*_lung\.\*' \(3 files"):
        listed(tmp_path)
    assert len(paths(tmp_path, "*_lung.*")) == 4
    assert len(paths(tmp_path, "!*_lung.*", "!*_ct.*")) == 7


def test_the_picture_s_own_folder_is_not_the_one_advised_to_be_ignored(tmp_path: Path) -> None:
    tree(tmp_path, *each("images", "lungs"))
    with pytest.raises(UserError, match=r"to ignore, such as 'lungs', and those that do with a"):
        listed(tmp_path)


def test_files_that_are_there_with_two_endings_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "COVID/a.jpg", "COVID/b.jpg", "COVID/c.jpg", "COVID/a.png", "Normal/x.png")
    assert len(paths(tmp_path)) == 5  # one of three
    put(tmp_path, "COVID/b.png")
    with pytest.raises(UserError, match=r"but for their endings: '\*\.jpg' \(2 .* '\*\.png' \(2 f"):
        listed(tmp_path)
    assert len(paths(tmp_path, "*.png", "!x.png")) == 4
    assert len(paths(tmp_path, "!*.png")) == 6


NAMES = [
    ("p00_0.png", "p00_1.png", "p01_0.png"),
    ("Covid (1).png", "Covid (2).png"),
    ("1-s2.0-S01-gr2_lrg-a.jpg", "1-s2.0-S01-gr2_lrg-b.jpg", "1-s2.0-S01-gr2_lrg.jpg"),
    ("gt200.png", "x_seg.png", "b.png"),  # words that tell less, without a picture
    ("a.png", "a.json", "b.png", "b.json"),  # no picture: reading tells
    ("1.2.840.1", "1.2.840.2", "1.2.840.3"),
    ("kasko.png", "masking tape.png", "a.tar.gz"),
]


@pytest.mark.parametrize("files", NAMES)
def test_other_names_of_files_are_let_through(tmp_path: Path, files: tuple[str, ...]) -> None:
    tree(tmp_path, "COVID", files=files)
    put(tmp_path, "Normal/x.png")
    assert len(paths(tmp_path)) == len(files) + 1


# ---- what others are told ----------------------------------------------------------------------


def test_the_refusal_says_what_ignore_would_take(tmp_path: Path) -> None:
    tree(tmp_path, *each("images", "masks"))
    with pytest.raises(CompanionsFound) as named:
        listed(tmp_path)
    assert (named.value.entries, named.value.folders, named.value.named) == (("masks",), True, True)


def test_what_is_only_suspected_is_told_from_what_is_named(tmp_path: Path) -> None:
    tree(tmp_path, *each("front", "side"))
    with pytest.raises(CompanionsFound) as suspected:
        listed(tmp_path)
    assert suspected.value.entries == ("front", "side")
    assert not suspected.value.named
