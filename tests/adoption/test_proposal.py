"""What is proposed for trees laid out as public sets are, and for odd ones, can be listed."""

import io
import random
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.adoption import sampling
from stages.adoption.proposal import Proposal, default_name, propose
from stages.config.errors import UserError
from stages.config.params import Dataset
from stages.sources.listing import open_source
from stages.sources.table import require_matched
from tests.adoption.layouts import LAYOUTS, Layout, covidx, draw, draw_all, nih, write_table

_BUFFER = io.BytesIO()
Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(_BUFFER, format="PNG")
PIXEL = _BUFFER.getvalue()


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_PICTURES", 18)


def look_at(source: Path, tmp_path: Path) -> Proposal:
    return propose(source, "mine", scratch=tmp_path / "scratch")


def said(proposal: Proposal) -> str:
    return "\n".join([*proposal.reasons, *proposal.traps, *proposal.unknown])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_public_layout_is_understood(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    layout.make(source)
    expected, proposal = layout.expected, look_at(source, tmp_path)
    entry = proposal.entry
    assert proposal.problem is None
    assert list(entry["classes"].items()) == list(expected.classes.items())
    assert (entry["positive"], entry["modality"]) == (expected.positive, expected.modality)
    assert entry["group"]["kind"] == expected.group
    assert set(expected.left_out) <= set(entry["ignore"])
    assert (entry["table"] or {}).get("path") == expected.table
    assert tuple((entry["metadata"] or {"columns": {}})["columns"]) == expected.metadata
    for words in expected.said:
        assert words in said(proposal)
    dataset = Dataset.model_validate(entry)
    with open_source(dataset, seed=0, scratch=tmp_path / "scratch") as listing:
        assert Counter(item.label for item in listing.items) == expected.counts
        assert {item.split for item in listing.items} - {None} == expected.splits
        patients = {item.patient_id for item in listing.items} - {None}
        assert len(patients) == (expected.patients or 0)
        if listing.reconciliation is not None:
            require_matched(listing.reconciliation, entry["max_unmatched"], listed_in="")


def test_lists_without_names_of_columns_are_named_where_nothing_else_has_labels(
    tmp_path: Path,
) -> None:
    covidx(tmp_path)
    with pytest.raises(UserError, match=r"train.txt: a list of 40 files.*columns file, label"):
        look_at(tmp_path, tmp_path)


def test_an_archive_is_looked_at_and_named_by_its_own_path(tmp_path: Path) -> None:
    LAYOUTS[1].make(tmp_path / "set")
    path = tmp_path / "My Set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (tmp_path / "set").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    proposal = look_at(path, tmp_path)
    assert proposal.entry["source"] == {"kind": "archive", "path": str(path)}
    assert default_name(path) == "my-set"
    assert str(tmp_path / "scratch") not in said(proposal) + str(proposal.entry)
    assert not list((tmp_path / "scratch").iterdir())


def test_unknown_folders_become_classes_and_it_says_so(tmp_path: Path) -> None:
    for folder in ("Здоров", "Груша (1)"):
        draw_all(tmp_path / folder, "xray", [f"{n}x.png" for n in range(6)])
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.entry["classes"] == {"1": ["Груша (1)"], "class-2": ["Здоров"]}
    assert "whether the folders are classes" in said(proposal)
    assert "which class is looked for" in said(proposal)


def test_viral_and_bacterial_pneumonia_side_by_side_stay_two_classes(tmp_path: Path) -> None:
    for folder in ("Normal", "Pneumonia-Viral", "Pneumonia-Bacterial", "COVID-19"):
        draw_all(tmp_path / folder, "xray", [f"{n}x.png" for n in range(6)])
    classes = look_at(tmp_path, tmp_path).entry["classes"]
    assert list(classes) == ["normal", "pneumonia-bacterial", "pneumonia-viral", "covid"]


def test_a_file_of_two_classes_one_size_junk_and_a_broken_file_are_counted(tmp_path: Path) -> None:
    draw_all(tmp_path / "COVID", "xray", [f"{n}x.png" for n in range(8)])
    draw_all(tmp_path / "Normal", "ct", [f"{n}x.png" for n in range(8)])
    same = (tmp_path / "COVID" / "0x.png").read_bytes()
    (tmp_path / "Normal" / "copy.png").write_bytes(same)
    (tmp_path / "COVID" / "cut.png").write_bytes(same[:300])
    (tmp_path / "COVID" / "notes.txt").write_text("no picture")
    (tmp_path / "COVID" / ".hidden.png").write_bytes(same)
    proposal = look_at(tmp_path, tmp_path)
    traps = "\n".join(proposal.traps)
    assert "2 files are equal to the byte and lie in two classes" in traps
    assert "'COVID/cut.png' (damaged PNG" in traps
    assert "1 files are left out (hidden" in traps
    assert "*.txt" in proposal.entry["ignore"]
    assert proposal.problem is None


def test_one_size_of_one_class_alone_is_a_shortcut(tmp_path: Path) -> None:
    for n in range(8):
        draw(tmp_path / "COVID" / f"{n}x.png", "xray", side=80)
        draw(tmp_path / "Normal" / f"{n}x.png", "xray", side=64 + n)
    traps = "\n".join(look_at(tmp_path, tmp_path).traps)
    assert "all 8 pictures of covid looked at have" in traps
    assert "pictures of normal looked at have" not in traps


def test_patients_in_two_given_splits_mark_the_figures_instead_of_stopping(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 40)):
        draw_all(tmp_path / split / "COVID", "xray", nih(10, first))
        draw_all(tmp_path / split / "Normal", "xray", nih(10, 7000 + first))
    shared = nih(2, 40)
    draw_all(tmp_path / "train" / "COVID", "xray", [name.replace("_00", "_10") for name in shared])
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.entry["allow_leakage"] is True
    assert "2 patients are in two of the splits" in "\n".join(proposal.traps)


@pytest.mark.parametrize(
    "names",
    [
        [f"COVID-19_{n:04d}.png" for n in range(40)],  # one group of all, or one of each
        [f"Covid ({n}).png" for n in range(40)],
        [f"{n:08x}-0000-4000-8000-{n:012x}.png" for n in range(40)],
        [f"fold{n % 5}_{n:04d}.png" for n in range(40)],
        [f"2020-03-{n % 28:02d} {n}.png" for n in range(40)],
        [f"{n * 2654435761 % 2**32:08x}.png" for n in range(40)],
    ],
)
def test_no_patients_are_made_up(names: list[str], tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        draw_all(tmp_path / folder, "xray", names)
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.entry["group"] == {"kind": "none"}
    assert "who the patients are" in said(proposal)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("Patient {p} ({n}).png", r"^(Patient \d+) "),
        ("p{p:03d}_{n}.png", r"^(p\d+)_"),
        ("covid-19-pneumonia-{p}-day-{n}.png", r"^(covid-19-pneumonia-\d+)-"),
        ("NCP_{p}_1328_{n:04d}.png", r"^(NCP_\d+)_"),
        ("{p:08d}_{n:03d}.png", r"^(\d{{8}})_"),
    ],
)
def test_patients_are_found_in_names(name: str, pattern: str, tmp_path: Path) -> None:
    for folder, first in (("COVID", 3), ("Normal", 50)):
        names = [name.format(p=first + 2 * p, n=n) for p in range(12) for n in range(3)]
        draw_all(tmp_path / folder, "xray", names)
    group = look_at(tmp_path, tmp_path).entry["group"]
    assert group == {
        "kind": "pattern",
        "pattern": pattern.replace("{{", "{").replace("}}", "}"),
        "patients_per_class": False,
    }


def test_a_table_beside_class_folders_gives_patients_and_metadata(tmp_path: Path) -> None:
    rows: list[list[object]] = [["Image Index", "Patient ID", "Patient Age", "Patient Sex", "text"]]
    for folder in ("COVID", "Normal"):
        for n in range(20):
            draw(tmp_path / folder / f"{folder[0]}{n}x.png", "xray")
            rows.append([f"{folder[0]}{n}x.png", n // 2, 30 + n, "FM"[n % 2], f"free text {n}"])
    write_table(tmp_path / "Data_Entry.csv", rows)
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.entry["table"]["patient"] == "Patient ID"
    assert proposal.entry["group"]["kind"] == "table"
    assert proposal.entry["metadata"]["columns"] == {
        "Patient Age": "number",
        "Patient Sex": "category",
    }


def test_masks_in_a_tree_of_their_own_are_not_taken_for_the_pictures(tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        for n in range(6):
            draw(tmp_path / "Masks" / folder / f"{n}x.png", "xray", mask=True)
            draw(tmp_path / "Scans" / folder / f"{n}x.png", "xray")
    proposal = look_at(tmp_path, tmp_path)
    assert "/Masks" in proposal.entry["ignore"]


@pytest.mark.parametrize("make", ["nothing", "texts", "pictures alone", "one class"])
def test_a_source_without_classes_is_refused_with_what_to_do(make: str, tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    if make == "texts":
        (source / "a.txt").write_text("x")
    if make == "pictures alone":
        draw_all(source, "ct", [f"{n}x.png" for n in range(3)])
    if make == "one class":
        draw_all(source / "COVID", "ct", [f"{n}x.png" for n in range(3)])
    with pytest.raises(UserError, match=r"pictures|classes"):
        look_at(source, tmp_path)


def test_a_table_that_contradicts_itself_is_left_aside_and_named(tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        draw_all(tmp_path / folder, "xray", [f"{folder}{n}x.png" for n in range(6)])
    rows = [[f"COVID{n}x.png", f"p{twice}", 40] for n in range(6) for twice in range(2)]
    write_table(tmp_path / "m.csv", [["file", "patient", "age"], *rows])
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.problem is None
    assert proposal.entry["table"] is None
    assert "what m.csv tells: it is not used, since table: rows 2 and 3" in said(proposal)


def test_numbered_folders_of_patients_are_found_by_their_place(tmp_path: Path) -> None:
    for first, folder in enumerate(("NCP", "CP", "Normal")):
        for p in range(6):
            place = tmp_path / folder / str(100 + 10 * first + p) / str(1300 + p)
            draw_all(place, "ct", [f"{n:04d}.png" for n in range(3)])
    proposal = look_at(tmp_path, tmp_path)
    assert list(proposal.entry["classes"]) == ["normal", "pneumonia", "covid"]
    assert proposal.entry["group"]["pattern"] == "(?:^|/)(?:CP|NCP|Normal)/([^/]+)/"
    assert "18 patients in 54 of 54 images" in said(proposal)


def test_numbering_that_begins_anew_in_each_split_makes_no_leak(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        for folder in ("covid", "non-covid"):
            for p in range(8):
                place = tmp_path / split / folder / f"ct_scan_{p}"
                draw_all(place, "ct", [f"{split[0]}{folder[0]}{n}.png" for n in range(2)])
    proposal = look_at(tmp_path, tmp_path)
    assert "32 patients in 64 of 64 images" in said(proposal)
    assert proposal.entry["allow_leakage"] is False


def test_several_sets_of_class_folders_are_named_where_one_is_taken(tmp_path: Path) -> None:
    for fold in range(3):
        for folder in ("COVID", "Normal"):
            draw_all(tmp_path / f"fold{fold}" / folder, "xray", [f"{fold}{n}x.png" for n in (1, 2)])
    assert "whether /fold1 belongs to the set" in said(look_at(tmp_path, tmp_path))


def test_values_of_hounsfield_units_get_the_lung_window(tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        (tmp_path / folder).mkdir()
        for n in range(6):
            draw(tmp_path / "x.png", "ct")
            with Image.open(tmp_path / "x.png") as picture:
                values = np.asarray(picture).astype(np.float32) * 5 - 1000 + n
            Image.fromarray(values).save(tmp_path / folder / f"{n}x.tif")
    (tmp_path / "x.png").unlink()
    grey = look_at(tmp_path, tmp_path).entry["grey"]
    assert grey == {"kind": "window", "low": -1350, "high": 150}


def test_files_of_which_none_is_a_picture_are_a_problem(tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        (tmp_path / folder).mkdir()
        for n in range(5):
            (tmp_path / folder / f"{n}x.png").write_bytes(b"")
    problem = look_at(tmp_path, tmp_path).problem
    assert problem is not None
    assert "gives a picture" in problem
    assert "(empty file)" in problem


def test_names_longer_than_params_yaml_takes_are_said_and_not_proposed(tmp_path: Path) -> None:
    for folder in ("COVID", "Normal"):
        for shape in range(30):
            letters = "".join(chr(97 + (shape + n) % 26) for n in range(50))
            names = [f"{letters}{shape}q{p}_{n}.png" for p in range(12) for n in range(2)]
            for name in names:
                (tmp_path / folder).mkdir(exist_ok=True)
                (tmp_path / folder / name).write_bytes(PIXEL)
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.entry["group"] == {"kind": "none"}
    deep = tmp_path.joinpath(*["d" * 250] * 5)
    deep.mkdir(parents=True)
    (deep / "x.png").write_bytes(PIXEL)
    for folder in ("COVID", "Normal"):
        (deep.parent / folder).mkdir()
    assert look_at(tmp_path, tmp_path).problem is None


def test_odd_names_of_folders_and_files_stay_what_they_are(tmp_path: Path) -> None:
    folders = ["COVID [a]*", "Normal: no?", "-dash", "!left", "true", "a\u202eb", "line\nend"]
    rng = random.Random(0)
    for folder in folders:
        draw_all(tmp_path / folder, "xray", [f"{rng.random()}'\"#.png" for _ in range(4)])
    (tmp_path / "docs [x]").mkdir()
    proposal = look_at(tmp_path, tmp_path)
    assert proposal.problem is None
    assert {text for texts in proposal.entry["classes"].values() for text in texts} == set(folders)
    assert proposal.entry["ignore"] == ["/docs\\ \\[x\\]"]
