"""Tables over all cases, for `dvc plots` and the report."""

import pandas as pd

from stages.report.results import Results

# What identifies a case, as in params.yaml.
CASE_FIELDS = ("view", "model", "weights", "train", "sampler")


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
                **case.metrics,
            }
        )
    return pd.DataFrame(rows)


def build_plot_tables(results: Results) -> dict[str, pd.DataFrame]:
    """The tables for `dvc plots`, by name, each with a column `case`."""
    return {
        "table": build_case_table(results),
        "curves": _stack({name: case.epochs for name, case in results.cases.items()}),
        "steps": _stack({name: case.steps for name, case in results.cases.items()}),
        "roc": _curve_points(results, "roc"),
        "pr": _curve_points(results, "precision_recall"),
        "confusion": _confusions(results),
    }


def _stack(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([t.assign(case=name) for name, t in tables.items()], ignore_index=True)


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
