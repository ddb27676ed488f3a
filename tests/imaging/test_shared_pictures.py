"""Pictures that two data sets have, by name."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from stages.imaging.fingerprint import FINGERPRINT, fingerprint
from stages.imaging.shared_pictures import COLUMNS, KnownPictures, find_shared_pictures
from tests.imaging.phantoms import draw_phantoms

Row = tuple[Any, ...]


def drawn(kind: str, patients: int, seed: int) -> list[Image.Image]:
    """One picture of each of some patients of each class."""
    phantoms = draw_phantoms(kind, patients=patients, size_px=144, seed=seed)
    return [Image.fromarray(one.image) for one in phantoms]


def known(
    path: Path, pictures: Sequence[Image.Image], *, hashes: Sequence[str] = (), near: bool = True
) -> KnownPictures:
    """Pictures as a data set has them; files differ unless their hashes are given."""
    names = [f"{path.stem}{number}" for number in range(len(pictures))]
    manifest = pd.DataFrame(
        {
            "image_id": [f"id-{name}" for name in names],
            "source_path": [f"{name}.png" for name in names],
            "sha256": list(hashes) or names,
        }
    )
    records = [fingerprint(np.asarray(one.convert("L"))) for one in pictures]
    np.array(records, dtype=FINGERPRINT).tofile(path)
    return KnownPictures(path.stem, manifest, path if near else None)


def rows(table: pd.DataFrame) -> list[Row]:
    assert tuple(table.columns) == COLUMNS
    return list(table[["file", "own_file", "kind", "change"]].itertuples(index=False, name=None))


def as_jpeg(picture: Image.Image) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=60)
    return Image.open(content)


def test_copies_are_found_by_name_and_others_are_not(tmp_path: Path) -> None:
    ours, theirs = drawn("ct", 4, seed=1), drawn("ct", 4, seed=2)
    half = ours[6].resize((ours[6].width // 2, ours[6].height // 2))
    copies = [as_jpeg(ours[2]), ImageOps.mirror(ours[5]), half]
    own = known(tmp_path / "own", ours)
    there = known(tmp_path / "there", [*theirs[:3], *copies, *theirs[3:]])
    found = find_shared_pictures(own, there, tmp_path / "scratch")
    assert rows(found) == [
        ("there3.png", "own2.png", "near", "same"),
        ("there4.png", "own5.png", "near", "flipped"),
        ("there5.png", "own6.png", "near", "same"),
    ]
    assert found["image_id"].tolist() == ["id-there3", "id-there4", "id-there5"]
    assert found["own_image_id"].tolist() == ["id-own2", "id-own5", "id-own6"]
    assert found["distance"].between(0, 0.06).all()


@pytest.mark.parametrize(("kind", "other"), [("ct", "ct"), ("ct", "ct_b"), ("xray", "xray")])
def test_other_patients_of_the_same_generator_are_not_joined(
    kind: str, other: str, tmp_path: Path
) -> None:
    own = known(tmp_path / "own", drawn(kind, 30, seed=1))
    there = known(tmp_path / "there", drawn(other, 30, seed=2))
    assert rows(find_shared_pictures(own, there, tmp_path / "scratch")) == []


def test_an_equal_file_is_listed_once_with_the_first_of_its_bytes(tmp_path: Path) -> None:
    one, other, third = drawn("ct", 2, seed=1)[:3]
    own = known(tmp_path / "own", [other, one, one], hashes=["a", "b", "b"])
    there = known(tmp_path / "there", [third, one], hashes=["c", "b"])
    found = find_shared_pictures(own, there, tmp_path / "scratch")
    assert rows(found) == [("there1.png", "own1.png", "bytes", "same")]
    assert found["distance"].tolist() == [0.0]


def test_of_several_own_pictures_the_one_most_alike_is_listed(tmp_path: Path) -> None:
    picture, other = drawn("ct", 1, seed=1)
    ours = [picture.rotate(2, Image.Resampling.BILINEAR), other, picture]
    own, there = known(tmp_path / "own", ours), known(tmp_path / "there", [as_jpeg(picture)])
    found = find_shared_pictures(own, there, tmp_path / "scratch")
    assert rows(found) == [("there0.png", "own2.png", "near", "same")]


@pytest.mark.parametrize("without", ["own", "there"])
def test_where_one_set_has_no_fingerprints_bytes_alone_count(without: str, tmp_path: Path) -> None:
    one, other = drawn("ct", 1, seed=1)
    own = known(tmp_path / "own", [one, other], hashes=["a", "b"], near=without != "own")
    there = known(
        tmp_path / "there", [as_jpeg(one), other], hashes=["c", "b"], near=without != "there"
    )
    found = find_shared_pictures(own, there, tmp_path / "scratch")
    assert rows(found) == [("there1.png", "own1.png", "bytes", "same")]


def test_some_rows_of_a_set_are_looked_at_by_their_numbers(tmp_path: Path) -> None:
    ours = drawn("ct", 2, seed=1)
    own, there = known(tmp_path / "own", ours), known(tmp_path / "there", ours[::-1])
    some = there._replace(manifest=there.manifest.iloc[[1, 3]])
    assert rows(find_shared_pictures(own, some, tmp_path / "scratch")) == [
        ("there1.png", "own2.png", "near", "same"),
        ("there3.png", "own0.png", "near", "same"),
    ]
    none = there._replace(manifest=there.manifest.iloc[:0])
    assert rows(find_shared_pictures(own, none, tmp_path / "scratch")) == []
