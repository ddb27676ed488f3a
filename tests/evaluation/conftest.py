"""What cases wrote, as `compare` reads it: the made-up cases that the pages are tested with.

Data set `ct`: `full-ce`, which guesses, and `lungs-bce`, which is nearly always right, are one run
each; `lungs-folds` has five folds, so it is tested on every image. Data set `labels`: one case.
"""

import pandas as pd
import pytest

from stages.dataset.task import Task
from stages.evaluation.outcomes import CaseOutcome, Outcomes, Shortcut, tabulate_maps
from tests.reporting.conftest import (
    CLASSES,
    FOLDS,
    LABEL_CLASSES,
    METHODS,
    CaseFiles,
    make_case,
    make_fold_case,
    make_label_case,
    make_label_manifest,
    make_manifest,
    make_params,
    make_predictions,
)

CT, LABELS = Task(tuple(CLASSES), 1), Task(tuple(LABEL_CLASSES), 2)


@pytest.fixture
def outcomes() -> Outcomes:
    """Of the two data sets above."""
    ct, labels = make_manifest(), make_label_manifest()
    of_fold = make_predictions(ct, CLASSES, 0.6)
    fold = of_fold["group_id"].map({g: n for n, g in enumerate(of_fold["group_id"].unique())})
    return Outcomes(
        params=make_params(),
        cases={
            "full-ce": make_outcome(
                make_case(ct, CLASSES, skill=0.0), CT, make_predictions(ct, CLASSES, 0.0)
            ),
            "lungs-bce": make_outcome(
                make_case(ct, CLASSES, skill=0.9), CT, make_predictions(ct, CLASSES, 0.9)
            ),
            "lungs-folds": make_outcome(
                make_fold_case(ct, skill=0.6),
                CT,
                of_fold.assign(split="test", fold=(fold % FOLDS + 1).astype(str)),
            ),
            "labels-bce": make_outcome(
                make_label_case(labels), LABELS, make_predictions(labels, LABEL_CLASSES, 0.5)
            ),
        },
        shortcuts={
            "full": make_shortcut("border", ct, CLASSES, skill=0.4),
            "lungs": make_shortcut("file", ct, CLASSES, skill=0.0),
            "labels-full": make_shortcut("border", labels, LABEL_CLASSES, skill=0.4),
        },
        most_accurate={
            "full": make_shortcut("border", ct, CLASSES, skill=0.4),
            "lungs": make_shortcut("majority", ct, CLASSES, skill=0.0),
            "labels-full": make_shortcut("metadata", labels, LABEL_CLASSES, skill=0.3),
        },
    )


def make_outcome(files: CaseFiles, task: Task, predictions: pd.DataFrame) -> CaseOutcome:
    return CaseOutcome(
        task=task,
        val=predictions[predictions["split"] == "val"],
        test=predictions[predictions["split"] == "test"],
        metrics=files.metrics,
        curves=files.report["test"]["curves"],
        report=files.report,
        maps={method: tabulate_maps(files.cam["images"], method) for method in METHODS},
        epochs=files.epochs,
        start_knows=files.training["start_knows"],
        steps=files.epochs.drop(columns="accuracy").rename(columns={"epoch": "step"}),
    )


def make_shortcut(
    name: str, manifest: pd.DataFrame, classes: list[str], *, skill: float
) -> Shortcut:
    """Said of every image of the view."""
    columns = ["image_id", "group_id", "probe", "label", "prediction"]
    rows = make_predictions(manifest, classes, skill).assign(probe=name)
    return Shortcut(name, rows[[*columns, *(f"prob_{label}" for label in classes)]])
