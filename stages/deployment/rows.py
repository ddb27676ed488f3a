"""What is said of pictures, a row each, as CSV or as JSON lines; written as it comes."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from stages.config.text import visible
from stages.config.writing import replacing

FORMATS = ("csv", "json")
SEPARATOR = "; "  # between the warnings of a picture, in CSV


class Row(NamedTuple):
    """What is said of one picture, or why nothing is.

    Attributes:
        file: its name as given; bytes that are no UTF-8 are surrogates, as Python has them.
        predicted: the likeliest class; "" where it could not be read.
        probabilities: class to calibrated probability; empty where it could not be read.
        decision: of the operating point; "" where it could not be read.
        warnings: what a person should know.
        error: why it could not be read; "" where it could.
        overlay: name of the file of its overlay; "" where none was asked for.
    """

    file: str
    predicted: str
    probabilities: dict[str, float]
    decision: str
    warnings: Sequence[str]
    error: str
    overlay: str = ""


Write = Callable[[Row], None]


@contextmanager
def writing(
    output: Path | None, kind: str, class_names: Sequence[str], *, overlay: bool
) -> Iterator[Write]:
    """Give what writes a row: to standard output at once, or to a file that is there in the end.

    Args:
        output: the file; None for standard output.
        kind: of FORMATS.
        class_names: in the order of the columns.
        overlay: whether there are overlays.
    """
    if output is None:
        with _open_text(sys.stdout.fileno(), closefd=False) as stream:
            yield _writer(stream, kind, class_names, overlay)
        return
    with replacing(output) as partial, _open_text(partial) as stream:
        yield _writer(stream, kind, class_names, overlay)


def _open_text(file: int | Path, *, closefd: bool = True) -> TextIO:
    """UTF-8 whatever the locale says, a line at a time."""
    return open(file, "w", buffering=1, encoding="utf-8", newline="", closefd=closefd)


def _writer(stream: TextIO, kind: str, class_names: Sequence[str], overlay: bool) -> Write:
    if kind == "json":
        return lambda row: _write_json(stream, row, overlay)
    probabilities = [f"probability_{name}" for name in class_names]
    columns = ["file", "class", *probabilities, "decision", "warnings", "error"]
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*columns, *(["overlay"] if overlay else [])])
    return lambda row: table.writerow(_cells(row, class_names, overlay))


def _cells(row: Row, class_names: Sequence[str], overlay: bool) -> list[Any]:
    """Of a CSV; text that would act on a terminal or end a line is written out."""
    return [
        visible(row.file),
        row.predicted,
        *(row.probabilities.get(name, "") for name in class_names),
        row.decision,
        visible(SEPARATOR.join(row.warnings)),
        visible(row.error),
        *([row.overlay] if overlay else []),
    ]


def _write_json(stream: TextIO, row: Row, overlay: bool) -> None:
    r"""One object a line; names come back as they are, undecodable bytes as \udc80 to \udcff."""
    content: dict[str, Any] = {
        "file": row.file,
        "class": row.predicted or None,
        "probabilities": row.probabilities or None,
        "decision": row.decision or None,
        "warnings": list(row.warnings),
        "error": row.error or None,
    }
    if overlay:
        content["overlay"] = row.overlay or None
    stream.write(json.dumps(content) + "\n")
