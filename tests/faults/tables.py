"""Tables as people damage them: harmless changes must change nothing, others end in one line.

    python -m tests.faults.tables            # 6,000 tables, about half a minute

Half of the tables get changes that mean nothing (blanks, case, endings, slashes, `.0`, encodings,
separators): labels, patients and splits must come out as they were. The other half get cells that
mean something else or nothing: a UserError of one line, or images of known classes.
"""

import argparse
import csv
import io
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Dataset
from stages.sources.item import RawImage, SourceItem
from stages.sources.table import apply_table
from tests.conftest import load_raw_params, shrink

COLUMNS = ("file", "label", "patient", "split", "fold", "age")
CLASSES = ("covid", "normal")
FILES = [f"{label}/{number}.png" for label in CLASSES for number in range(8)]
ROWS = [
    [file, file.partition("/")[0], str(number), "train", str(number % 3), "50"]
    for number, file in enumerate(FILES)
]

HARMLESS: tuple[Callable[[str], str], ...] = (
    lambda cell: f"{cell} ",
    lambda cell: f"\u200b {cell}\u00a0",  # invisible, and a no-break space
    str.upper,
    lambda cell: f"{cell}.0" if cell.isdigit() else cell,
    lambda cell: cell.replace("/", "\\"),
    lambda cell: f"./{cell}" if "/" in cell else cell,
    lambda cell: f"data/{cell}" if "/" in cell else cell,
    lambda cell: cell.removesuffix(".png"),
    lambda cell: cell.replace(".png", ".JPG"),
)
MEANINGS = ("", "NA", "-", "1E+400", "..", "/", "*", "\r\n", "a\rb", "\U0001f600", "e\u0301", "x;y")


def damage(rng: random.Random, *, is_harmless: bool) -> bytes:
    """The rows with one to eight cells changed, as a file of some kind."""
    rows = [list(row) for row in ROWS]
    for _ in range(rng.randint(1, 8)):
        row, column = rng.choice(rows), rng.randrange(len(COLUMNS))
        row[column] = rng.choice(HARMLESS)(row[column])
        if not is_harmless:
            row[column] = rng.choice(MEANINGS)
    text = io.StringIO()
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    end = rng.choice(("\n", "\r\n"))
    writer = csv.writer(text, delimiter=rng.choice(",;\t|"), lineterminator=end, quoting=quoting)
    writer.writerows([COLUMNS, *rows])
    return text.getvalue().encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))


def outcome(content: bytes, root: Path, dataset: Dataset, *, is_harmless: bool) -> str:
    """`same`, `other` or `refused`; anything else is an AssertionError."""
    (root / "m.csv").write_bytes(content)
    files = [SourceItem(file, "", None, None, "", lambda: RawImage(b"")) for file in FILES]
    items, message = files, ""
    try:
        items = apply_table(files, dataset, root).items
    except UserError as error:
        message = str(error)
    if message:
        assert not is_harmless, (content, message)
        assert len(message.splitlines()) == 1, (content, message)
        return "refused"
    found = [[i.source_path, i.label, i.patient_id, i.split, i.fold] for i in items]
    if found == [row[:5] for row in ROWS]:
        return "same"
    assert not is_harmless, (content, found)
    assert {item.label for item in items} == set(CLASSES)
    return "other"


def run(count: int, seed: int) -> Counter[tuple[str, str]]:
    """Outcomes of that many tables, by kind of damage."""
    raw = shrink(load_raw_params())
    columns = {name: name for name in COLUMNS[:5]}
    raw["datasets"]["ct"] |= {"table": columns | {"path": "m.csv"}}
    dataset, rng = parse_params(raw).dataset("ct"), random.Random(seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as root:
        for number in range(count):
            is_harmless = number % 2 == 0
            content = damage(rng, is_harmless=is_harmless)
            found = outcome(content, Path(root), dataset, is_harmless=is_harmless)
            outcomes["harmless" if is_harmless else "other cells", found] += 1
    return outcomes


def main() -> None:
    """Print what became of the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for (kind, found), count in sorted(run(given.count, given.seed).items()):
        print(f"{kind}: {found} {count}")


if __name__ == "__main__":
    main()
