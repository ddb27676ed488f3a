"""Small trees laid out as public sets of chest images are, and what of them is right.

Names and places are those of the sets; pictures are phantoms, a few drawn ones with other noise in
each file.
"""

import csv
import io
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from stages.phantoms.cohort import CohortImage

SIDE_PX = 96
DRAWN = 3  # phantoms of each kind


@dataclass(frozen=True)
class Expected:
    """What a right proposal says.

    Attributes:
        classes: class to folder names or labels.
        positive: the class looked for.
        modality: ct or xray.
        counts: images of each class.
        splits: given ones.
        group: kind of `group`.
        patients: how many are found, or None where nobody knows.
        left_out: entries of `ignore`, of any number of others.
        said: words that have to stand among what is not known, or in the reasons.
    """

    classes: dict[str, list[str]]
    positive: str
    modality: str
    counts: dict[str, int]
    splits: frozenset[str] = frozenset()
    group: str = "none"
    patients: int | None = None
    left_out: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    table: str | None = None
    metadata: tuple[str, ...] = ()
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    name: str
    make: Callable[[Path], None]
    expected: Expected


@cache
def _phantom(kind: str, number: int) -> np.ndarray:
    label = "covid" if number % 2 else "normal"
    image = CohortImage(
        kind=kind,
        label=label,
        patient=number,
        number=0,
        marker_share=0.0,
        size_px=SIDE_PX,
        seed=1,
    )
    return image.draw().image


def draw(path: Path, kind: str, *, mask: bool = False, side: int = SIDE_PX) -> None:
    """Write a picture that no other is equal to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path.relative_to(path.parents[2])).encode())
    pixels = _phantom(kind, seed % DRAWN).astype(np.int16)
    rng = np.random.default_rng([seed, len(path.name)])
    noisy = np.clip(pixels + rng.integers(-3, 4, pixels.shape), 0, 255).astype(np.uint8)
    picture = Image.fromarray(np.uint8(noisy > 128) * 255 if mask else noisy)
    if side != SIDE_PX:
        picture = picture.resize((side, side))
    buffer = io.BytesIO()
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    picture.save(buffer, format="JPEG" if is_jpeg else "PNG")
    path.write_bytes(buffer.getvalue())


def draw_all(root: Path, kind: str, names: Iterable[str]) -> None:
    for name in names:
        draw(root / name, kind)


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def nih(patients: int, first: int, images: int = 2) -> list[str]:
    """Names of ChestX-ray8: patient and follow-up."""
    return [f"{first + 7 * p:08d}_{n:03d}.png" for p in range(patients) for n in range(images)]


def darkcovidnet(root: Path) -> None:
    top = root / "X-Ray Image DataSet"
    odd = [f"1-s2.0-S092966462030044{n}-gr2_lrg-a.jpg" for n in range(6)]
    named = [f"covid-19-pneumonia-{n}-PA.jpg" for n in range(1, 10)]
    named.append("80446565-E090-4187-A031-9D3CEAA586C8.jpg")  # no patient 80446565 of the NIH
    draw_all(top / "Covid-19", "xray", [*odd, *named])
    draw_all(top / "No_findings", "xray", nih(15, 100))
    draw_all(top / "Pneumonia", "xray", nih(15, 5000))
    (root / "README.md").write_text("# COVID-19\n")
    (root / "DarkCovidNet.ipynb").write_text("{}")


def sarscov2_ct(root: Path) -> None:
    draw_all(root / "COVID", "ct", [f"Covid ({n}).png" for n in range(1, 31)])
    draw_all(root / "non-COVID", "ct", [f"Non-Covid ({n}).png" for n in range(1, 31)])


def sarscov2_ct_patients(root: Path) -> None:
    for folder, patients in (("Covid", 10), ("Healthy", 10), ("Others", 10)):
        for p in range(1, patients + 1):
            draw_all(root / folder / f"Patient ({p})", "ct", [f"{n} ({p}).png" for n in range(3)])


def ucsd_covid_ct(root: Path) -> None:
    papers = [f"2020.0{p % 9 + 1}.{p:02d}.2002{p:04d}" for p in range(12)]
    covid = [f"{paper}-p{5 + n}-{30 + n}%0.png" for paper in papers for n in range(2)]
    other = [f"{n}.png" for n in range(30)]
    draw_all(root / "Images-processed" / "CT_COVID", "ct", covid)
    draw_all(root / "Images-processed" / "CT_NonCOVID", "ct", other)
    for folder, label, names in (("COVID", "COVID", covid), ("NonCOVID", "NonCOVID", other)):
        for split, part in (("train", names[:12]), ("val", names[12:18]), ("test", names[18:])):
            path = root / "Data-split" / folder / f"{split}CT_{label}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(part) + "\n")
    (root / "baseline methods").mkdir()
    (root / "baseline methods" / "DenseNet_predict.py").write_text("pass\n")
    (root / "COVID-CT-MetaInfo.xlsx").write_bytes(b"PK\x03\x04")


def lung_ct_scans(root: Path) -> None:
    draw_all(root / "COVID-19", "ct", [f"COVID-19_{n:04d}.png" for n in range(1, 41)])
    draw_all(root / "Non-COVID-19", "ct", [f"Non-COVID-19_{n:03d}.png" for n in range(1, 21)])


def radiography_database(root: Path) -> None:
    top = root / "COVID-19_Radiography_Dataset"
    for folder, stem in (
        ("COVID", "COVID"),
        ("Lung_Opacity", "Lung_Opacity"),
        ("Normal", "Normal"),
        ("Viral Pneumonia", "Viral Pneumonia"),
    ):
        for n in range(1, 21):
            draw(top / folder / "images" / f"{stem}-{n}.png", "xray")
            draw(top / folder / "masks" / f"{stem}-{n}.png", "xray", mask=True)
        (top / f"{folder}.metadata.xlsx").write_bytes(b"PK\x03\x04")
    (top / "README.md.txt").write_text("COVID-19 CHEST X-RAY DATABASE\n")


def chest_xray_pneumonia(root: Path) -> None:
    top = root / "chest_xray"
    for split, first, patients in (("train", 1, 20), ("val", 1900, 12), ("test", 80, 12)):
        normal = [f"IM-{115 + first + n:04d}-0001.jpeg" for n in range(20)]
        ill = [
            f"person{first + p}_{'virus' if p % 2 else 'bacteria'}_{n}.jpeg"
            for p in range(patients)
            for n in range(2)
        ]
        draw_all(top / split / "NORMAL", "xray", normal)
        draw_all(top / split / "PNEUMONIA", "xray", ill)
        (top / split / ".DS_Store").write_bytes(b"\0")
    (root / "__MACOSX" / "chest_xray").mkdir(parents=True)
    (root / "__MACOSX" / "chest_xray" / "._train").write_bytes(b"\0")


def covidx(root: Path) -> None:
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for split, count in (("train", 40), ("test", 20)):
        for n in range(count):
            name = f"{split}-{n:03d}.png"
            draw(root / split / name, "xray")
            lines[split].append(f"{n // 2} {name} {'positive' if n % 2 else 'negative'} rsna")
        (root / f"{split}.txt").write_text("\n".join(lines[split]) + "\n")


def course_part_1(root: Path) -> None:
    for split, count in (("train", 30), ("validation", 12), ("test", 12)):
        for label in ("infected", "normal"):
            names = [f"{n:08x}-1b2c-4d5e-8f90-{n * 7:012x}.png" for n in range(count)]
            draw_all(root / "Assignment 5 Dataset" / split / label, "xray", names)


def course_part_2(root: Path) -> None:
    top = root / "A_05_Part_02_Dataset"
    for split, covid, count in (("Train", "covid-19", 25), ("Validation", "covid", 12)):
        for folder in (covid, "pneumonia", "normal"):
            names = [f"{split[0]}{folder[0]}{n * 13:06x}.jpg" for n in range(count)]
            draw_all(top / split / folder, "xray", names)
    draw_all(top / "Test", "xray", [f"{n:06x}.jpg" for n in range(15)])


def cohen(root: Path) -> None:
    rows: list[list[object]] = [
        ["patientid", "offset", "sex", "age", "finding", "view", "filename"]
    ]
    for p in range(30):
        finding = "Pneumonia/Viral/COVID-19" if p < 16 else "No Finding"
        for n in range(2):
            name = f"auntminnie-{'abcdefghij'[p % 10]}{p}-{n}.jpg"
            draw(root / "images" / name, "xray")
            rows.append([p, n, "FM"[p % 2], 30 + p, finding, ["PA", "AP"][n], name])
    for p in range(40, 44):
        name = f"todo-{p}.jpg"
        draw(root / "images" / name, "xray")
        rows.append([p, "", "", "", "todo", "PA", name])
    rows += [[50, 0, "F", 40, "Pneumonia/Viral/COVID-19", "Axial", "volume-50.nii.gz"]]
    for p in range(6):
        name = f"auntminnie-{'abcdefghij'[p]}{p}-0_mask.png"
        draw(root / "annotations" / "lungVAE-masks" / name, "xray", mask=True)
    write_table(root / "metadata.csv", rows)
    (root / "README.md").write_text("# covid-chestxray-dataset\n")
    (root / "docs").mkdir()
    (root / "docs" / "notes.txt").write_text("notes\n")


def cvt_covid_ct(root: Path) -> None:
    covid = [f"Covid ({n}).png" for n in range(1, 25)]
    other = [f"Non-Covid ({n}).png" for n in range(1, 25)]
    draw_all(root / "Data" / "master-data" / "COVID", "ct", covid)
    draw_all(root / "Data" / "master-data" / "NonCOVID", "ct", other)
    for split, part in (("train", slice(0, 12)), ("validation", slice(12, 18))):
        draw_all(root / "Data" / "split-data" / split / "COVID", "ct", covid[part])
        draw_all(root / "Data" / "split-data" / split / "NonCOVID", "ct", other[part])
    (root / "Code").mkdir()
    (root / "Code" / "train.py").write_text("pass\n")


def large_ct_slices(root: Path) -> None:
    top = root / "curated_data"
    for folder, stem in (("1NonCOVID", "Normal"), ("2COVID", "COVID"), ("3CAP", "CAP")):
        names = [f"{stem}_P{p:03d}_IM{n:04d}.png" for p in range(1, 13) for n in range(1, 3)]
        draw_all(top / folder, "ct", names)


def coronahack(root: Path) -> None:
    rows: list[list[object]] = [["", "X_ray_image_name", "Label", "Dataset_type", "Label_1"]]
    for split, first, count in (("TRAIN", 0, 40), ("TEST", 500, 20)):
        for n in range(count):
            label = "Pnemonia" if n % 2 else "Normal"
            name = f"{'person' if n % 2 else 'IM-'}{first + n}_x{n}.jpeg"
            draw(root / "Coronahack-Chest-XRay-Dataset" / split.lower() / name, "xray")
            rows.append([len(rows) - 1, name, label, split, "Virus" if n % 2 else ""])
    write_table(root / "Chest_xray_Corona_Metadata.csv", rows)


def covid_qu_ex(root: Path) -> None:
    for part, count in (("Lung Segmentation Data", 20), ("Infection Segmentation Data", 8)):
        for split in ("Train", "Val", "Test"):
            for folder in ("COVID-19", "Non-COVID", "Normal"):
                for n in range(count):
                    name = f"{folder.lower()}_{split.lower()}{n}.png"
                    here = root / part / part / split / folder
                    draw(here / "images" / name, "xray")
                    draw(here / "lung masks" / name, "xray", mask=True)


def bare(*names: str) -> dict[str, list[str]]:
    return {name: [name] for name in names}


LAYOUTS = (
    Layout(
        "darkcovidnet",
        darkcovidnet,
        Expected(
            {"normal": ["No_findings"], "pneumonia": ["Pneumonia"], "covid": ["Covid-19"]},
            "covid",
            "xray",
            {"normal": 30, "pneumonia": 30, "covid": 16},
            group="pattern",
            patients=30,
            said=("16 images", "README.md"),
        ),
    ),
    Layout(
        "sarscov2-ct",
        sarscov2_ct,
        Expected(
            {"non-covid": ["non-COVID"], "covid": ["COVID"]},
            "covid",
            "ct",
            {"non-covid": 30, "covid": 30},
            said=("who the patients are",),
        ),
    ),
    Layout(
        "sarscov2-ct-patients",
        sarscov2_ct_patients,
        Expected(
            {"normal": ["Healthy"], "other": ["Others"], "covid": ["Covid"]},
            "covid",
            "ct",
            {"normal": 30, "other": 30, "covid": 30},
            group="pattern",
            patients=30,
            said=("begin anew in each class",),
        ),
    ),
    Layout(
        "ucsd-covid-ct",
        ucsd_covid_ct,
        Expected(
            {"non-covid": ["CT_NonCOVID"], "covid": ["CT_COVID"]},
            "covid",
            "ct",
            {"non-covid": 30, "covid": 24},
            group="pattern",
            patients=12,
            left_out=("/Data-split", "/baseline\\ methods"),
            said=("trainCT_COVID.txt: a list of", "COVID-CT-MetaInfo.xlsx: a spreadsheet"),
        ),
    ),
    Layout(
        "lung-ct-scans",
        lung_ct_scans,
        Expected(
            {"non-covid": ["Non-COVID-19"], "covid": ["COVID-19"]},
            "covid",
            "ct",
            {"non-covid": 20, "covid": 40},
            said=("who the patients are",),
        ),
    ),
    Layout(
        "radiography-database",
        radiography_database,
        Expected(
            {
                "normal": ["Normal"],
                "lung-opacity": ["Lung_Opacity"],
                "pneumonia": ["Viral Pneumonia"],
                "covid": ["COVID"],
            },
            "covid",
            "xray",
            {"normal": 20, "lung-opacity": 20, "pneumonia": 20, "covid": 20},
            left_out=("masks",),
            said=("COVID.metadata.xlsx: a spreadsheet", "README.md.txt"),
        ),
    ),
    Layout(
        "chest-xray-pneumonia",
        chest_xray_pneumonia,
        Expected(
            {"normal": ["NORMAL"], "pneumonia": ["PNEUMONIA"]},
            "pneumonia",
            "xray",
            {"normal": 60, "pneumonia": 88},
            splits=frozenset({"train", "val", "test"}),
            group="pattern",
            patients=44,
            said=("60 images",),
        ),
    ),
    Layout(
        "course-part-1",
        course_part_1,
        Expected(
            {"normal": ["normal"], "infected": ["infected"]},
            "infected",
            "xray",
            {"normal": 54, "infected": 54},
            splits=frozenset({"train", "val", "test"}),
        ),
    ),
    Layout(
        "course-part-2",
        course_part_2,
        Expected(
            {"normal": ["normal"], "pneumonia": ["pneumonia"], "covid": ["covid", "covid-19"]},
            "covid",
            "xray",
            {"normal": 37, "pneumonia": 37, "covid": 37},
            splits=frozenset({"train", "val"}),
            left_out=("/A_05_Part_02_Dataset/Test",),
            said=("15 pictures in a test folder",),
        ),
    ),
    Layout(
        "cohen",
        cohen,
        Expected(
            {"normal": ["No Finding"], "covid": ["Pneumonia/Viral/COVID-19"]},
            "covid",
            "xray",
            {"normal": 28, "covid": 32},
            group="table",
            patients=30,
            left_out=("todo", "/annotations"),
            table="metadata.csv",
            metadata=("offset", "sex", "age", "view"),
        ),
    ),
    Layout(
        "cvt-covid-ct",
        cvt_covid_ct,
        Expected(
            {"non-covid": ["NonCOVID"], "covid": ["COVID"]},
            "covid",
            "ct",
            {"non-covid": 24, "covid": 24},
            left_out=("/Data/split-data", "/Code"),
            said=("the same pictures again",),
        ),
    ),
    Layout(
        "large-ct-slices",
        large_ct_slices,
        Expected(
            {"non-covid": ["1NonCOVID"], "pneumonia": ["3CAP"], "covid": ["2COVID"]},
            "covid",
            "ct",
            {"non-covid": 24, "pneumonia": 24, "covid": 24},
            group="pattern",
            patients=36,
        ),
    ),
    Layout(
        "coronahack",
        coronahack,
        Expected(
            {"normal": ["Normal"], "pneumonia": ["Pnemonia"]},
            "pneumonia",
            "xray",
            {"normal": 30, "pneumonia": 30},
            splits=frozenset({"train", "test"}),
            table="Chest_xray_Corona_Metadata.csv",
        ),
    ),
    Layout(
        "covid-qu-ex",
        covid_qu_ex,
        Expected(
            {"non-covid": ["Non-COVID"], "normal": ["Normal"], "covid": ["COVID-19"]},
            "covid",
            "xray",
            {"normal": 60, "non-covid": 60, "covid": 60},
            splits=frozenset({"train", "val", "test"}),
            left_out=("lung masks", "/Infection\\ Segmentation\\ Data"),
        ),
    ),
)
