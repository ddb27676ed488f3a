import json
from pathlib import Path

import pandas as pd
import pytest

from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_csv, write_json
from stages.dataset.task import Task
from stages.evaluation.outcomes import load_outcomes, tabulate_maps
from tests.reporting.conftest import make_params

CASE = "full-ce"
CURVES = {"roc": {"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}}
ROWS = pd.DataFrame(
    {
        "image_id": ["b", "a", "c"],
        "group_id": ["00000002", "00000001", "00000003"],
        "split": ["test", "test", "train"],
        "subgroup": "",
        "fold": 1,
        "seed": 1,
        "label": ["normal", "covid", "covid"],
        "prediction": "covid",
        "prob_normal": [0.25, 0.5, 0.0],
        "prob_covid": [0.75, 0.5, 1.0],
    }
)


@pytest.fixture
def params() -> Params:
    """Of the made-up cases one is left; files of the others are not there."""
    params = make_params()
    return params.model_copy(update={"cases": {CASE: params.case(CASE)}, "comparisons": {}})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """What the stages wrote of that case."""
    paths = Paths(tmp_path)
    write_csv(paths.predictions(CASE), ROWS)
    write_csv(
        paths.audit_predictions("full"),
        pd.concat([ROWS.assign(probe=probe) for probe in ("file", "border")]),
    )
    write_json(paths.audit("full"), {"best_shortcut": "border", "most_accurate": "file"})
    write_json(paths.case_metrics(CASE), {"auroc": 0.5, "n_test": 2})
    test = {"class_names": ["normal", "covid"], "curves": {"covid": CURVES}}
    write_json(paths.case_report(CASE), {"positive": "covid", "test": test})
    score = {"in_lungs": 0.5, "lungs_area": 0.25, "in_lesions": None}
    image = {"image_id": "a", "group_id": "g", "selected_as": ["drawn"]}
    write_json(paths.cam_scores(CASE), {"images": [image | {"gradcam": score, "eigencam": score}]})
    curve = pd.DataFrame({"epoch": [0], "loss": [0.5], "fold": [1], "seed": [1]})
    write_csv(paths.history_epochs(CASE), curve)
    write_csv(paths.history_steps(CASE), curve.rename(columns={"epoch": "step"}))
    write_json(paths.training_facts(CASE), {"start_knows": None})
    return paths


def test_test_rows_are_read_in_the_order_of_the_file_and_ids_stay_text(
    params: Params, paths: Paths
) -> None:
    case = load_outcomes(params, paths).cases[CASE]
    assert case.task == Task(("normal", "covid"), 1)
    assert case.test["image_id"].tolist() == ["b", "a"]
    assert case.test["group_id"].tolist() == ["00000002", "00000001"]
    assert case.metrics == {"auroc": 0.5, "n_test": 2}
    assert case.curves == {"covid": CURVES}
    assert (len(case.epochs), len(case.steps)) == (1, 1)
    assert case.maps["eigencam"]["in_lungs"].tolist() == [0.5]


def test_of_an_audit_the_best_shortcuts_alone_are_read(params: Params, paths: Paths) -> None:
    outcomes = load_outcomes(params, paths)
    for shortcuts, name in ((outcomes.shortcuts, "border"), (outcomes.most_accurate, "file")):
        assert list(shortcuts) == ["full"]
        assert shortcuts["full"].name == name
        assert shortcuts["full"].rows["probe"].tolist() == [name] * 3


def test_without_a_value_a_figure_is_read_as_none(params: Params, paths: Paths) -> None:
    paths.case_metrics(CASE).write_text(json.dumps({"auroc": None}), encoding="utf-8")
    assert load_outcomes(params, paths).cases[CASE].metrics == {"auroc": None}


def test_only_drawn_maps_are_compared() -> None:
    score = {"gradcam": {"in_lungs": 0.5, "lungs_area": 0.25}}
    images = [
        {"image_id": name, "group_id": "g", "selected_as": how, **score}
        for name, how in (("a", ["drawn", "error"]), ("b", ["error"]), ("c", ["drawn"]))
    ]
    assert tabulate_maps(images, "gradcam")["image_id"].tolist() == ["a", "c"]
    assert tabulate_maps(images[1:2], "gradcam").empty
