"""Masks and boxes find their images, whatever of their names differs, and each says what came."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.config.errors import UserError
from stages.config.params import FilesTruth
from stages.sources.item import ImageTruth, RawImage, RelativeBox, SourceItem
from stages.sources.truth_files import (
    FoundTruth,
    TruthLine,
    find_truth,
    require_truth_matched,
    with_outcomes,
)

IMAGES = ("covid/a.jpg", "covid/b.png", "normal/c.png", "normal/d.d.png")
HEADER = "file,finding,x0,y0,x1,y1\n"


def item(path: str) -> SourceItem:
    return SourceItem(path, path.split("/")[0], None, None, "", lambda: RawImage(b""))


def truth_of(root: Path, **changes: Any) -> FilesTruth:
    fields = {"lungs": None, "lung_values": [], "boxes": None, "findings": [], "max_unmatched": 0}
    return FilesTruth.model_validate({"kind": "files", "path": str(root)} | fields | changes)


def put_masks(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(root / name)


def found_masks(root: Path, *masks: str, images: tuple[str, ...] = IMAGES) -> FoundTruth:
    put_masks(root / "m", *masks)
    return find_truth([item(path) for path in images], truth_of(root, lungs="m"))


def found_boxes(root: Path, rows: str, **changes: Any) -> FoundTruth:
    (root / "b.csv").write_text(HEADER + rows)
    truth = truth_of(root, boxes="b.csv", **changes)
    return find_truth([item(path) for path in IMAGES], truth)


def known_of(found: FoundTruth) -> dict[str, ImageTruth]:
    return {i.source_path: i.truth for i in found.items if i.truth is not None}


@pytest.mark.parametrize(
    ("mask", "image", "how"),
    [
        ("covid/b.png", "covid/b.png", "path"),
        ("b.png", "covid/b.png", "name"),
        ("a.png", "covid/a.jpg", "name, other ending"),
        ("d.d.png", "normal/d.d.png", "name"),
        ("B_mask.PNG", "covid/b.png", "name, without case, suffix left out"),
        ("normal/c-lung-mask.png", "normal/c.png", "path, suffix left out"),
        ("masks/c.png", "normal/c.png", "name in another folder"),
    ],
)
def test_a_mask_is_found_by_path_name_or_name_without_its_suffix(
    tmp_path: Path, mask: str, image: str, how: str
) -> None:
    found = found_masks(tmp_path, mask)
    assert found.lines == [TruthLine("mask", f"m/{mask}", "", image, how)]
    assert known_of(found)[image].lung_masks == (tmp_path / "m" / mask,)
    assert sum(len(known.lung_masks) for known in known_of(found).values()) == 1


def test_masks_beside_the_images_of_each_class_are_of_these(tmp_path: Path) -> None:
    put_masks(tmp_path, "covid/masks/1.png", "covid/masks/2.png", "normal/masks/1.png")
    put_masks(tmp_path, "normal/masks/masks/3.png", "other/1.png")
    images = (
        "covid/images/1.png",
        "covid/images/2.png",
        "normal/images/1.png",
        "normal/images/3.png",
    )
    found = find_truth([item(path) for path in images], truth_of(tmp_path, lungs="*/masks"))
    assert {line.file: line.image for line in found.lines} == {
        "covid/masks/1.png": "covid/images/1.png",
        "covid/masks/2.png": "covid/images/2.png",
        "normal/masks/1.png": "normal/images/1.png",
        "normal/masks/masks/3.png": "normal/images/3.png",
    }
    masks = known_of(found)["covid/images/2.png"].lung_masks
    assert masks == (tmp_path / "covid/masks/2.png",)


def test_masks_of_a_pattern_may_lie_apart_from_the_images(tmp_path: Path) -> None:
    put_masks(tmp_path, "left/a.png", "right/b.png")
    found = find_truth([item(path) for path in IMAGES], truth_of(tmp_path, lungs="*"))
    assert [line.image for line in found.lines] == ["covid/a.jpg", "covid/b.png"]


@pytest.mark.parametrize("pattern", ["*/nowhere", "**nowhere", "[", "***"])
def test_a_pattern_that_fits_no_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    put_masks(tmp_path, "m/a.png")
    with pytest.raises(UserError, match=r"truth\.lungs: got .*: there is no such folder in"):
        find_truth([item("covid/a.png")], truth_of(tmp_path, lungs=pattern))


def test_masks_of_both_lungs_are_of_one_image(tmp_path: Path) -> None:
    found = found_masks(tmp_path, "left/c.png", "right/c.png")
    assert [path.parent.name for path in known_of(found)["normal/c.png"].lung_masks] == [
        "left",
        "right",
    ]


def test_a_mask_that_fits_two_images_or_none_is_of_none(tmp_path: Path) -> None:
    found = found_masks(tmp_path, "x.png", "zz.png", images=("covid/x.png", "normal/x.png"))
    assert [line.how for line in found.lines] == ["fits several images", "fits no image"]
    assert all(not known.lung_masks for known in known_of(found).values())


def test_a_mask_elsewhere_is_not_added_to_an_image_that_has_one_by_its_path(
    tmp_path: Path,
) -> None:
    found = found_masks(tmp_path, "covid/b.png", "other/b.png")
    assert [line.how for line in found.lines] == ["path", "fits no image"]


def test_hidden_files_and_other_files_are_no_masks(tmp_path: Path) -> None:
    put_masks(tmp_path / "m", ".b.png", "__MACOSX/.x.png")
    (tmp_path / "m" / "readme.txt").write_text("masks")
    with pytest.raises(UserError, match=r"truth\.lungs: there is no picture in"):
        find_truth([item("covid/b.png")], truth_of(tmp_path, lungs="m"))


def test_boxes_of_one_image_are_kept_and_rows_without_one_are_said(tmp_path: Path) -> None:
    rows = "covid/a.jpg,Mass,0.1,0.2,0.3,0.4\na,Effusion,0,0,1,1\nb.png,none,,,,\nq,Mass,0,0,1,1\n"
    found = found_boxes(tmp_path, rows)
    boxes = known_of(found)["covid/a.jpg"].boxes
    assert boxes == (RelativeBox(0.1, 0.2, 0.3, 0.4), RelativeBox(0, 0, 1, 1))
    assert known_of(found)["covid/b.png"].boxes == ()
    told = [(line.row, line.how) for line in found.lines]
    assert told[0] == ("2", "path")
    assert told[2:] == [("4", "row without a box"), ("5", "fits no image")]


def test_findings_that_are_not_asked_for_have_no_boxes(tmp_path: Path) -> None:
    rows = "a.jpg,Mass,0.1,0.2,0.3,0.4\na.jpg,Effusion,0,0,1,1\n"
    found = found_boxes(tmp_path, rows, findings=["Mass"])
    assert known_of(found)["covid/a.jpg"].boxes == (RelativeBox(0.1, 0.2, 0.3, 0.4),)
    assert found.lines[1].how == "finding not asked for"
    require_truth_matched(found.lines, 0, listed_in="")


def test_an_unknown_finding_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got 'Mas' \(did you mean 'Mass'\?\).* has: Mass, Nodule"):
        found_boxes(tmp_path, "a,Nodule,0,0,1,1\na,Mass,0,0,1,1\n", findings=["Mas"])


@pytest.mark.parametrize(
    "edges", ["0.5,0,0.2,1", "0,0,100,120", "0,0,0,1", "-0.2,0,1,1", "nan1,0,1,1", "0,,1,1"]
)
def test_what_is_no_box_in_shares_stops_with_its_row(tmp_path: Path, edges: str) -> None:
    with pytest.raises(UserError, match=r"truth\.boxes: 'b\.csv', row 3: got "):
        found_boxes(tmp_path, f"a,Mass,0,0,1,1\na,Mass,{edges}\n")


def test_a_box_that_rounding_left_just_outside_is_cut_to_the_picture(tmp_path: Path) -> None:
    found = found_boxes(tmp_path, "a,Mass,-0.001,0,1.002,1\n")
    assert known_of(found)["covid/a.jpg"].boxes == (RelativeBox(0, 0, 1, 1),)


def test_a_folder_or_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"truth\.path: got '.*gone': there is no such folder"):
        find_truth([], truth_of(tmp_path / "gone", lungs="m"))
    with pytest.raises(UserError, match=r"truth\.lungs: got 'm': there is no such folder in"):
        find_truth([], truth_of(tmp_path, lungs="m"))
    with pytest.raises(UserError, match=r"truth\.boxes: 'b\.csv': there is no such file in"):
        find_truth([], truth_of(tmp_path, boxes="b.csv"))
    with pytest.raises(UserError, match=r"allowed: a path inside truth\.path"):
        find_truth([], truth_of(tmp_path, boxes="../b.csv"))


def lines_of(**counts: int) -> list[TruthLine]:
    hows = {"path": "path", "lost": "fits no image", "no_box": "row without a box"}
    return [
        TruthLine("box", "b.csv", str(n), "", hows[how])
        for how, count in counts.items()
        for n in range(count)
    ]


def test_more_of_no_use_than_allowed_stops_and_what_is_not_asked_for_does_not_count() -> None:
    require_truth_matched(lines_of(path=9, lost=1, no_box=50), 0.1, listed_in="")
    with pytest.raises(UserError, match=r"2 of 10 boxes: 'b\.csv', row 0 fits no image; .* 0\.1 "):
        require_truth_matched(lines_of(path=8, lost=2, no_box=50), 0.1, listed_in="")


def test_truth_that_fits_nothing_at_all_stops_whatever_is_allowed() -> None:
    with pytest.raises(UserError, match="3 of 3 boxes"):
        require_truth_matched(lines_of(lost=3), 1, listed_in="; see x")


def test_masks_that_cannot_be_used_and_images_that_were_rejected_are_told_afterwards() -> None:
    lines = [TruthLine("mask", f"m/{n}.png", "", f"c/{n}.png", "name") for n in "abc"]
    told = with_outcomes(lines, {"/t/m/a.png": "shows no lung"}, ["c/b.png"], "/t")
    assert [(line.how, line.note) for line in told] == [
        ("cannot be used", "shows no lung"),
        ("its image was rejected", ""),
        ("name", ""),
    ]
