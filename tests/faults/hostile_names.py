"""Hostile names of files, folders and patients, from a folder to the report.

    python -m tests.faults.hostile_names         # 100 names, half a minute

Two sources alike but for their names, hostile and harmless, go through `prepare` and `crop` as DVC
runs them. Names have to come back from every table as they are on the disk, with the picture that
is theirs; the logs have as many lines as the harmless ones, and none acts on a terminal. Then the
report is drawn with the names in every table of data, and in what stands below the maps: it has the
elements of the harmless report, no more, and shows every name.
"""

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from stages.config.csv_file import read_csv
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.config.text import DIRECTIONAL, visible
from stages.dataset.image_set import load_image_set
from stages.reporting.discussion import build_discussion
from stages.reporting.page import render_page
from stages.sources.listing import open_source
from tests.conftest import REPOSITORY, RawParams, load_raw_params, shrink, write_params
from tests.faults.broken_pictures import SIDE, draw, encode
from tests.hostile_names import HOSTILE_NAMES
from tests.reporting.conftest import make_files

PIECES = (
    *(
        "a",
        "1",
        "<b>",
        "<td>",
        "<script>",
        "&amp;",
        "&#x3c;",
        '"',
        "'",
        "\r",
        "\n",
        "\t",
        "\x1b[2J",
    ),
    *(
        "\u2028",
        "\u202e",
        ",",
        ";",
        "=cmd|x",
        "%",
        "{{",
        "}}",
        "{%",
        "$",
        "`",
        "\\",
        "\x7f",
        "\x85",
    ),
    *(
        "é",
        "e\u0301",
        "😀",
        "\u200d",
        "\ufeff",
        "\ufffe",
        "\U0010ffff",
        "--",
        "<!--",
        "]]>",
        "\xa0",
    ),
)
CLASSES = ("covid", "normal")
STAGES = (("prepare", "ct"), ("crop", "full"))


def make_names(count: int, rng: random.Random) -> list[str]:
    """The names that have broken something, and pieces of such put together."""
    names = dict.fromkeys(HOSTILE_NAMES)
    while len(names) < count:
        names["".join(rng.choices(PIECES, k=rng.randint(2, 8)))] = None
    return list(names)[:count]


def make_source(root: Path, names: Sequence[str], seed: int) -> dict[str, bytes]:
    """A patient of each name in each class; every sixth also has a file that is no picture."""
    rng = random.Random(seed)
    pictures = {}
    for number, name in enumerate(names):
        label = CLASSES[number % 2]
        folder = root / label / name
        folder.mkdir(parents=True)
        picture = draw(rng)
        (folder / name).write_bytes(encode(picture, "png"))
        pictures[f"{label}/{name}/{name}"] = picture.tobytes()
        if number % 6 == 0:
            (folder / f"{name}.png").write_bytes(b"no picture")
        if number % 6 == 1:
            (folder / f".{name}").write_bytes(b"hidden")
    return pictures


def make_params(source: Path) -> RawParams:
    raw = shrink(load_raw_params())
    group = {"kind": "pattern", "pattern": r"(?s)^[^/]+/(.+)/", "patients_per_class": False}
    raw["datasets"]["ct"] |= {
        "source": {"kind": "folder", "path": str(source)},
        **{"cohort": None, "group": group, "size_px": SIDE, "max_rejected": 1.0, "ignore": ["!*"]},
    }
    for view in raw["views"].values():
        view["size_px"] = SIDE
    return raw


def find_patients(raw: RawParams, scratch: Path) -> dict[str, str]:
    """Who is shown in each file, before any table is written."""
    with open_source(parse_params(raw).dataset("ct"), seed=0, scratch=scratch) as listing:
        return {item.source_path: item.patient_id or "" for item in listing.items}


def run_stages(raw: RawParams, root: Path) -> str:
    """Prepare and crop; returns what was printed."""
    root.mkdir()
    write_params(root / "params.yaml", raw)
    printed = b""
    for stage, name in STAGES:
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{stage}", name],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=False,
        )
        printed += done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"{stage} ended with {done.returncode}:\n{printed.decode()}")
    return printed.decode()


def find_log_faults(hostile: str, harmless: str) -> list[str]:
    """Lines beside those of the harmless log; there may be some of patients of such names."""
    acting = {c for c in hostile if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")} - {"\n"}
    acting |= DIRECTIONAL & set(hostile)
    faults = [f"the log has {acting!r}"] if acting else []
    lines = [line for line in hostile.split("\n") if "patient" not in line]
    expected = [line for line in harmless.split("\n") if "patient" not in line]
    if len(lines) != len(expected):
        faults.append(f"the log has other lines: {lines!r}, not {expected!r}")
    return faults


def find_table_faults(
    root: Path, pictures: dict[str, bytes], patients: dict[str, str]
) -> list[str]:
    """Names in the tables that are not on the disk, or have another one's picture or patient."""
    faults = []
    for folder in (Paths(root).prepared("ct"), Paths(root).view("full")):
        found = load_image_set(folder)
        paths = found.manifest["source_path"]
        rows = found.images if found.pictures is None else found.pictures
        if dict(zip(paths, map(np.ndarray.tobytes, rows), strict=True)) != pictures:
            faults.append(f"{folder}: other names or pictures")
        for path, patient in zip(paths, found.manifest["patient_id"], strict=True):
            if patient != patients[path]:
                faults.append(f"{path!r}: patient {patient!r}, not {patients[path]!r}")
    prepared = Paths(root).prepared("ct")
    for table, column in (("rejected", "file"), ("left_out", "path")):
        for name in read_csv(prepared / f"{table}.csv", str)[column]:
            label, _, rest = name.partition("/")
            folder_name, _, file_name = rest.partition("/")
            if label not in CLASSES or file_name not in (f"{folder_name}.png", f".{folder_name}"):
                faults.append(f"{table}.csv: {name!r} is not what is on the disk")
    return faults


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and its text.

    Classes are left out: a long text has one.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs if name != "class")))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment",))

    def handle_data(self, data: str) -> None:
        self.text += data


def draw_report(root: Path, names: Sequence[str]) -> str:
    """The page with the names wherever a name from outside can stand."""
    files = make_files(root)
    ct = files.datasets["ct"]
    whole = pd.DataFrame({"file": names, "reason": names})
    ct.rejected = whole
    ct.suspicious = pd.DataFrame({"file": names, "what": names})
    ct.reconciliation = pd.DataFrame({"named": names, "file": names, "how": names})
    leaks = {name: {"splits": ["train", "test"], "files": [name] * 5} for name in names}
    ct.grouping |= {"notes": list(names), "leaks": leaks}
    longest = max(names, key=len)
    files.update_info("ct", source=longest, suspicious=dict.fromkeys(names, 1))
    entry = files.params.datasets["ct"]
    texts = {"provenance": longest, "licence": longest, "ignore": list(names)}
    files.update_params(datasets={**files.params.datasets, "ct": entry.model_copy(update=texts)})
    for case in files.cases.values():
        for image, name in zip(case.cam["images"], names, strict=False):
            image["label"], image["prediction"] = name, name
    results = files.load()
    return render_page(results, build_discussion(results))


def find_page_faults(hostile: str, harmless: str, names: Sequence[str]) -> list[str]:
    page, expected = Elements(hostile), Elements(harmless)
    faults = [f"the page lacks {n!r}" for n in names if visible(n, keep="\n\t") not in page.text]
    if page.elements != expected.elements:
        pairs = zip(page.elements, expected.elements, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), None)
        faults.append(f"the page has other elements, the first: {first}")
    return faults


def run(count: int, seed: int, folder: Path) -> list[str]:
    """All faults, in a line each."""
    names = make_names(count, random.Random(seed))
    harmless = [f"n{number:03d}" for number in range(count)]
    logs, faults = {}, []
    for kind, used in (("hostile", names), ("harmless", harmless)):
        pictures = make_source(folder / f"{kind}-source", used, seed)
        raw = make_params(folder / f"{kind}-source")
        logs[kind] = run_stages(raw, folder / kind)
        patients = find_patients(raw, folder)
        faults += find_table_faults(folder / kind, pictures, patients)
    faults += find_log_faults(logs["hostile"], logs["harmless"])
    pages = [draw_report(folder / f"page-{k}", used) for k, used in enumerate((names, harmless))]
    return faults + find_page_faults(pages[0], pages[1], names)


def main() -> None:
    """Print how many names came through; end with 1 after a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="which stays there")
    given = parser.parse_args()
    logging.disable()  # of this process; those of the stages are looked at
    with tempfile.TemporaryDirectory() as temporary:
        faults = run(given.count, given.seed, given.folder or Path(temporary))
    print(*faults, sep="\n")
    print(f"{given.count} names: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
