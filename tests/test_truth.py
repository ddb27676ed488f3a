"""Phantoms as files with some masks and boxes beside them: what is known, found and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.audit import audit_view
from stages.config.csv_file import read_csv
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.image_set import load_image_set
from stages.dataset.truth import LESION_BIT, LUNG_BIT
from stages.explain.scores import load_regions
from stages.imaging.square import fit_square
from stages.prepare import prepare_dataset
from tests.imaging.phantoms import draw_phantoms

RawParams = dict[str, Any]
SIDE, PATIENTS = 96, 6
BOX = (0.25, 0.5, 0.5, 0.75)  # of every covid image: its second quarter across, third downwards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six X-rays of each class; masks of four of them, one twice as large; boxes of covid."""
    root = tmp_path_factory.mktemp("files")
    drawn = draw_phantoms("xray", patients=PATIENTS, size_px=SIDE, seed=5)
    rows = ["file,finding,x0,y0,x1,y1"]
    for number, phantom in enumerate(drawn):
        label = "covid" if number < PATIENTS else "normal"
        (root / "source" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image).save(root / "source" / label / f"p{number}.png")
        if label == "covid":
            rows.append(f"{label}/p{number}.png,Opacity,{','.join(map(str, BOX))}")
        if number in (0, 1, 6, 7):
            mask = Image.fromarray(((phantom.truth & LUNG_BIT) > 0).astype(np.uint8) * 255)
            (root / "truth" / "lungs").mkdir(parents=True, exist_ok=True)
            if number == 7:
                mask = mask.resize((2 * mask.width, 2 * mask.height), Image.Resampling.NEAREST)
            mask.save(root / "truth" / "lungs" / f"p{number}_mask.png")
    rows += ["normal/p9.png,Opacity,,,,", "elsewhere.png,Opacity,0,0,1,1"]
    (root / "truth" / "boxes.csv").write_text("\n".join(rows))
    return root


def truth_of(folder: Path, **changes: object) -> RawParams:
    fields = {"lungs": "lungs", "lung_values": [], "boxes": "boxes.csv", "findings": []}
    return {"kind": "files", "path": str(folder / "truth"), "max_unmatched": 0.2} | fields | changes


def run(folder: Path, raw: RawParams, paths: Paths, **truth: object) -> None:
    raw["datasets"]["ct"] |= {
        "source": {"kind": "folder", "path": str(folder / "source")},
        "modality": "xray",
        "cohort": None,
        "group": {"kind": "pattern", "pattern": r"^(p\d+)", "patients_per_class": False},
        "near_duplicates": False,
        "truth": truth_of(folder, **truth),
    }
    raw["views"]["middle"] = raw["views"]["full"] | {"crop": {"kind": "center", "fraction": 0.5}}
    prepare_dataset(parse_params(raw), "ct", paths)


def _pixels(low: float, high: float, side: int) -> slice:
    return slice(round(low * side), round(high * side))


def test_what_files_know_goes_with_the_pictures_into_prepared_sets_and_views(
    folder: Path, tiny_params: RawParams, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    run(folder, tiny_params, paths)
    prepared = load_image_set(paths.prepared("ct"))
    names = prepared.manifest["source_path"].str.extract(r"p(\d+)")[0].astype(int).to_numpy()
    assert prepared.truth is not None
    assert set(names[prepared.knows(LUNG_BIT)]) == {0, 1, 6, 7}
    assert set(names[prepared.knows(LESION_BIT)]) == set(range(PATIENTS))
    drawn = draw_phantoms("xray", patients=PATIENTS, size_px=SIDE, seed=5)
    row = int(np.flatnonzero(names == 3)[0])
    lesions = (prepared.truth[row] & LESION_BIT) > 0
    height, width = drawn[3].image.shape
    box = np.zeros((height, width), dtype=np.uint8)
    rows, columns = ((0.5, 0.75, height), (0.25, 0.5, width))
    box[_pixels(*rows), _pixels(*columns)] = 1
    expected = fit_square(box, SIDE, "nearest")[0] > 0
    np.testing.assert_array_equal(lesions, expected)
    for number in (0, 6, 7):
        row = int(np.flatnonzero(names == number)[0])
        lungs = (prepared.truth[row] & LUNG_BIT) > 0
        known = drawn[number].truth & LUNG_BIT
        np.testing.assert_array_equal(lungs, fit_square(known, SIDE, "nearest")[0] > 0)
    lines = read_csv(paths.prepared("ct") / "truth_files.csv", str)
    counts = lines.groupby(["kind", "how"]).size().to_dict()
    assert counts == {
        ("box", "path"): 6,
        ("box", "fits no image"): 1,
        ("box", "row without a box"): 1,
        ("mask", "name, suffix left out"): 4,
    }


def test_views_have_the_truth_in_their_own_geometry_and_dice_where_lungs_are_known(
    folder: Path, tiny_params: RawParams, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    run(folder, tiny_params, paths)
    for name in ("middle", "full"):
        crop_view(parse_params(tiny_params), name, paths)
    middle = load_image_set(paths.view("middle"))
    assert middle.truth is not None
    assert middle.boxes is not None
    row = int(np.flatnonzero(middle.knows(LESION_BIT))[0])
    # The middle half begins at a quarter: the box is its left half, from the middle downwards.
    left, top, right, bottom = middle.boxes[["view_x0", "view_y0", "view_x1", "view_y1"]].iloc[row]
    at = np.argwhere((middle.truth[row] & LESION_BIT) > 0)
    corners = np.array([(top + bottom) / 2, left]), np.array([bottom, (left + right) / 2])
    np.testing.assert_allclose(at.min(axis=0), corners[0], atol=1)
    np.testing.assert_allclose(at.max(axis=0) + 1, corners[1], atol=1)
    dice = pd.to_numeric(middle.boxes["lung_dice"], errors="coerce").to_numpy()
    np.testing.assert_array_equal(~np.isnan(dice), middle.knows(LUNG_BIT))
    full = load_image_set(paths.view("full"))
    assert full.truth is not None
    assert full.lung_masks is not None
    for row in np.flatnonzero(full.knows(LUNG_BIT)):
        truth, found = (full.truth[row] & LUNG_BIT) > 0, full.lung_masks[row] > 0
        in_view = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert dice[row] == pytest.approx(in_view, abs=0.02)
    unknown, known = (
        int(np.flatnonzero(full.knows(LUNG_BIT) == is_known)[0]) for is_known in (False, True)
    )
    np.testing.assert_array_equal(load_regions(full, unknown).lungs, full.lung_masks[unknown] > 0)
    np.testing.assert_array_equal(load_regions(full, known).lungs, full.truth[known] & LUNG_BIT > 0)


def test_the_audit_says_how_well_the_known_lungs_were_found(
    folder: Path, tiny_params: RawParams, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    run(folder, tiny_params, paths)
    params = parse_params(tiny_params)
    crop_view(params, "full", paths)
    audit_view(params, "full", paths)
    lungs = json.loads(paths.audit("full").read_text())["lungs"]
    boxes = load_image_set(paths.view("full")).boxes
    assert boxes is not None
    dice = pd.to_numeric(boxes["lung_dice"], errors="coerce").dropna()
    assert (lungs["n"], lungs["n_groups"], len(lungs["worst"])) == (4, 4, 4)
    assert lungs["dice"] == pytest.approx(dice.mean(), abs=1e-6)
    assert lungs["dice_low"] <= lungs["dice"] <= lungs["dice_high"]
    assert lungs["sd"] == pytest.approx(dice.std(), abs=1e-6)
    assert lungs["median"] == pytest.approx(dice.median(), abs=1e-6)
    assert lungs["worst"][0]["dice"] == pytest.approx(dice.min(), abs=1e-6)
    assert all(entry["file"].endswith(".png") for entry in lungs["worst"])


def test_a_set_without_files_of_truth_has_nothing_known_and_no_figure(
    folder: Path, tiny_params: RawParams, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    run(folder, tiny_params, paths)
    source = {"kind": "source", "path": "stages/dataset/truth.py"}
    tiny_params["datasets"]["ct"]["truth"] = source
    params = parse_params(tiny_params)
    prepare_dataset(params, "ct", paths)
    crop_view(params, "full", paths)
    audit_view(params, "full", paths)
    left = {path.name for path in paths.prepared("ct").iterdir()}
    assert not left & {"truth.npy", "truth.csv", "truth_files.csv"}
    view = load_image_set(paths.view("full"))
    assert not view.knows(LUNG_BIT).any()
    assert json.loads(paths.audit("full").read_text())["lungs"] is None


def test_masks_of_another_shape_are_listed_and_stop_the_run_above_the_share_allowed(
    folder: Path, tiny_params: RawParams, tmp_path: Path
) -> None:
    wrong = tmp_path / "files" / "truth"
    (wrong / "lungs").mkdir(parents=True)
    shapes = [p.image.shape for p in draw_phantoms("xray", patients=PATIENTS, size_px=SIDE, seed=5)]
    height, width = shapes[1]
    for number, shape in enumerate([shapes[0], (50, width)]):
        mask = np.zeros(shape, np.uint8)
        mask[20:40, 20:40] = 255
        Image.fromarray(mask).save(wrong / "lungs" / f"p{number}.png")
    paths = Paths(tmp_path / "root")
    changes = {"path": str(wrong), "boxes": None}
    with pytest.raises(UserError) as stopped:
        run(folder, tiny_params, paths, **changes)
    assert str(stopped.value).startswith(
        "params.yaml: datasets.ct: truth: of no use are 1 of 2 masks: 'lungs/p1.png' cannot be "
        f"used ({width}x50 px, but the picture has {width}x{height} px); allowed: a share of 0.2"
    )
    run(folder, tiny_params, paths, **changes, max_unmatched=0.5)
    assert load_image_set(paths.prepared("ct")).knows(LUNG_BIT).sum() == 1
