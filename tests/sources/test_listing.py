import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Dataset
from stages.sources.item import SourceItem
from stages.sources.listing import Listing, describe_source, open_source, require_source
from stages.sources.tree import LeftOut

RawParams = dict[str, Any]
WritePicture = Callable[[Path, int], Path]
NO_COHORT = {"cohort": None}


@pytest.fixture
def folder(tmp_path: Path, write_picture: WritePicture) -> Path:
    """A picture of each class, and a file that belongs to none."""
    for number, label in enumerate(("covid", "normal")):
        write_picture(tmp_path / "source" / label / f"p{number}_0.png", number)
    (tmp_path / "source" / "readme.txt").write_text("two pictures")
    return tmp_path / "source"


@pytest.fixture
def dataset_of(tiny_params: RawParams) -> Callable[..., Dataset]:
    """The data set of the small parameters with another source."""

    def change(kind: str, path: object, **changes: object) -> Dataset:
        source = {"kind": kind, "path": str(path)}
        tiny_params["datasets"]["ct"] |= {"source": source, **changes}
        return parse_params(tiny_params).dataset("ct")

    return change


def listed(dataset: Dataset, scratch: Path) -> Listing:
    with open_source(dataset, seed=5, scratch=scratch) as listing:
        return listing


def phantoms(dataset: Dataset) -> list[SourceItem]:
    return listed(dataset, Path("nowhere")).items


def test_phantoms_are_listed_by_class_patient_and_number(
    dataset_of: Callable[..., Dataset],
) -> None:
    items = phantoms(dataset_of("phantom", "stages/phantoms"))
    assert len(items) == len({item.source_path for item in items}) == 64
    assert [item.source_path for item in items[:3]] == [
        "covid/p0000-00.png",
        "covid/p0000-01.png",
        "covid/p0002-00.png",
    ]
    assert {item.split for item in items} == {None}
    assert {(item.label, item.patient_id) for item in items[:4]} == {
        ("covid", "p0000"),
        ("covid", "p0002"),
    }


def test_the_subgroup_of_a_phantom_is_whether_it_has_a_marker(
    dataset_of: Callable[..., Dataset], tiny_params: RawParams
) -> None:
    tiny_params["datasets"]["ct"]["cohort"]["marker_share"] = {"covid": 1.0, "normal": 0.0}
    items = phantoms(dataset_of("phantom", "stages/phantoms"))
    assert {(item.label, item.subgroup) for item in items} == {
        ("covid", "marker"),
        ("normal", "no-marker"),
    }


def test_a_phantom_is_drawn_with_its_truth_when_it_is_read(
    dataset_of: Callable[..., Dataset],
) -> None:
    raw = phantoms(dataset_of("phantom", "stages/phantoms"))[0].read()
    assert raw.content.startswith(b"\x89PNG")
    assert raw.truth is not None
    assert raw.truth.any()


def test_phantoms_without_a_cohort_are_refused(dataset_of: Callable[..., Dataset]) -> None:
    dataset = dataset_of("phantom", "stages/phantoms", **NO_COHORT)
    with pytest.raises(UserError, match=r"^cohort: got null; allowed where source\.kind is phant"):
        phantoms(dataset)


def test_a_folder_gives_its_files_and_what_it_leaves_out(
    folder: Path, dataset_of: Callable[..., Dataset], tmp_path: Path
) -> None:
    found = listed(dataset_of("folder", folder), tmp_path / "scratch")
    assert [item.source_path for item in found.items] == ["covid/p0_0.png", "normal/p1_0.png"]
    assert found.left_out == [LeftOut("readme.txt", "outside the class folders", 1)]
    assert not (tmp_path / "scratch").exists()


def test_an_archive_gives_what_its_folder_gives(
    folder: Path, dataset_of: Callable[..., Dataset], tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    with open_source(
        dataset_of("archive", archive), seed=5, scratch=tmp_path / "scratch"
    ) as listing:
        assert [item.source_path for item in listing.items] == ["covid/p0_0.png", "normal/p1_0.png"]
        assert listing.items[0].read().content == (folder / "covid/p0_0.png").read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_error_below_an_archive_names_the_archive(
    folder: Path, dataset_of: Callable[..., Dataset], tmp_path: Path, write_picture: WritePicture
) -> None:
    write_picture(folder / "covid" / "masks" / "p0_0.png", 9)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    with pytest.raises(UserError, match=rf"^{re.escape(archive)}: folders .* 'covid/masks/'"):
        listed(dataset_of("archive", archive), tmp_path / "scratch")


def test_ignore_is_looked_at_before_an_archive_is_unpacked(
    folder: Path, dataset_of: Callable[..., Dataset], tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    with pytest.raises(UserError, match=r"^ignore: got '!', which matches nothing"):
        require_source(dataset_of("archive", archive, ignore=["!"]))


@pytest.mark.parametrize(
    ("kind", "is_file", "said"),
    [
        ("folder", True, r", a file; for a \.zip or \.tar set source\.kind to archive$"),
        ("archive", False, r", a folder; set source\.kind to folder$"),
    ],
)
def test_a_source_of_another_kind_says_which_kind_to_set(
    folder: Path, dataset_of: Callable[..., Dataset], kind: str, is_file: bool, said: str
) -> None:
    path = folder / "readme.txt" if is_file else folder
    with pytest.raises(UserError, match=rf"^source\.path: got '{re.escape(str(path))}'{said}"):
        require_source(dataset_of(kind, path))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_source_that_is_not_there_is_refused(
    dataset_of: Callable[..., Dataset], tmp_path: Path, kind: str
) -> None:
    dataset = dataset_of(kind, tmp_path / "nowhere.zip")
    with pytest.raises(UserError, match=rf"nowhere\.zip': there is no such {kind}; correct the"):
        listed(dataset, tmp_path)


def test_a_source_is_described_by_its_path_and_phantoms_by_their_kind(
    dataset_of: Callable[..., Dataset],
) -> None:
    assert describe_source(dataset_of("phantom", "stages/phantoms")) == "phantom:ct"
    assert describe_source(dataset_of("folder", "/data/ct")) == "/data/ct"
    assert describe_source(dataset_of("archive", "ct.zip", **NO_COHORT)) == "ct.zip"
