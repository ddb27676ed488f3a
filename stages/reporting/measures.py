"""What a statistician asks of a case: is it calibrated, is it worth acting on, what errors cost."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from stages.evaluation.statistics.records import Estimate
from stages.reporting.documents import CalibrationPair
from stages.reporting.measure_documents import BenefitElsewhere, DecisionCurve
from stages.reporting.results import CaseResults
from stages.reporting.table import Cell, Table, case_cell, estimate_cell, marked_cell
from stages.reporting.wording import Mark, as_text, ends_text

SHOWN_THRESHOLDS = (0.1, 0.25, 0.5)
ERROR_FIGURES = {
    "expected_cost": "expected cost",
    "expected_cost_normalised": "as a share of the best constant decision's",
    "expected_cost_cheapest": "deciding for the cheapest",
    "weighted_kappa": "weighted kappa",
}
RECALIBRATION_COLUMNS = [
    f"{name} {side}" for name in ("intercept", "slope") for side in ("before", "after")
]
# The question first: a reader looks for that. Sources: Van Calster et al. 2025, Maier-Hein et al.
# 2024 (Metrics Reloaded), Vickers and Elkin 2006.
GUIDE = (
    ("Are positives ranked above the others?", "AUROC", "essential; no threshold, no prevalence"),
    (
        "Does 30 % mean 30 in 100?",
        "calibration plot, intercept, slope",
        "essential; intercept 0 and slope 1 are right, a slope below 1 is too sure",
    ),
    (
        "Is it worth acting on?",
        "net benefit, decision curve",
        "essential; against acting on all and on none, by what a false alarm is worth",
    ),
    (
        "How far apart are the classes?",
        "distribution of the probabilities",
        "essential; look for overlap and for certainty that is wrong",
    ),
    (
        "How good are the probabilities as a whole?",
        "log loss, Brier score, root Brier score",
        "proper; the root is on the scale of a probability",
    ),
    (
        "Is every class calibrated?",
        "class-wise ECE; ECE for the predicted class",
        "depends on bins and grows with few images; compare, do not judge",
    ),
    (
        "What does it find, what does it clear?",
        "sensitivity, specificity, LR+, LR\N{MINUS SIGN}",
        "at one threshold; without the prevalence",
    ),
    (
        "How often is a call right?",
        "PPV, NPV; precision",
        "at the prevalence that stands beside it; that of a test set is not a clinic's",
    ),
    (
        "And where so many have to be found, or cleared?",
        "specificity and PPV at sensitivity 90, 95 %; sensitivity at specificity",
        "threshold from val",
    ),
    (
        "What do the errors cost?",
        "expected cost",
        "needs evaluate.costs; as a share below 1",
    ),
    (
        "How far off are grades?",
        "weighted kappa",
        "needs evaluate.ordered; depends on how many are of each grade",
    ),
    (
        "How many are right, with classes alike?",
        "balanced accuracy; accuracy as they come",
        "takes all errors as equal",
    ),
    (
        "What did others report?",
        "F1",
        "kept for that: ignores true negatives; neither proper nor about a decision",
    ),
)


def build_guide() -> Table:
    """Which measure answers which question."""
    return Table(
        "Which measure answers which question",
        ["question", "measure", "note"],
        [[Cell(part) for part in row] for row in GUIDE],
        is_sortable=False,
    )


def build_recalibration_table(cases: Sequence[CaseResults]) -> Table:
    """Intercept and slope of each class, before and after the temperatures."""
    return recalibration_table(
        "Calibration of each class against the rest: intercept (0: as many as foretold) and slope "
        "(below 1: too sure), before and after temperature scaling on val",
        [(case.name, case.marks, case.report.calibration) for case in cases],
    )


def recalibration_table(
    caption: str, found: Iterable[tuple[str, Sequence[Mark], CalibrationPair]]
) -> Table:
    """A row per case and class; of two classes the positive one."""
    rows = [
        [
            marked_cell(name, marks),
            Cell(class_name),
            *map(_reasoned, (before.intercept, after.intercept, before.slope, after.slope)),
        ]
        for name, marks, pair in found
        for class_name, before in pair.before.classes.items()
        for after in [pair.after.classes[class_name]]
    ]
    return Table(caption, ["case", "class", *RECALIBRATION_COLUMNS], rows)


def build_decision_table(cases: Sequence[CaseResults]) -> Table:
    """Likelihood ratios, where acting is worth it, and what errors cost where that is known."""
    elsewhere = [found.prevalence for found in cases[0].report.decision_curve.at_prevalences]
    costs = [name for name in ERROR_FIGURES if any(name in c.figures.figures for c in cases)]
    return Table(
        "Decisions, positive class against the rest. Net benefit is in hits per image; acting "
        "pays where it is more than that of acting on all and on none",
        [
            *("case", "LR+", "LR\N{MINUS SIGN}", "root Brier score", "positives of test"),
            *(f"net benefit at {threshold:g}" for threshold in SHOWN_THRESHOLDS),
            "acting pays from (by interval)",
            *(f"acting pays from, {100 * share:g} % ill" for share in elsewhere),
            *(ERROR_FIGURES[name] for name in costs),
        ],
        [_decision_row(case, costs) for case in cases],
    )


def _decision_row(case: CaseResults, costs: Sequence[str]) -> list[Cell]:
    figures, curve = case.figures, case.report.decision_curve
    main = (figures.get(name) for name in ("lr_positive", "lr_negative", "root_brier"))
    share = f"{curve.prevalence:.1%}"
    return [
        case_cell(case),
        *map(estimate_cell, main),
        Cell(share, number=curve.prevalence, is_figure=True),
        *(_benefit_cell(curve, threshold) for threshold in SHOWN_THRESHOLDS),
        Cell(_ranges(curve.threshold, [low is not None and low > 0 for low in curve.gain.low])),
        *(_elsewhere_cell(curve.threshold, found) for found in curve.at_prevalences),
        *(estimate_cell(figures.get(name)) for name in costs),
    ]


def _benefit_cell(curve: DecisionCurve, threshold: float) -> Cell:
    """Net benefit, its interval and that of acting on all."""
    at, band = curve.threshold.index(threshold), curve.net_benefit
    cell = estimate_cell(Estimate(band.value[at], band.low[at], band.high[at]))
    return cell.with_note(f"all: {as_text(curve.treat_all[at])}")


def _elsewhere_cell(thresholds: Sequence[float], found: BenefitElsewhere) -> Cell:
    worth = [
        own is not None and all_ill is not None and own > max(all_ill, 0)
        for own, all_ill in zip(found.net_benefit, found.treat_all, strict=True)
    ]
    return Cell(_ranges(thresholds, worth))


def _ranges(thresholds: Sequence[float], holds: Sequence[bool]) -> str:
    """Where it holds: runs of thresholds, of many the first and the last with how many."""
    steps = groupby(zip(thresholds, holds, strict=True), key=lambda step: step[1])
    runs = [[threshold for threshold, _ in run] for is_so, run in steps if is_so]
    if not runs:
        return "nowhere"
    if len(runs) > 2:
        return f"{runs[0][0]:g} to {runs[-1][-1]:g}, with {len(runs) - 1} gaps"
    said = (f"{r[0]:g} to {r[-1]:g}" if len(r) > 1 else f"{r[0]:g}" for r in runs)
    return " and ".join(said)


def _reasoned(estimate: Estimate) -> Cell:
    """A figure over its interval, or why there is none."""
    note = ends_text(estimate) or estimate.why_undefined or ""
    return estimate_cell(estimate)._replace(note=note)
