"""The stages `prepare` and `crop` on DICOM and NIfTI, beside and mixed with plain pictures."""

import json
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import Dataset

from stages.config.errors import UserError
from stages.config.load import load_params, parse_params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.dataset.image_set import ImageSet, load_image_set
from stages.dataset.metadata import load_metadata
from stages.prepare import prepare_dataset
from tests.conftest import REPOSITORY, write_params
from tests.imaging.dicom_files import ROOT, ct_slice, nifti_bytes, write_dicom, xray
from tests.imaging.phantoms import draw_phantoms

RawParams = dict[str, Any]
Prepare = Callable[..., ImageSet]

SALT = "a salt of 16 characters or more"
BY_HEADER = {"kind": "dicom", "salt": SALT}
LUNGS = {"kind": "dicom", "center": -600, "width": 1500, "low": 0.5, "high": 99.5}
NAMES = (
    "DOEPINGER^JANETTE",
    "ROEHRICH^RICHARDSON",
    "MOELLERIN^MARYLOU",
    "POEHLMANN^PAULINUS",
    "LOEWENHERZ^LISELOTTE",
    "COESFELD^CARLOTTA",
)
# Of every file, in clear; the number of a patient and class is added.
IDENTITIES = {
    "PatientID": "MRN7731{}",
    "PatientBirthDate": "19{}0413",
    "AccessionNumber": "ACC88{}21",
    "StudyInstanceUID": ROOT + "77.{}",
    "SeriesInstanceUID": ROOT + "78.{}",
    "InstitutionName": "Saint Elsewhere {}",
    "ReferringPhysicianName": "WHO^DOCTOR{}",
    "StudyDate": "202003{}",
}


def identify(data: Dataset, number: int, slice_number: int) -> Dataset:
    """The same with everything that tells who is shown."""
    for keyword, text in IDENTITIES.items():
        setattr(data, keyword, text.format(10 + number))
    data.PatientName = NAMES[number % len(NAMES)]
    data.PatientSex, data.PatientAge = "FM"[number % 2], f"{40 + number:03d}Y"
    data.Manufacturer = ("SIEMENS", "Siemens")[number % 2]
    data.SOPInstanceUID = f"{ROOT}79.{number}.{slice_number}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def identifiers(numbers: int) -> set[str]:
    """Everything that no output may have."""
    values = {text.format(10 + number) for text in IDENTITIES.values() for number in range(numbers)}
    parts = {part for name in NAMES for part in name.split("^")}
    return values | parts | {ROOT, "Elsewhere", "MRN7731"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of six patients of three CT slices; names of files and folders name them too."""
    root = tmp_path / "source"
    phantoms = iter(draw_phantoms("ct", patients=18, size_px=64, seed=5))
    for number in range(12):
        label = ("covid", "normal")[number // 6]
        name = NAMES[number % 6].replace("^", "_")
        for place in range(3):
            stored = next(phantoms).image.astype(np.uint16) * 6 + place
            data = ct_slice(stored, ImagePositionPatient=[0, 0, 10 * place])
            identify(data, number, place)
            folder = root / label / f"{name}_MRN7731{10 + number}" / "ACC8821"
            write_dicom(folder / f"{data.SOPInstanceUID}.dcm", data)
    return root


@pytest.fixture
def prepare(tiny_params: RawParams, tmp_path: Path) -> Prepare:
    """Prepares a folder or archive, with some settings changed."""

    def run(source: Path, **changes: object) -> ImageSet:
        kind = "folder" if source.is_dir() else "archive"
        settings = {
            "source": {"kind": kind, "path": str(source)},
            "cohort": None,
            "group": BY_HEADER,
            "grey": LUNGS,
            "size_px": 48,
            "near_duplicates": False,
        }
        tiny_params["datasets"]["ct"] |= settings | changes
        paths = Paths(tmp_path / "root")
        prepare_dataset(parse_params(tiny_params), "ct", paths)
        return load_image_set(paths.prepared("ct"))

    return run


def outputs(tmp_path: Path) -> str:
    """All that was written, as text."""
    files = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert len(files) > 8
    names = "\n".join(map(str, files)).replace(str(tmp_path), "")
    return names + "".join(path.read_bytes().decode("latin-1") for path in files)


def test_ct_of_patients_goes_through_prepare_and_crop(
    source: Path, prepare: Prepare, tiny_params: RawParams, tmp_path: Path
) -> None:
    prepared = prepare(source)
    manifest = prepared.manifest
    assert prepared.images.shape == (36, 48, 48)
    assert set(manifest["format"]) == {"DICOM"}
    assert set(manifest["mode"]) == {"MONOCHROME2;12"}
    assert manifest["patient_id"].nunique() == manifest["group_id"].nunique() == 12
    assert manifest["image_id"].is_unique
    assert manifest.groupby("group_id").size().tolist() == [3] * 12
    crop_view(parse_params(tiny_params), "lungs", Paths(tmp_path / "root"))
    assert len(load_image_set(Paths(tmp_path / "root").view("lungs")).manifest) == 36


@pytest.mark.filterwarnings("ignore:Invalid value")  # of writing the file
def test_no_identifier_of_any_file_is_in_any_output(
    source: Path,
    prepare: Prepare,
    tiny_params: RawParams,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    odd = source / "covid" / "DOEPINGER_JANETTE_MRN773110"
    (odd / f"{ROOT}broken.dcm").write_bytes(bytes(128) + b"DICM" + ROOT.encode())
    whole = next((odd / "ACC8821").iterdir()).read_bytes()
    (odd / f"DOEPINGER^JANETTE {ROOT}.dcm").write_bytes(whole[: len(whole) // 2])
    (odd / "DICOMDIR").write_bytes(whole)
    (odd / ".DOEPINGER_JANETTE").write_bytes(b"")
    (odd / "ROEHRICH RICHARDSON.txt").write_text("no picture")
    scout = identify(ct_slice(np.ones((16, 16), np.uint16)), 3, 9)
    scout.ImageType, scout.BurnedInAnnotation = ["LOCALIZER"], "YES"
    write_dicom(odd / f"{ROOT}scout", scout)
    wrong = identify(ct_slice(np.ones((16, 16), np.uint16)), 4, 9)
    wrong.add_new(
        "StudyTime", "TM", "DOEPINGER^JANETTE"
    )  # against the standard, of which pydicom warns
    wrong.BurnedInAnnotation = "YES"
    write_dicom(odd / f"{ROOT}odd", wrong)
    caplog.clear()
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # those of pydicom quote what is in a file
        prepare(
            source,
            max_rejected=0.5,
            near_duplicates=True,
            metadata={"kind": "dicom", "columns": ["age", "sex", "view", "manufacturer"]},
            slices={"kind": "middle", "share": 0.7},
        )
    crop_view(parse_params(tiny_params), "full", Paths(tmp_path / "root"))
    rejected = pd.read_csv(Paths(tmp_path / "root").prepared("ct") / "rejected.csv")
    reasons = sorted(reason.partition(":")[0] for reason in rejected["reason"])
    assert reasons == [
        "DICOM without pixels",
        "a localizer, not a slice",
        "not an image, or a damaged header; formats that can be read",
    ]
    printed = capfd.readouterr()
    everything = outputs(tmp_path) + caplog.text + printed.out + printed.err
    assert "covid/" in everything
    found = {text: everything.index(text) for text in identifiers(12) if text in everything}
    assert not {text: everything[max(0, at - 60) : at + 60] for text, at in found.items()}


@pytest.mark.parametrize(
    ("spoil", "settings"),
    [
        (lambda root: (root / "covid" / "DOEPINGER_JANETTE" / "masks").mkdir(parents=True), {}),
        (lambda root: (root / "DOEPINGER_JANETTE").mkdir(), {}),
        (lambda root: [file.write_bytes(b"x") for file in root.rglob("*.dcm")], {}),
        (lambda root: None, {"classes": {"covid": ["covid"], "normal": ["DOEPINGER_JANETTE"]}}),
    ],
)
def test_no_identifier_is_in_an_error(
    spoil: Callable[[Path], Any], settings: RawParams, source: Path, prepare: Prepare
) -> None:
    spoil(source)
    if (masks := source / "covid" / "DOEPINGER_JANETTE" / "masks").exists():
        (masks / "MOELLERIN_mask.dcm").write_bytes(b"")
    with pytest.raises(UserError) as refused:
        prepare(source, **settings)
    text = str(refused.value).replace("normal: ['DOEPINGER_JANETTE']", "")
    known = identifiers(12) - ({"DOEPINGER", "JANETTE"} if settings else set())
    assert not {one for one in known if one in text}


def test_the_salt_decides_what_patients_and_files_are_called(
    source: Path, prepare: Prepare
) -> None:
    first, again = prepare(source).manifest, prepare(source).manifest
    pd.testing.assert_frame_equal(first, again)
    other = prepare(source, group=BY_HEADER | {"salt": "another salt, as long"}).manifest
    assert not set(first["patient_id"]) & set(other["patient_id"])
    assert not set(first["source_path"]) & set(other["source_path"])
    assert first["sha256"].tolist() == other["sha256"].tolist()


def test_without_that_group_dicom_is_read_and_nobody_is_known(
    source: Path, prepare: Prepare
) -> None:
    manifest = prepare(source, group={"kind": "none"}).manifest
    assert manifest["patient_id"].isna().all() or set(manifest["patient_id"]) == {""}
    assert manifest["source_path"].str.contains("DOEPINGER_JANETTE_MRN773110").any()
    assert manifest["group_id"].nunique() == 12  # by series


def test_headers_give_metadata(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    columns = ["age", "sex", "manufacturer"]
    prepared = prepare(source, metadata={"kind": "dicom", "columns": columns})
    table = load_metadata(Paths(tmp_path / "root").prepared("ct")).table
    assert table["image_id"].tolist() == prepared.manifest["image_id"].tolist()
    assert set(table["age"]) == set(range(40, 52))
    assert set(table["sex"]) == {"F", "M"}
    assert table["manufacturer"].nunique() == 1


@pytest.mark.parametrize(
    ("slices", "positions"),
    [
        ({"kind": "all"}, [0, 1, 2, 3, 4, 5]),
        ({"kind": "middle", "share": 0.5}, [1, 2, 3]),
        ({"kind": "middle", "share": 0.01}, [2]),
        ({"kind": "every", "step": 3}, [1, 4]),
        ({"kind": "every", "step": 100}, [3]),
    ],
)
def test_slices_asked_for_are_taken_of_series_by_their_position_and_of_volumes(
    slices: RawParams, positions: list[int], prepare: Prepare, tmp_path: Path
) -> None:
    root = tmp_path / "mixed"
    rng = np.random.default_rng(1)
    for label in ("covid", "normal"):
        for number in range(4):
            for place in range(6):
                data = ct_slice(rng.integers(0, 2000, (20, 20), np.uint16))
                data.ImagePositionPatient = [0, 0, -place]
                identify(data, number, place)
                data.SeriesInstanceUID = f"{ROOT}7.1{label == 'covid':d}{number}"
                # Names in another order than the slices.
                write_dicom(root / label / f"s{number}" / f"{(place * 5) % 6}.dcm", data)
            voxels = rng.integers(-1000, 500, (20, 20, 6)).astype(np.int16)
            path = root / label / f"v{number}.nii.gz"
            path.write_bytes(nifti_bytes(voxels, zipped=True))
        Image.fromarray(rng.integers(0, 255, (20, 20), np.uint8)).save(root / label / "plain.png")
    manifest = prepare(root, group={"kind": "none"}, slices=slices).manifest
    paths = manifest["source_path"]
    volume = paths[paths.str.startswith("covid/v1.nii.gz")]
    assert volume.tolist() == [f"covid/v1.nii.gz#{number:03d}" for number in positions]
    assert manifest.loc[volume.index, "group_id"].nunique() == 1
    assert manifest.loc[volume.index, "sha256"].nunique() == 1
    series = paths[paths.str.startswith("covid/s1/")]
    # From the feet: the last one lies lowest.
    assert sorted(series) == sorted(f"covid/s1/{((5 - one) * 5) % 6}.dcm" for one in positions)
    assert manifest.loc[series.index, "group_id"].nunique() == 1
    assert manifest["group_id"].nunique() == 2 * (4 + 4 + 1)
    folder = Paths(tmp_path / "root").prepared("ct")
    left_out = pd.read_csv(folder / "left_out.csv")
    assert len(left_out) == 8 * (6 - len(positions))
    assert json.loads((folder / "grouping.json").read_text())["pairs"]["bytes"] == 0
    notes = json.loads((folder / "grouping.json").read_text())["notes"]
    assert f"{8 * len(positions)} of 48 slices of 8 volumes are images" in notes


def test_a_volume_that_is_there_twice_is_found_slice_by_slice(
    prepare: Prepare, tmp_path: Path
) -> None:
    root = tmp_path / "mixed"
    rng = np.random.default_rng(1)
    for label in ("covid", "normal"):
        for number in range(5):
            voxels = rng.integers(-1000, 500, (20, 20, 3)).astype(np.int16)
            path = root / label / f"v{number}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nifti_bytes(voxels))
    (root / "covid" / "copy.nii").write_bytes((root / "covid" / "v0.nii").read_bytes())
    manifest = prepare(root, group={"kind": "none"}).manifest
    pairs = pd.read_csv(Paths(tmp_path / "root").prepared("ct") / "duplicates.csv")
    names = dict(zip(manifest["image_id"], manifest["source_path"], strict=True))
    ids = zip(pairs["image_id"], pairs["other_id"], strict=True)
    found = {(names[one], names[other]) for one, other in ids}
    assert found == {(f"covid/copy.nii#{n:03d}", f"covid/v0.nii#{n:03d}") for n in range(3)}
    assert manifest["group_id"].nunique() == 10


def test_an_archive_is_read_as_its_folder(source: Path, prepare: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*.dcm")):
            archive.write(file, file.relative_to(source))
    unpacked = prepare(path)
    folder = prepare(source)
    pd.testing.assert_frame_equal(unpacked.manifest, folder.manifest)
    np.testing.assert_array_equal(unpacked.images, folder.images)


def test_what_reads_dicom_and_nifti_is_imported_when_such_a_file_is_met() -> None:
    program = (
        "import sys, stages.prepare, stages.checking.images; "
        "sys.exit(bool({'pydicom', 'nibabel'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_a_header_that_names_nobody_stops_the_run(prepare: Prepare, tmp_path: Path) -> None:
    root = tmp_path / "xrays"
    rng = np.random.default_rng(1)
    for label in ("covid", "normal"):
        for number in range(6):
            data = xray(rng.integers(0, 4095, (20, 20), np.uint16))
            write_dicom(root / label / f"{number}.dcm", data)
    with pytest.raises(UserError, match=r"group\.kind: got dicom, but no DICOM header names a pat"):
        prepare(root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"group": {"kind": "dicom", "salt": "short"}},
            "datasets.ct.group.salt: got 'short'; allowed: ",
        ),
        (
            {"metadata": {"kind": "dicom", "columns": ["age", "name"]}},
            "datasets.ct.metadata.columns.1: got 'name'; allowed: 'age', 'sex', 'view'",
        ),
        (
            {"metadata": {"kind": "dicom", "columns": ["age", "age"]}},
            "datasets.ct.metadata.columns: got ['age', 'age']; allowed: each column once",
        ),
        (
            {
                "group": BY_HEADER,
                "metadata": {"table": "m.csv", "file": "f", "columns": {"age": "number"}},
            },
            "datasets.ct.metadata: got a table; allowed with group {kind: dicom}",
        ),
        (
            {"slices": {"kind": "middle", "share": 0}},
            "datasets.ct.slices.share: got 0; allowed: greater than 0",
        ),
        ({"slices": {"kind": "some"}}, "datasets.ct.slices.kind: got 'some'; allowed: 'all'"),
    ],
)
def test_parameters_that_make_no_sense_are_explained(
    changes: RawParams, said: str, tiny_params: RawParams, tmp_path: Path
) -> None:
    outside = {"source": {"kind": "folder", "path": "x"}, "cohort": None}
    tiny_params["datasets"]["ct"] |= outside | changes
    write_params(tmp_path / "params.yaml", tiny_params)
    with pytest.raises(UserError) as refused:
        load_params(tmp_path / "params.yaml")
    assert said in str(refused.value)
