"""Labels that may be wrong: who judged them, and pictures of those most in doubt."""

from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image

from stages.config.text import visible
from stages.reporting.data_documents import LabelLook, SuspectedLabel
from stages.reporting.picture_store import open_original, to_uri
from stages.reporting.results import DatasetResults
from stages.reporting.table import Cell, Table, count_cell, figure_cell

SHOWN = 10  # pictures of a data set
SIDE_PX = 160
# Balanced accuracy against the given labels from which a list is worth a look. Of phantoms with 5 %
# of the labels flipped, models at 0.80 to 0.83 listed flips for one in three, those at 0.62 for one
# in ten, not much more than labels drawn at random (tests/benchmarks/label_errors.py).
TELLING = 0.75


class DoubtedImage(NamedTuple):
    """An image whose label is in doubt, with its picture as a data URI."""

    title: str
    lines: list[str]
    uri: str


class LabelSection(NamedTuple):
    """What the page shows of the labels of one data set.

    Attributes:
        table: who judged how many, and how many labels they doubt.
        summary: whose list is shown, or why none is.
        images: the labels most in doubt.
    """

    table: Table
    summary: str
    images: list[DoubtedImage]


def build_label_look(dataset: DatasetResults) -> LabelSection:
    """All sources in a table, and the list of the one that tells the given labels best."""
    looks = _sources(dataset)
    table = _table(looks)
    if not looks:
        nobody = "No view of this data set is named: nobody judged its labels."
        return LabelSection(table, nobody, [])
    best = max(looks, key=lambda name: (looks[name].balanced_accuracy or 0, looks[name].n_judged))
    summary = _summarise(best, looks[best])
    if not _is_telling(looks[best]):
        return LabelSection(table, summary, [])
    others = {name: look for name, look in looks.items() if name != best}
    return LabelSection(table, summary, _show(dataset, looks[best], others))


def _sources(dataset: DatasetResults) -> dict[str, LabelLook]:
    """By name: the cases, and of each view the plain model that sees all of it."""
    cases = {case.title: case.report.label_errors for case in dataset.cases}
    plain = {
        f"plain model on view {view}": audit.label_errors for view, audit in dataset.audits.items()
    }
    return cases | plain


def _is_telling(look: LabelLook) -> bool:
    return (look.balanced_accuracy or 0) >= TELLING


def _table(looks: Mapping[str, LabelLook]) -> Table:
    return Table(
        "Labels in doubt, by who judges: each image by models that saw nothing of its group",
        ["judged by", "images judged", "of", "balanced accuracy, given labels", "labels in doubt"],
        [
            [
                Cell(name, f"too few images of {', '.join(look.too_few)}" if look.too_few else ""),
                count_cell(look.n_judged),
                count_cell(look.n_images),
                figure_cell(look.balanced_accuracy),
                count_cell(len(look.suspected)),
            ]
            for name, look in looks.items()
        ],
    )


def _summarise(best: str, look: LabelLook) -> str:
    if not _is_telling(look):
        return (
            "No list is shown: none of these tells the given labels with a balanced accuracy of "
            f"{TELLING:.2f}, and the weaker a model, the more of its list are hard cases."
        )
    if not look.suspected:
        return f"{best}, which tells the given labels best, doubts none of them."
    return (
        f"{best} tells the given labels best, and doubts {len(look.suspected)} of "
        f"{look.n_judged}; all are listed by image_id under label_errors in its JSON "
        "(metrics/reports of a case, metrics/audit of a view)."
    )


def _show(
    dataset: DatasetResults, look: LabelLook, others: Mapping[str, LabelLook]
) -> list[DoubtedImage]:
    """The labels most in doubt; `others` judged as well, and may agree."""
    shown = []
    for one in look.suspected[:SHOWN]:
        picture = open_original(dataset, one.image_id)
        picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
        lines = [
            visible(dataset.facts_of(one.image_id)["source_path"]),
            _describe_agreement(one, others),
        ]
        title = (
            f"labelled {one.label} ({one.label_probability:.2f}), "
            f"likelier {one.likelier} ({one.likelier_probability:.2f})"
        )
        shown.append(DoubtedImage(title, [line for line in lines if line], to_uri(picture)))
    return shown


def _describe_agreement(one: SuspectedLabel, others: Mapping[str, LabelLook]) -> str:
    """How many of the others doubt the label too."""
    agreeing = sum(
        any(theirs.image_id == one.image_id for theirs in look.suspected)
        for look in others.values()
    )
    return f"in doubt by {agreeing} of the {len(others)} others" if others else ""
