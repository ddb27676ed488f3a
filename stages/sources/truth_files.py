"""Files of truth: which mask, and which boxes, belong to which image of a source.

Masks are called as their images are: the same path, else the same name, in any spelling that rows
of a table may have (`matching.py`), else one with a word such as `_mask` behind it. Several masks
of one image, such as those of both lungs, count together. Boxes stand in a table, in shares of the
picture, so that they hold at any size. Nothing is dropped unsaid: each mask and each row is a line
of `truth_files.csv`, with what became of it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from stages.config.errors import UserError, suggest
from stages.config.params import FilesTruth
from stages.sources.identity import is_missing, tidy
from stages.sources.item import ImageTruth, RelativeBox, SourceItem
from stages.sources.matching import Found, has_image_ending, match_names
from stages.sources.table_file import read_table_file

TRUTH_FILES = "truth_files.csv"
EDGES = ("x0", "y0", "x1", "y1")
MASK, BOX = "mask", "box"
NO_IMAGE, SEVERAL = "fits no image", "fits several images"
NO_BOX, OTHER_FINDING = "row without a box", "finding not asked for"
UNUSABLE, NOT_READ = "cannot be used", "its image was rejected"
UNMATCHED = (NO_IMAGE, SEVERAL, UNUSABLE)
NOT_COUNTED = (NO_BOX, OTHER_FINDING, NOT_READ)
# What a box may lie beyond the picture, from rounding in other tools.
TOLERANCE = 0.005
# Words behind the name of the image in that of its mask.
SUFFIX = re.compile(r"(?i)[-_. ]+(lung[-_ ]?)?(masks?|lungs?|segmentation|seg|labels?|annotation)$")


class TruthLine(NamedTuple):
    """What became of a mask or of a row: a line of truth_files.csv.

    Attributes:
        kind: mask or box.
        file: the mask, or the table, inside the folder of truth.
        row: of the table, 1 for the column names; nothing of a mask.
        image: path inside the source, or nothing.
        how: the rule by which they matched, or why this is of no use.
        note: what else there is to say.
    """

    kind: str
    file: str
    row: str
    image: str
    how: str
    note: str = ""


@dataclass(frozen=True)
class FoundTruth:
    """Images with what is known of them, and what became of every mask and row."""

    items: list[SourceItem]
    lines: list[TruthLine]


def find_truth(items: Sequence[SourceItem], truth: FilesTruth) -> FoundTruth:
    """Give each image its masks and boxes.

    Args:
        items: images of the source.
        truth: where masks and boxes are.

    Raises:
        UserError: a folder or table is not there, a box is none, or nothing fits any image.
    """
    root = Path(truth.path)
    if not root.is_dir():
        raise UserError(
            f"truth.path: got {truth.path!r}: there is no such folder; correct the path, or set "
            "truth to {kind: source, path: stages/dataset/truth.py}"
        )
    paths = [item.source_path for item in items]
    masks, lines = _find_masks(root, truth.lungs, paths) if truth.lungs is not None else ({}, [])
    if truth.boxes is not None:
        boxes, of_boxes = _find_boxes(root, truth.boxes, truth.findings, paths)
        lines += of_boxes
    else:
        boxes = {}
    return FoundTruth(
        [
            replace(
                item,
                truth=ImageTruth(
                    tuple(root / mask for mask in masks.get(item.source_path, ())),
                    tuple(boxes.get(item.source_path, ())),
                ),
            )
            for item in items
        ],
        lines,
    )


def require_truth_matched(
    lines: Iterable[TruthLine], max_unmatched: float, *, listed_in: str
) -> None:
    """Refuse truth of which too much fits no image, or none of it does.

    Args:
        lines: what became of each mask and row.
        max_unmatched: the share of either that may be of no use.
        listed_in: where all are listed, or nothing, for the message.

    Raises:
        UserError: more of the masks or boxes are of no use, or all.
    """
    counted = [line for line in lines if line.how not in NOT_COUNTED]
    problems = []
    for kind, said in ((MASK, "masks"), (BOX, "boxes")):
        of_kind = [line for line in counted if line.kind == kind]
        lost = [line for line in of_kind if line.how in UNMATCHED]
        if lost and (len(lost) > max_unmatched * len(of_kind) or len(lost) == len(of_kind)):
            problems.append(f"{len(lost)} of {len(of_kind)} {said}: {_first(lost[0])}")
    if problems:
        raise UserError(
            f"truth: of no use are {'; '.join(problems)}; allowed: a share of {max_unmatched:g} of "
            f"either (truth.max_unmatched), and never all{listed_in}; correct the files, or raise "
            "the share if they are also of images that are not here"
        )


def tabulate_lines(lines: Iterable[TruthLine]) -> pd.DataFrame:
    """As truth_files.csv has them."""
    return pd.DataFrame(lines, columns=list(TruthLine._fields))


def _first(line: TruthLine) -> str:
    where = f", row {line.row}" if line.row else ""
    note = f" ({line.note})" if line.note else ""
    return f"{line.file!r}{where} {line.how}{note}"


def _inside(root: Path, name: str, where: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{where}: got {name!r}; allowed: a path inside truth.path, so that DVC sees it change"
        )
    return root / path


def _find_masks(
    root: Path, name: str, paths: Sequence[str]
) -> tuple[dict[str, list[str]], list[TruthLine]]:
    """Masks of each image, by paths inside the root, and a line per mask."""
    folder = _inside(root, name, "truth.lungs")
    folders = {folder: paths} if folder.is_dir() else _folders_like(root, name, paths)
    if not folders:
        raise UserError(f"truth.lungs: got {name!r}: there is no such folder in {str(root)!r}")
    of_image: dict[str, list[str]] = defaultdict(list)
    lines = []
    for here, images in folders.items():
        masks = sorted(_pictures_below(here))
        matches = _match_masks(masks, images)
        for mask in masks:
            file = (here / mask).relative_to(root).as_posix()
            line = _line(MASK, file, "", matches.get(mask))
            lines.append(line)
            if line.image:
                of_image[line.image].append(file)
    if not lines:
        raise UserError(f"truth.lungs: there is no picture in {str(folder)!r}; correct the path")
    return of_image, lines


def _folders_like(root: Path, pattern: str, paths: Sequence[str]) -> dict[Path, Sequence[str]]:
    """Folders of a pattern such as `*/masks`, and the images that their masks may be of.

    Those are what lies in the folder around, as COVID/images does for COVID/masks, where names may
    be the same in each class; all images where nothing lies there.
    """
    try:
        found = sorted(path for path in root.glob(pattern) if path.is_dir())
    except (ValueError, NotImplementedError):  # no pattern that pathlib knows
        return {}
    outermost = [path for path in found if not set(path.parents) & set(found)]
    around = {path: f"{path.parent.relative_to(root).as_posix()}/" for path in outermost}
    return {
        path: [image for image in paths if image.startswith(above)] or paths
        for path, above in around.items()
    }


def _pictures_below(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in files:
            if has_image_ending(file) and not file.startswith("."):
                yield Path(here, file).relative_to(folder).as_posix()


def _match_masks(masks: Sequence[str], paths: Sequence[str]) -> dict[str, Found]:
    """The image of every mask that has one: by its path, its name, or one without `_mask`."""
    found: dict[str, Found] = {}
    for said, read in MASK_NAMES:
        left = [mask for mask in masks if mask not in found]
        taken = {found.files[0] for found in found.values() if len(found.files) == 1}
        free = [path for path in paths if path not in taken]
        matches = match_names([read(mask) for mask in left], free)
        for mask in left:
            if (match := matches.get(read(mask))) is not None:
                found[mask] = match._replace(how=match.how + said)
    return found


def _name(mask: str) -> str:
    return PurePosixPath(mask).name


def _without_suffix(mask: str) -> str:
    path = PurePosixPath(mask)
    stem = SUFFIX.sub("", path.stem)
    return path.with_name((stem or path.stem) + path.suffix).as_posix()


MASK_NAMES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda mask: mask),
    (" alone", _name),
    (", suffix left out", _without_suffix),
    (" alone, suffix left out", lambda mask: _name(_without_suffix(mask))),
)


def _find_boxes(
    root: Path, name: str, findings: Sequence[str], paths: Sequence[str]
) -> tuple[dict[str, list[RelativeBox]], list[TruthLine]]:
    """Boxes of each image, and a line per row."""
    path, where = _inside(root, name, "truth.boxes"), f"truth.boxes: {name!r}"
    if not path.is_file():
        raise UserError(f"{where}: there is no such file in {str(root)!r}")
    rows = read_table_file(path, ["file", "finding", *EDGES], where).rows
    _require_findings(findings, [tidy(finding) for finding in rows["finding"]], where)
    matches = match_names([n for n in rows["file"] if not is_missing(tidy(n))], paths)
    of_image: dict[str, list[RelativeBox]] = defaultdict(list)
    lines = []
    for number, file, finding, *edges in rows.itertuples():
        box = _read_box([tidy(edge) for edge in edges], f"{where}, row {number}")
        line = _line(BOX, name, str(number), matches.get(file), note=tidy(finding))
        if box is None:
            line = line._replace(how=NO_BOX)
        elif findings and tidy(finding) not in findings:
            line = line._replace(how=OTHER_FINDING)
        elif line.image:
            of_image[line.image].append(box)
        lines.append(line)
    return of_image, lines


def _require_findings(asked: Sequence[str], there: Sequence[str], where: str) -> None:
    known = sorted(set(there))
    for finding in asked:
        if finding not in known:
            raise UserError(
                f"truth.findings: got {finding!r}{suggest(finding, known)}; {where} has: "
                f"{', '.join(known)}"
            )


def _read_box(edges: Sequence[str], where: str) -> RelativeBox | None:
    """The box of a row; None where all of its cells are empty."""
    if all(is_missing(edge) for edge in edges):
        return None
    try:
        x0, y0, x1, y1 = map(float, edges)
    except ValueError:
        raise UserError(f"{where}: got {', '.join(edges)}; allowed: four numbers") from None
    is_inside = all(-TOLERANCE <= edge <= 1 + TOLERANCE for edge in (x0, y0, x1, y1))
    if not (is_inside and x0 < x1 and y0 < y1):
        raise UserError(
            f"{where}: got {', '.join(edges)}; allowed: x0 < x1 and y0 < y1 from 0 to 1, shares of "
            "the picture's width and height; divide pixels by these"
        )
    return RelativeBox(*(min(max(edge, 0.0), 1.0) for edge in (x0, y0, x1, y1)))


def _line(kind: str, file: str, row: str, match: Found | None, note: str = "") -> TruthLine:
    if match is None:
        return TruthLine(kind, file, row, "", NO_IMAGE, note)
    if len(match.files) > 1:
        return TruthLine(kind, file, row, "", SEVERAL, note or ", ".join(match.files[:3]))
    return TruthLine(kind, file, row, match.files[0], match.how, note)


def with_outcomes(
    lines: Iterable[TruthLine], unusable: Mapping[str, str], rejected: Iterable[str], root: str
) -> list[TruthLine]:
    """The lines once the images were read.

    Args:
        lines: of `find_truth`.
        unusable: path of a mask to why it cannot be used.
        rejected: images that could not be read.
        root: folder of truth.
    """
    gone = set(rejected)
    told = []
    for line in lines:
        reason = unusable.get(str(Path(root) / line.file)) if line.kind == MASK else None
        if line.image in gone:
            line = line._replace(how=NOT_READ)
        elif reason is not None:
            line = line._replace(how=UNUSABLE, note=reason)
        told.append(line)
    return told
