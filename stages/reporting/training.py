"""What a run ran on: versions, seeds, hardware, times."""

from typing import Any, NamedTuple

from stages.reporting.html_table import Cell, Table, figure_cell, text_cell
from stages.reporting.results import Results

Json = dict[str, Any]

NOT_MEASURED = "not measured here: restored from the cache"


class Stage(NamedTuple):
    """A stage whose time is taken: its name, its function, the section of its entries."""

    name: str
    function: str
    section: str


STAGES = (
    Stage("prepare", "prepare_dataset", "datasets"),
    Stage("crop", "crop_view", "views"),
    Stage("audit", "audit_view", "views"),
    Stage("weights", "make_weights", "weights"),
    Stage("train", "train_case", "cases"),
    Stage("evaluate", "evaluate_case", "cases"),
    Stage("cam", "explain_case", "cases"),
    Stage("external", "score_elsewhere", "external"),
)


def build_hardware_table(results: Results) -> Table:
    """Each combination of device, precision and versions, with the cases trained so."""
    setups: dict[tuple[str, str, str], list[str]] = {}
    for case, found in results.cases.items():
        facts = found.training
        versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
        setups.setdefault((facts["device"], facts["precision"], versions), []).append(case)
    return Table(
        "Hardware and versions",
        ["device", "precision", "versions", "cases trained so"],
        [
            [*(text_cell(value) for value in setup), text_cell(", ".join(cases))]
            for setup, cases in setups.items()
        ],
    )


def build_seed_table(results: Results) -> Table:
    """The seed of splits, draws and bootstrap, and those of the trainings."""
    cases_with: dict[str, list[str]] = {}
    for case in results.cases:
        seeds = ", ".join(str(seed) for seed in results.params.case(case).seeds)
        cases_with.setdefault(seeds, []).append(case)
    rows = [("splits, draws of images, bootstrap", str(results.params.seed))]
    rows += [(f"training of {', '.join(cases)}", seeds) for seeds, cases in cases_with.items()]
    return Table("Seeds", ["seed", "of"], [[text_cell(seed), text_cell(of)] for of, seed in rows])


def build_time_table(results: Results) -> Table:
    """Seconds of the last run of every stage on this machine, imports not counted."""
    return Table(
        "Seconds per stage, of its last run on this machine",
        ["stage", "of", "seconds"],
        [
            [text_cell(stage.name), text_cell(entry), _seconds_cell(results, stage, entry)]
            for stage in STAGES
            for entry in getattr(results.params, stage.section)
        ],
    )


def _seconds_cell(results: Results, stage: Stage, entry: str) -> Cell:
    seconds = results.seconds.get(f"{stage.function}-{entry}")
    if seconds is None:
        return figure_cell(None)._replace(text=NOT_MEASURED)
    return Cell(f"{seconds:,.1f}", "", seconds, is_figure=True)
