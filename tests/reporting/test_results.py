"""Reading the files of a case."""

import json
from pathlib import Path

import pytest

from stages.config.params import Params
from stages.config.paths import Paths
from stages.reporting.results import Results, load_results

PREDICTIONS = """image_id,group_id,split,subgroup,fold,seed,label,prediction,prob_normal,prob_covid
00123,007,test,,1,1,normal,covid,0.25,0.75
00124,008,train,marker,2,1,covid,covid,0.0,1.0
"""


@pytest.fixture
def paths(tmp_path: Path, results: Results) -> Paths:
    """The files of `full-ce`, and of its data set and view."""
    paths = Paths(tmp_path / "root")
    case = results.cases["full-ce"]
    contents = {
        paths.case_metrics("full-ce"): case.metrics,
        paths.case_report("full-ce"): case.report,
        paths.cam_scores("full-ce"): case.cam,
        paths.training_facts("full-ce"): case.training,
        paths.audit("full"): results.audits["full"],
        paths.external("elsewhere"): results.external["elsewhere"],
        paths.prepared("ct") / "grouping.json": results.groupings["ct"],
        paths.time("train_case-full-ce"): {"seconds": 12.3},
    }
    texts = {path: json.dumps(content) for path, content in contents.items()}
    texts[paths.predictions("full-ce")] = PREDICTIONS
    texts[paths.history_epochs("full-ce")] = case.epochs.to_csv(index=False)
    texts[paths.history_steps("full-ce")] = case.steps.to_csv(index=False)
    texts[paths.prepared("ct") / "manifest.csv"] = results.datasets["ct"].manifest.to_csv()
    texts[paths.prepared("ct") / "rejected.csv"] = "file,reason\na.png,cut short\n"
    audited = results.audit_predictions["full"]
    texts[paths.audit_predictions("full")] = audited.to_csv(index=False)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    results.datasets["ct"].info.save(paths.prepared("ct"))
    return paths


@pytest.fixture
def some(results: Results) -> Params:
    """The parameters of what is on disk."""
    params = results.params
    return params.model_copy(
        update={
            "cases": {"full-ce": params.cases["full-ce"]},
            "datasets": {"ct": params.datasets["ct"]},
            "views": {"full": params.views["full"]},
        }
    )


def test_the_files_of_a_case_are_read(paths: Paths, results: Results, some: Params) -> None:
    loaded = load_results(some, paths)
    case, expected = loaded.cases["full-ce"], results.cases["full-ce"]
    assert (case.metrics, case.training) == (expected.metrics, expected.training)
    assert loaded.datasets["ct"].info == results.datasets["ct"].info
    # Text stays text: ids keep their zeros; fold and seed, which may be empty, are no numbers.
    columns = ["image_id", "group_id", "subgroup", "fold", "seed"]
    assert case.predictions[columns].to_numpy().tolist() == [
        ["00123", "007", "", "1", "1"],
        ["00124", "008", "marker", "2", "1"],
    ]
    assert case.predictions["prob_covid"].tolist() == [0.75, 1.0]
    assert case.maps == paths.cam_sheets("full-ce")


def test_audits_external_tests_and_groupings_are_read(
    paths: Paths, results: Results, some: Params
) -> None:
    loaded = load_results(some, paths)
    assert loaded.audits == {"full": results.audits["full"]}
    assert loaded.external == results.external
    assert loaded.groupings == {"ct": results.groupings["ct"]}
    rejected = loaded.datasets["ct"].rejected
    assert rejected.to_dict("records") == [{"file": "a.png", "reason": "cut short"}]
    audited = loaded.audit_predictions["full"]
    assert audited["group_id"].tolist() == results.audit_predictions["full"]["group_id"].tolist()


def test_only_the_times_of_this_machine_are_known(
    paths: Paths, results: Results, some: Params
) -> None:
    assert load_results(some, paths).seconds == {"train_case-full-ce": 12.3}
    paths.time("train_case-full-ce").unlink()
    assert load_results(some, paths).seconds == {}
