"""Tables over all cases, for `dvc plots` and the report."""

import pandas as pd

from stages.reporting.results import Results

# What identifies a case, as in params.yaml.
CASE_FIELDS = ("view", "model", "weights", "train", "sampler", "folds")


def build_case_table(results: Results) -> pd.DataFrame:
    """One row per case: what it is, and every headline figure; undefined ones are empty."""
    rows = []
    for name, case in results.cases.items():
        settings = results.params.case(name)
        rows.append(
            {
                "case": name,
                "dataset": results.dataset_of(name),
                **{field: getattr(settings, field) for field in CASE_FIELDS},
                "loss": settings.loss.name,
                "n_seeds": len(settings.seeds),
                **case.metrics,
            }
        )
    return pd.DataFrame(rows)


def build_plot_tables(results: Results) -> dict[str, pd.DataFrame]:
    """The tables for `dvc plots`, by name, each with a column `case`."""
    return {
        "table": build_case_table(results),
        "curves": _stack_runs({name: case.epochs for name, case in results.cases.items()}),
        "steps": _stack_runs({name: case.steps for name, case in results.cases.items()}),
        "roc": _curve_points(results, "roc"),
        "pr": _curve_points(results, "precision_recall"),
        "confusion": _confusions(results),
    }


def _stack(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([t.assign(case=name) for name, t in tables.items()], ignore_index=True)


def _stack_runs(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """As `_stack`; several runs of a case are told apart by name, `<case> fold2-seed1`."""
    named: dict[str, pd.DataFrame] = {}
    for case, table in tables.items():
        runs = {run: rows for run, rows in table.groupby(["fold", "seed"], sort=False)}
        for (fold, seed), rows in runs.items():
            name = case if len(runs) == 1 else f"{case} fold{fold}-seed{seed}"
            named[name] = rows.drop(columns=["fold", "seed"])
    return _stack(named)


def _curve_points(results: Results, curve: str) -> pd.DataFrame:
    """Points of one curve of the test images, for each class against the rest."""
    return pd.concat(
        [
            pd.DataFrame(curves[curve]).assign(case=name, **{"class": class_name})
            for name, case in results.cases.items()
            for class_name, curves in case.report["test"]["curves"].items()
        ],
        ignore_index=True,
    )


def _confusions(results: Results) -> pd.DataFrame:
    """One row per test image: actual and predicted class."""
    tables = {}
    for name, case in results.cases.items():
        test = case.predictions[case.predictions["split"] == "test"]
        tables[name] = test[["label", "prediction"]].set_axis(["actual", "predicted"], axis=1)
    return _stack(tables)
