"""Tables over all cases, for `dvc plots` and the report."""

from collections.abc import Mapping

import pandas as pd

from stages.evaluation.headlines import Headline
from stages.evaluation.measure_tables import build_measure_tables
from stages.evaluation.outcomes import CaseOutcome, Outcomes

# What identifies a case, as in params.yaml.
CASE_FIELDS = ("view", "model", "weights", "train", "sampler")


def build_plot_tables(
    outcomes: Outcomes, headlines: Mapping[str, Headline]
) -> dict[str, pd.DataFrame]:
    """The tables for `dvc plots`, by name, each with a column `case`."""
    cases = {_caption(name, case): case for name, case in outcomes.cases.items()}
    return {
        "table": build_case_table(outcomes, headlines),
        "curves": _stack_runs({name: case.epochs for name, case in cases.items()}),
        "steps": _stack_runs({name: case.steps for name, case in cases.items()}),
        "roc": _stack_curves(cases, "roc"),
        "pr": _stack_curves(cases, "precision_recall"),
        **build_measure_tables(cases),
        "confusion": _stack(
            {
                name: case.test[["label", "prediction"]].set_axis(["actual", "predicted"], axis=1)
                for name, case in cases.items()
            }
        ),
    }


def _caption(name: str, case: CaseOutcome) -> str:
    """What a case is called in a plot, where nothing else stands beside its name."""
    return f"{name} (optimistic)" if case.is_optimistic else name


def build_case_table(outcomes: Outcomes, headlines: Mapping[str, Headline]) -> pd.DataFrame:
    """One row per case: what it is, and every headline figure; undefined ones are empty.

    Behind these stand the best shortcuts of its view; an optimistic case has none.
    """
    params, rows = outcomes.params, []
    for name, case in outcomes.cases.items():
        settings = params.case(name)
        protocol = params.protocol(settings.protocol)
        rows.append(
            {
                "case": name,
                "dataset": params.view(settings.view).dataset,
                **{field: getattr(settings, field) for field in CASE_FIELDS},
                "folds": protocol.folds,
                "loss": settings.loss.kind,
                "n_seeds": len(protocol.seeds),
                "start_better_than_chance": _is_start_better_than_chance(case),
                **case.metrics,
                **(_tabulate_floor(headlines[name]) if name in headlines else {}),
            }
        )
    return pd.DataFrame(rows)


def _tabulate_floor(found: Headline) -> dict[str, str | float | None]:
    return {
        "best_shortcut": found.shortcut,
        **found.auroc.second.named("shortcut_auroc"),
        **found.auroc.difference.named("auroc_above_shortcut"),
        "most_accurate_probe": found.most_accurate,
        **found.accuracy.second.named("probe_accuracy"),
        **found.accuracy.difference.named("accuracy_above_probe"),
    }


def _is_start_better_than_chance(case: CaseOutcome) -> bool | None:
    """None of random weights, and of any of whose own task no figure is known."""
    return None if case.start_knows is None else bool(case.start_knows["better_than_chance"])


def _stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([t.assign(case=name) for name, t in tables.items()], ignore_index=True)


def _stack_runs(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """As `_stack`; several runs of a case are told apart by name, `<case> fold2-seed1`."""
    named: dict[str, pd.DataFrame] = {}
    for case, table in tables.items():
        runs = {run: rows for run, rows in table.groupby(["fold", "seed"], sort=False)}
        for (fold, seed), rows in runs.items():
            name = case if len(runs) == 1 else f"{case} fold{fold}-seed{seed}"
            named[name] = rows.drop(columns=["fold", "seed"])
    return _stack(named)


def _stack_curves(cases: Mapping[str, CaseOutcome], curve: str) -> pd.DataFrame:
    """Points of one curve of the test images, for each class against the rest."""
    return pd.concat(
        [
            pd.DataFrame(curves[curve]).assign(case=name, **{"class": class_name})
            for name, case in cases.items()
            for class_name, curves in case.curves.items()
        ],
        ignore_index=True,
    )
