"""What is known of the pixels, held against what was found: lungs, and where maps point."""

from collections.abc import Mapping, Sequence

import pandas as pd

from stages.config.text import visible
from stages.evaluation.statistics.records import Estimate, Paired
from stages.reporting.data_documents import Audit, LungAgreement
from stages.reporting.map_documents import Pointing
from stages.reporting.results import CaseResults
from stages.reporting.table import (
    Cell,
    Table,
    case_cell,
    count_cell,
    difference_cell,
    estimate_cell,
    figure_cell,
)
from stages.reporting.wording import METHOD_NAMES

HIT, SHARE = "peak_in_lesions", "in_lesions"


def build_lung_table(audits: Mapping[str, Audit]) -> Table:
    """Dice of the lungs found with the true ones: a row, as all views show the same pictures."""
    found = [audit.lungs for audit in audits.values() if audit.lungs is not None]
    return Table(
        "Lungs found against the lungs known, in the whole pictures: Dice, 1 where they are the "
        "same (mean with its 95 % interval, patients drawn whole)",
        ["images", "patients", "Dice", "median", "standard deviation", "said to be in doubt"],
        [_lung_row(lungs) for lungs in found[:1]],
        is_sortable=False,
    )


def _lung_row(lungs: LungAgreement) -> list[Cell]:
    return [
        count_cell(lungs.n),
        count_cell(lungs.n_groups),
        estimate_cell(lungs.dice),
        figure_cell(lungs.median),
        figure_cell(lungs.sd),
        count_cell(lungs.n_untrusted),
    ]


def build_worst_lungs_table(audits: Mapping[str, Audit]) -> list[Table]:
    """The images with the lowest Dice, by name, so that somebody can look."""
    found = [audit.lungs for audit in audits.values() if audit.lungs is not None][:1]
    return [
        Table(
            "The lungs that were found worst",
            ["file", "Dice", "quality"],
            [
                [Cell(visible(entry.file)), figure_cell(entry.dice), Cell(entry.quality)]
                for entry in lungs.worst
            ],
        )
        for lungs in found
    ]


def build_pointing_table(cases: Sequence[CaseResults]) -> list[Table]:
    """How often the maps of each case and method point into lesions; none where none are known."""
    scored = [(case, case.cam.pointing) for case in cases if case.cam.pointing is not None]
    if not scored:
        return []
    rows = [
        _pointing_row(case, found, method, pairs)
        for case, found in scored
        for method, pairs in found.methods.items()
    ]
    return [
        Table(
            "Do the maps point at what is known to be there? Maps of the true class on test images "
            "of known lesions (or of boxes around them): how often the highest pixel lies in one "
            "(pointing game, Zhang et al. 2018), and the share of the map inside, each beside a "
            "centred Gaussian, a map that knows nothing",
            [
                *("case", "map", "images", "points into them", "the Gaussian does", "difference"),
                *("verdict", "share inside", "the Gaussian's", "difference of the shares"),
            ],
            rows,
        ),
        *_out_of_view_table(scored),
    ]


def _pointing_row(
    case: CaseResults, found: Pointing, method: str, pairs: Mapping[str, Paired]
) -> list[Cell]:
    hits, share = pairs[HIT], pairs[SHARE]
    return [
        case_cell(case),
        Cell(METHOD_NAMES[method]),
        count_cell(found.n),
        _hits_cell(hits.first, found.n),
        _hits_cell(hits.second, found.n),
        difference_cell(hits.difference),
        Cell(verdict(hits.difference)),
        estimate_cell(share.first),
        estimate_cell(share.second),
        difference_cell(share.difference),
    ]


def _hits_cell(rate: Estimate, n: int) -> Cell:
    """A rate as so many of n; of equally high pixels, the share that hits counts."""
    cell = estimate_cell(rate)
    if rate.value is None:
        return cell
    return cell._replace(text=f"{round(rate.value * n, 1):g} of {n} ({rate.value:.3f})")


def verdict(difference: Estimate) -> str:
    """What the interval of the difference says of the maps."""
    if not difference.has_interval or difference.low is None:
        return "cannot be told"
    if not difference.excludes_zero:
        return "not shown to beat the Gaussian"
    return "above the Gaussian" if difference.low > 0 else "fails: below the Gaussian"


def _out_of_view_table(scored: Sequence[tuple[CaseResults, Pointing]]) -> list[Table]:
    """Images of known lesions that were not scored, where there are some."""
    rows = [
        [
            case_cell(case),
            count_cell(found.n_known),
            count_cell(found.n_out_of_view),
            count_cell(found.n_known - found.n_out_of_view - found.n),
        ]
        for case, found in scored
        if found.n < found.n_known
    ]
    columns = ["case", "test images of known lesions", "cut off by the crop", "not drawn"]
    return [Table("Not all of these images were scored", columns, rows)] if rows else []


def build_truth_files_table(lines: pd.DataFrame) -> Table:
    """Masks and boxes counted by what became of them."""
    kinds = lines.groupby(["kind", "how"])["file"].agg(["size", "first"]).reset_index()
    kinds = kinds.sort_values(["kind", "size"], ascending=[False, False], kind="stable")
    return Table(
        "Masks and boxes of known truth, and the images (all are listed in truth_files.csv)",
        ["kind", "matched by, or why not", "masks or rows", "the first"],
        [
            [Cell(kind), Cell(how), count_cell(count), Cell(visible(first))]
            for kind, how, count, first in kinds.itertuples(index=False)
        ],
    )
