"""How the cases were trained: settings, what was trained, learning curves, machine, seeds."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from stages.reporting.documents import Knowledge, Training
from stages.reporting.drawing import COLOURS, WIDTH, to_svg
from stages.reporting.results import CaseResults
from stages.reporting.table import Cell, Table, case_cell, count_cell
from stages.reporting.wording import as_text, label, setting, with_interval

SPLIT_STYLES = {"train": (COLOURS[0], "-"), "val": (COLOURS[1], "--")}
CASES_PER_ROW = 2
QUANTITIES = ("loss", "accuracy")
DIVERGED = "then the validation loss was no number"


def build_settings_table(cases: Sequence[CaseResults]) -> Table:
    """Everything that params.yaml says of each case, of its recipe and of its protocol."""
    rows = [list_settings(case) for case in cases]
    fields = list(rows[0])
    return Table(
        "Settings",
        ["case", *map(label, fields)],
        [
            [case_cell(case), *(Cell(setting(settings[field])) for field in fields)]
            for case, settings in zip(cases, rows, strict=True)
        ],
    )


def list_settings(case: CaseResults) -> dict[str, Any]:
    """All values, each recipe's and protocol's behind its name."""
    settings = case.settings.model_dump(mode="json")
    for name, section in (("recipe", case.recipe), ("protocol", case.protocol)):
        settings |= {name: settings.pop(name), **section.model_dump(mode="json")}
    return settings


def build_training_table(cases: Sequence[CaseResults], class_names: Sequence[str]) -> Table:
    """What was trained, and what the sampler made of the classes."""
    return Table(
        "Training (of several runs: of the first). Per class: training images, and the mean number "
        "drawn per epoch",
        [
            *("case", "started from", "blocks trained", "parameters trained", "frozen"),
            *("epoch kept, from 0", "epochs run"),
            *class_names,
        ],
        [_training_row(case, class_names) for case in cases],
    )


def _training_row(case: CaseResults, class_names: Sequence[str]) -> list[Cell]:
    facts = case.training
    counts, blocks = facts.class_counts, facts.blocks_trained
    return [
        case_cell(case),
        Cell(facts.started_from, start_text(facts)),
        Cell(blocks if isinstance(blocks, str) else ", ".join(blocks) or "none"),
        count_cell(facts.n_trained),
        count_cell(facts.n_frozen),
        count_cell(facts.kept_epoch),
        count_cell(facts.epochs_run).with_note(DIVERGED if facts.diverged else ""),
        *(
            count_cell(counts[name]).with_note(f"{facts.drawn_per_epoch[name]:.1f} drawn")
            for name in class_names
        ),
    ]


def start_text(facts: Training) -> str:
    """What initial weights know, and of other people's whose they are, in words."""
    known = _knowledge_text(facts.start_knows)
    if facts.start_origin is None:
        return known
    return f"{known}; {facts.start_origin}; licence {facts.start_licence or 'not known'}"


def _knowledge_text(knows: Knowledge | None) -> str:
    if knows is None:
        return "no task of their own measured"
    return (
        f"{knows.task}: accuracy {with_interval(knows.accuracy)} on {knows.n} images; "
        f"chance {as_text(knows.chance)}"
    )


def draw_learning_curves(cases: Sequence[CaseResults]) -> str:
    """Loss and accuracy per epoch, training and validation; a line per run of the case."""
    rows = math.ceil(len(cases) / CASES_PER_ROW)
    panels = CASES_PER_ROW * len(QUANTITIES)
    figure, axes = plt.subplots(rows, panels, figsize=(WIDTH, 2.2 * rows), squeeze=False)
    pairs = axes.reshape(-1, len(QUANTITIES))
    for pair, case in zip(pairs, cases, strict=False):
        for axis, quantity in zip(pair, QUANTITIES, strict=True):
            _draw_runs(axis, case.epochs, quantity)
            axis.set_title(f"{case.title}\n{quantity}", fontsize=8)
            axis.set_xlabel("epoch", fontsize=8)
            axis.tick_params(labelsize=7)
    for axis in pairs[len(cases) :].flat:
        axis.set_axis_off()
    axes[0, 0].legend(frameon=False, fontsize=7)
    return to_svg(figure)


def _draw_runs(axis: Axes, epochs: pd.DataFrame, quantity: str) -> None:
    runs = [run for _, run in epochs.groupby(["fold", "seed"])]
    for split, (colour, line) in SPLIT_STYLES.items():
        for number, run in enumerate(runs):
            part = run[run["split"] == split]
            axis.plot(
                part["epoch"],
                part[quantity],
                line,
                color=colour,
                linewidth=1.5 if len(runs) == 1 else 0.7,
                marker=".",  # a case of one epoch has no line
                markersize=3,
                label=split if number == 0 else None,
            )


def build_hardware_table(cases: Sequence[CaseResults]) -> Table:
    """Each combination of what the bits of a training depend on, with the cases trained so."""
    setups: dict[tuple[str, str, str, str], list[str]] = {}
    for case in cases:
        facts = case.training
        versions = ", ".join(f"{name} {number}" for name, number in facts.versions.items())
        setup = (facts.device, str(facts.threads), facts.precision, versions)
        setups.setdefault(setup, []).append(case.name)
    return Table(
        "Hardware and versions",
        ["device", "threads", "precision", "versions", "cases trained so"],
        [[*map(Cell, setup), Cell(", ".join(names))] for setup, names in setups.items()],
    )


def build_seed_table(cases: Sequence[CaseResults], seed: int) -> Table:
    """The seed of splits, draws and bootstrap, and those of the trainings."""
    cases_with: dict[str, list[str]] = {}
    for case in cases:
        seeds = ", ".join(map(str, case.protocol.seeds))
        cases_with.setdefault(seeds, []).append(case.name)
    rows = {"splits, draws of images, bootstrap": str(seed)}
    rows |= {f"training of {', '.join(names)}": seeds for seeds, names in cases_with.items()}
    return Table("Seeds", ["seed", "of"], [[Cell(seeds), Cell(of)] for of, seeds in rows.items()])
