"""Small trees of the layouts of public sets, with phantoms for pictures."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from stages.config.params import Cohort
from stages.phantoms.cohort import plan_cohort
from stages.phantoms.picture import Phantom

SIDE = 96


@dataclass
class Layout:
    """A set, as its files lie.

    Attributes:
        files: path to the class drawn, of a picture; to its content, of another file.
        images: of each class in params.yaml that are to be found.
        patients: that are to be known of these; None: no one.
        splits: that come with the set.
        masks: of lungs.
    """

    files: dict[str, str | bytes]
    images: dict[str, int]
    patients: int = 0
    splits: frozenset[str] = frozenset()
    masks: int = 0
    kind: str = "xray3"
    archives: dict[str, str] = field(default_factory=dict)  # of files to the top folder in them


def draw(layout: Layout) -> dict[str, bytes]:
    """All files: pictures of a class are phantoms of it, each of another patient."""
    phantoms = {label: _phantoms(layout.kind, label) for label in ("covid", "normal", "pneumonia")}
    drawn: dict[str, bytes] = {}
    for path, content in layout.files.items():
        if isinstance(content, bytes):
            drawn[path] = content
            continue
        phantom = next(phantoms[content])
        drawn[path] = _picture(phantom.image, path)
        mask = path.replace("/images/", "/masks/")
        if layout.masks and mask != path:
            lungs = np.where(phantom.truth > 0, 255, 0).astype(np.uint8)
            drawn[mask] = _picture(np.stack([lungs] * 3, axis=-1)[::1, ::1], mask)
    return drawn


def _phantoms(kind: str, label: str) -> Iterator[Phantom]:
    classes = ["covid", "normal"] + (["pneumonia"] if kind == "xray3" else [])
    if label not in classes:
        return
    cohort = {
        "kind": kind,
        "patients": dict.fromkeys(classes, 200),
        "images_per_patient": 1,
        "marker_share": dict.fromkeys(classes, 0.0),
    }
    planned = plan_cohort(Cohort.model_validate(cohort), size_px=SIDE, seed=1)
    yield from (image.draw() for image in planned if image.label == label)


def _picture(pixels: np.ndarray, path: str) -> bytes:
    buffer = io.BytesIO()
    is_jpeg = path.lower().endswith((".jpg", ".jpeg"))
    Image.fromarray(pixels).save(buffer, format="JPEG" if is_jpeg else "PNG")
    return buffer.getvalue()


def write_tree(files: dict[str, bytes], folder: Path) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def zip_tree(files: dict[str, bytes], top: str = "") -> bytes:
    """Those below a top folder, all of them without one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            if path.startswith(top):
                archive.writestr(path, content)
    return stream.getvalue()


def _numbered(pattern: str, count: int, label: str, first: int = 1) -> dict[str, str | bytes]:
    return {pattern.format(number): label for number in range(first, first + count)}


def darkcovidnet() -> Layout:
    top = "COVID-19-master/X-Ray Image DataSet"
    files: dict[str, str | bytes] = {
        "COVID-19-master/README.md": b"read",
        "COVID-19-master/D.ipynb": b"{}",
    }
    files |= _numbered(top + "/Covid-19/covid-19-pneumonia-{}-PA.jpg", 9, "covid")
    files |= _numbered(top + "/No_findings/000012{:02}_000.png", 8, "normal")
    files |= {f"{top}/No_findings/00001201_001.png": "normal"}  # a patient's second picture
    files |= _numbered(top + "/Pneumonia/000055{:02}_003.png", 8, "pneumonia")
    files |= {f"{top}/Pneumonia/00001202_004.png": "pneumonia"}  # who has no findings in another
    return Layout(files, {"covid": 9, "normal": 9, "pneumonia": 9}, patients=16)


def sarscov2_ct() -> Layout:
    files = _numbered("COVID/Covid ({}).png", 9, "covid")
    files |= _numbered("non-COVID/Non-Covid ({}).png", 9, "normal")
    return Layout(files, {"covid": 9, "normal": 9}, kind="ct")


def ucsd_covid_ct() -> Layout:
    covid = [
        "2020.01.24.919183-p27-132.png",
        "2020.01.24.919183-p27-133.png",
        "2020.02.26.20026989-p34-114_1%1.png",
        "2020.02.26.20026989-p34-114_2%0.png",
        "2020.02.22.20024927-p18-66%2.png",
        "2020.03.08.20031658-p15-103.png",
        "2020.03.03.20030775-p12-93%0.png",
        "PIIS0140673620303603%0.png",
        "PIIS0140673620303603%8.png",
        "Talaromyces-marneffei-infection-relapse_2020_International-p1-12%3.png",
        "2020.03.07.20031393-p7-50%0.png",
    ]
    normal = ["0.jpg", "1%0.jpg", "1%1.jpg", "91%1.jpg", "102.png", "2341.png", *"3456"]
    normal = [name if "." in name else f"{name}.jpg" for name in normal]
    files: dict[str, str | bytes] = {f"CT_COVID/{name}": "covid" for name in covid}
    files |= {f"CT_NonCOVID/{name}": "normal" for name in normal}
    files |= {"__MACOSX/CT_COVID/._a.png": b"junk"}
    archives = {"CT_COVID.zip": "CT_COVID/", "CT_NonCOVID.zip": "CT_NonCOVID/"}
    images = {"covid": 11, "normal": 10}
    return Layout(files, images, patients=8 + 9, kind="ct", archives=archives)


def lung_ct() -> Layout:
    top = "COVID-19_Lung_CT_Scans"
    files = _numbered(top + "/COVID-19/COVID-19_{:04}.png", 16, "covid")
    files |= _numbered(top + "/Non-COVID-19/Non-COVID-19_{:03}.png", 9, "normal", first=3)
    files |= {f"{top}/COVID-19/desktop.ini": b"[.ShellClassInfo]"}
    return Layout(files, {"covid": 16, "normal": 9}, kind="ct")


def radiography() -> Layout:
    top = "COVID-19_Radiography_Dataset"
    files: dict[str, str | bytes] = {f"{top}/README.md.txt": b"read"}
    for folder, label in (
        ("COVID", "covid"),
        ("Normal", "normal"),
        ("Lung_Opacity", "pneumonia"),
        ("Viral Pneumonia", "pneumonia"),
    ):
        files |= _numbered(f"{top}/{folder}/images/{folder}-{{}}.png", 8, label)
        files |= {f"{top}/{folder}.metadata.xlsx": b"PK"}
    images = {"covid": 8, "normal": 8, "lung_opacity": 8, "viral_pneumonia": 8}
    return Layout(files, images, masks=32)


def kermany() -> Layout:
    files: dict[str, str | bytes] = {"chest_xray/__MACOSX/._train": b"junk"}
    for split, count in (("train", 8), ("val", 2), ("test", 4)):
        first = 900 if split == "val" else 1  # test counts anew
        pneumonia = f"chest_xray/{split}/PNEUMONIA/person{{}}_bacteria_1.jpeg"
        files |= _numbered(pneumonia, count, "pneumonia", first)
        name = "NORMAL2-IM-{:04}-0001.jpeg" if split == "val" else "IM-{:04}-0001.jpeg"
        files |= _numbered(f"chest_xray/{split}/NORMAL/{name}", count, "normal", first)
    files |= {"chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg": "pneumonia"}
    files |= {"chest_xray/chest_xray/train/NORMAL/IM-0001-0001.jpeg": "normal"}
    images = {"normal": 14, "pneumonia": 15}
    return Layout(files, images, patients=28, splits=frozenset({"train", "val", "test"}))


def itu_infected() -> Layout:
    files: dict[str, str | bytes] = {}
    for split, count in (("train", 8), ("validation", 4), ("test", 4)):
        for label, drawn in (("infected", "pneumonia"), ("normal", "normal")):
            name = f"Assignment 5 Dataset/{split}/{label}/{split[:2]}{{:04}}-9a3e-4f7c.png"
            files |= _numbered(name, count, drawn)
    images = {"normal": 16, "infected": 16}
    return Layout(files, images, splits=frozenset({"train", "val", "test"}))


def itu_covid() -> Layout:
    top = "A_05_Part_02_Dataset"
    files: dict[str, str | bytes] = _numbered(top + "/Test/{:04}-77ab.png", 5, "normal")
    for split, covid, count in (("Train", "covid-19", 8), ("Validation", "covid", 3)):
        for folder, label in ((covid, "covid"), ("pneumonia", "pneumonia"), ("normal", "normal")):
            files |= _numbered(f"{top}/{split}/{folder}/{split[:2]}{{:04}}.png", count, label)
    images = {"covid": 11, "pneumonia": 11, "normal": 11}
    return Layout(files, images, splits=frozenset({"train", "val"}))


def covidx() -> Layout:
    files: dict[str, str | bytes] = {}
    for split, count in (("train", 10), ("test", 4)):
        rows = []
        for number in range(1, count + 1):
            for label, drawn, origin in (
                ("positive", "covid", "stonybrook"),
                ("negative", "normal", "rsna"),
            ):
                name = f"{split}-{label}-{number}.png"
                rows.append(f"{split}{label}{number} {name} {label} {origin}")
                files[f"{split}/{name}"] = drawn
        files[f"{split}.txt"] = ("\n".join(rows) + "\n").encode()
    images = {"positive": 14, "negative": 14}
    return Layout(files, images, patients=28, splits=frozenset({"train", "test"}))


LAYOUTS = {
    "darkcovidnet": darkcovidnet,
    "sarscov2-ct": sarscov2_ct,
    "ucsd-covid-ct": ucsd_covid_ct,
    "lung-ct": lung_ct,
    "radiography": radiography,
    "kermany": kermany,
    "itu-infected": itu_infected,
    "itu-covid": itu_covid,
    "covidx": covidx,
}
