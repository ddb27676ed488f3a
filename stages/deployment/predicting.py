"""Every file through a trained case, a batch at a time, and its row written as soon as it is known.

Memory holds the models of the case and the pictures of one batch, however many files there are.
"""

import logging
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.progress import progress
from stages.dataset.task import Task
from stages.deployment.files import File
from stages.deployment.input_pictures import Picture, open_pictures
from stages.deployment.rows import Row, writing
from stages.deployment.trained import DeployedCase
from stages.imaging.pool import open_pool
from stages.modeling.compute import choose_hardware, keep_freed_memory
from stages.modeling.data import EVAL_BATCH_SIZE

if TYPE_CHECKING:
    from stages.deployment.case_overlays import Overlays

logger = logging.getLogger(__name__)

# Files from which workers, who import for about 2 s each, gain time: one takes some 15 ms.
POOLED_FROM = 500


class Wanted(NamedTuple):
    """What is asked for.

    Attributes:
        case: name of a trained case.
        point: operating point.
        kind: format of the rows.
        output: file of the rows; None for standard output.
        overlay: folder of the overlays; None for none.
    """

    case: str
    point: str
    kind: str
    output: Path | None
    overlay: Path | None


def predict_files(files: Sequence[File], wanted: Wanted, params: Params, paths: Paths) -> int:
    """Write a row for every picture; returns how many files could not be read."""
    keep_freed_memory()
    device = choose_hardware(params.compute).device
    case = DeployedCase(wanted.case, wanted.point, paths, device)
    overlays = None
    if wanted.overlay is not None:
        from stages.deployment.case_overlays import Overlays  # matplotlib: 0.3 s

        overlays = Overlays(case.case, params.cam, wanted.overlay)
    counts: Counter[str] = Counter()
    open_one = partial(open_pictures, info=case.info, keep_place=overlays is not None)
    names = case.info.class_names
    with (
        open_pool(open_one, use_pool=len(files) >= POOLED_FROM) as open_all,
        writing(wanted.output, wanted.kind, names, overlay=overlays is not None) as write,
    ):
        for some in _batches(files, wanted):
            pictures = [one for found in open_all((file,) for file in some) for one in found]
            for row in _rows(pictures, case, overlays):
                write(row)
                _count(row, counts)
    _log_summary(counts, wanted.case)
    return counts["unreadable"]


def _batches(files: Sequence[File], wanted: Wanted) -> Iterator[Sequence[File]]:
    """As many files as a network is given images at once."""
    starts: Iterable[int] = range(0, len(files), EVAL_BATCH_SIZE)
    if wanted.output is not None or not sys.stdout.isatty():  # else the rows show it
        total = math.ceil(len(files) / EVAL_BATCH_SIZE)
        starts = progress(starts, f"{wanted.case}: batches of {EVAL_BATCH_SIZE} files", total)
    for start in starts:
        yield files[start : start + EVAL_BATCH_SIZE]


def _rows(
    pictures: Sequence[Picture], case: DeployedCase, overlays: "Overlays | None"
) -> Iterator[Row]:
    """The row of each picture, in their order."""
    ready = [picture for picture in pictures if picture.row is not None]
    judged = iter(_judge(ready, case, overlays) if ready else [])
    for picture in pictures:
        if picture.row is None:
            yield Row(picture.name, "", {}, "", picture.warnings, picture.error)
        else:
            yield next(judged)


def _judge(
    pictures: Sequence[Picture], case: DeployedCase, overlays: "Overlays | None"
) -> Iterator[Row]:
    """The rows of pictures that could be read."""
    rows = [picture.row for picture in pictures if picture.row is not None]
    images = np.stack([row.image for row in rows])
    said = case.judge(images, [row.size for row in rows])
    likeliest = said.probabilities.argmax(axis=1)
    drawn = [""] * len(pictures)
    if overlays is not None:
        places = [row.place for row in rows if row.place is not None]  # kept where drawn on
        drawn = overlays.draw(images, likeliest, places, [picture.name for picture in pictures])
    names = case.info.class_names
    for number, picture in enumerate(pictures):
        yield Row(
            picture.name,
            names[likeliest[number]],
            dict(zip(names, said.probabilities[number].tolist(), strict=True)),
            _decision(case.info.task, positive=bool(said.is_positive[number])),
            [*_say_unlike(said.unlike[number]), *picture.warnings],
            "",
            drawn[number],
        )


def _say_unlike(respects: Sequence[str]) -> list[str]:
    return [f"unlike the training images: {', '.join(respects)}"] if respects else []


def _decision(task: Task, *, positive: bool) -> str:
    """The positive class or what is not it: the other class of two, `not <class>` of more."""
    if positive:
        return task.positive_name
    if len(task.class_names) == 2:
        return task.class_names[1 - task.positive]
    return f"not {task.positive_name}"


def _count(row: Row, counts: Counter[str]) -> None:
    counts["pictures"] += 1
    counts["unreadable"] += bool(row.error)
    counts["warned of"] += bool(row.warnings)


def _log_summary(counts: Counter[str], case: str) -> None:
    """What a person would look for in the rows."""
    said = f"{case}: {counts['pictures'] - counts['unreadable']} pictures predicted"
    if counts["warned of"]:
        said += f", {counts['warned of']} of them with a warning"
    logger.info("%s", said)
    if counts["unreadable"]:
        logger.warning("%d could not be read; why stands in `error`", counts["unreadable"])
