"""The scores of class activation maps, and what became of the checks of the maps."""

from collections.abc import Iterable, Mapping, Sequence

from stages.reporting.map_documents import CamScores, Checks, Mean
from stages.reporting.results import CaseResults
from stages.reporting.table import Cell, Table, case_cell, estimate_cell, figure_cell
from stages.reporting.wording import METHOD_NAMES, label, method_label

BASELINES = {"constant": "a constant map", "gaussian": "a centred Gaussian"}
CHECK_COLUMNS = {"head": "head random", "all": "all weights random"}
CHECK_CAPTIONS = {
    "agreement": "Agreement of two methods: rank correlation of their maps",
    "randomisation": "Maps of the same network with random weights: rank correlation with its own "
    "(a map that explains the network must change; Adebayo et al. 2018)",
    "road": "ROAD: change of the class's probability as pixels are removed, the most and the least "
    "relevant first; combined: half the difference, the higher the better (Rong et al. 2022)",
}


def build_score_table(cases: Sequence[CaseResults]) -> Table:
    """Mean scores of the maps of each case and method, and of maps that look at nothing."""
    scores = _keys(means for case in cases for means in case.cam.summary.values())
    masks = sorted({case.cam.lung_masks for case in cases})
    return Table(
        "Scores of the maps: means over the images drawn at random, those of lesions over the "
        f"right predictions among them. Lungs from: {' and '.join(masks)}",
        ["case", "map", "target layer", *map(label, scores)],
        [
            [
                case_cell(case),
                Cell(METHOD_NAMES.get(method) or BASELINES[method]),
                Cell(case.cam.target_layer),
                *(_mean_cell(means.get(score)) for score in scores),
            ]
            for case in cases
            for method, means in case.cam.summary.items()
        ],
    )


def build_check_tables(cases: Sequence[CaseResults]) -> list[Table]:
    """Agreement of the methods, randomised weights and ROAD, as far as the cases have them."""
    return [
        _check_table(cases, check, caption)
        for check, caption in CHECK_CAPTIONS.items()
        if any(_checks(case.cam, check) for case in cases)
    ]


def _check_table(cases: Sequence[CaseResults], check: str, caption: str) -> Table:
    columns = _keys(means for case in cases for means in _checks(case.cam, check).values())
    return Table(
        caption,
        ["case", "map", *(CHECK_COLUMNS.get(column, label(column)) for column in columns)],
        [
            [
                case_cell(case),
                Cell(method_label(name)),
                *(_mean_cell(means.get(column)) for column in columns),
            ]
            for case in cases
            for name, means in _checks(case.cam, check).items()
        ],
    )


def _checks(cam: CamScores, check: str) -> Checks:
    found: Checks = getattr(cam, check)
    return found


def _mean_cell(found: Mean | None) -> Cell:
    """A mean over its interval and the number of images that it rests on."""
    if found is None:
        return figure_cell(None)
    return estimate_cell(found.estimate).with_note(f"n = {found.n}")


def name_not_class_specific(cases: Sequence[CaseResults]) -> str:
    """The methods whose maps are the same for every class, in words."""
    methods = _keys(case.cam.not_class_specific for case in cases)
    return ", ".join(map(method_label, methods))


def _keys(entries: Iterable[Mapping[str, object] | Sequence[str]]) -> list[str]:
    """All keys, in the order in which they first come."""
    return list(dict.fromkeys(key for entry in entries for key in entry))
