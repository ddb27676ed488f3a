"""Cases under published protocols, from training to the report, on a few phantoms."""

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.audit import audit_view
from stages.cam import explain_case
from stages.check import check_params
from stages.compare import compare_all
from stages.config.load import parse_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.crop import crop_view
from stages.evaluate import evaluate_case
from stages.external import score_elsewhere
from stages.prepare import prepare_dataset
from stages.report import report_all
from stages.train import train_case
from stages.weights import make_weights
from tests.benchmarks import real_results
from tests.conftest import RawParams, write_params

IMAGES, PATIENTS = 64, 32
HONEST, PUBLISHED, COURSE = "honest", "published", "course"


def with_published_protocols(raw: RawParams) -> RawParams:
    """The published network: by patient, as published, and as in a course project."""
    once, recipe = raw["protocols"]["once"], raw["recipes"]["short"]
    case = raw["cases"]["full-ce"] | {"model": "darkcovidnet", "weights": "dark", "head": []}
    raw["weights"] = {"dark": raw["weights"]["cnn3-random"] | {"model": "darkcovidnet"}}
    raw["recipes"]["chosen"] = recipe | {"keep": "best_accuracy", "beta2": 0.99, "epochs": 2}
    published = {"held_out": "both", "grouping": "none"}
    raw["protocols"] = {
        HONEST: once | {"folds": 2},
        PUBLISHED: once | published | {"folds": 2},
        COURSE: once | published | {"augmented_copies": 2},
    }
    raw["cases"] = {
        HONEST: case | {"protocol": HONEST},
        PUBLISHED: case | {"protocol": PUBLISHED, "recipe": "chosen"},
        COURSE: case | {"protocol": COURSE, "recipe": "chosen"},
    }
    raw["recipes"]["short"] = recipe | {"beta2": 0.99, "epochs": 2}
    raw["comparisons"] = {"worth": [PUBLISHED, HONEST], "copies": [COURSE, HONEST]}
    raw["views"] = {"full": raw["views"]["full"]}
    cohort = raw["datasets"]["ct"]["cohort"] | {"kind": "ct_b"}
    raw["datasets"]["ct-b"] = raw["datasets"]["ct"] | {"cohort": cohort}
    raw["views"]["there"] = raw["views"]["full"] | {"dataset": "ct-b"}
    classes = {"covid": "covid", "normal": "normal"}
    raw["external"] = {"elsewhere": {"case": COURSE, "view": "there", "classes": classes}}
    return raw


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, shared_tiny_params: RawParams) -> Paths:
    """A root in which every stage has run."""
    paths = Paths(tmp_path_factory.mktemp("published"))
    raw = with_published_protocols(copy.deepcopy(shared_tiny_params))
    write_params(paths.root / "params.yaml", raw)
    run_all(parse_params(raw), paths)
    return paths


def run_all(params: Params, paths: Paths) -> None:
    check_params(params, paths)
    for dataset in params.datasets:
        prepare_dataset(params, dataset, paths)
    for view in params.views:
        crop_view(params, view, paths)
        audit_view(params, view, paths)
    make_weights(params, "dark", paths)
    for case in params.cases:
        train_case(params, case, paths)
        evaluate_case(params, case, paths)
        explain_case(params, case, paths)
    score_elsewhere(params, "elsewhere", paths)
    compare_all(params, paths)
    report_all(params, paths)


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_a_published_protocol_tests_every_image_once_and_validates_on_it(paths: Paths) -> None:
    table = pd.read_csv(paths.predictions(PUBLISHED))
    val, test = (table[table["split"] == split].set_index("image_id") for split in ("val", "test"))
    assert len(test) == test.index.nunique() == IMAGES
    assert val["prob_covid"].to_dict() == test["prob_covid"].to_dict()
    assert (table["split"] == "train").sum() == IMAGES  # half of them in each of two runs


def test_the_epoch_kept_is_the_best_on_the_images_that_are_scored(paths: Paths) -> None:
    epochs = pd.read_csv(paths.history_epochs(PUBLISHED)).query("split == 'val' and fold == 1")
    table = pd.read_csv(paths.predictions(PUBLISHED)).query("split == 'test' and fold == 1")
    accuracy = (table["prediction"] == table["label"]).mean()
    assert accuracy == pytest.approx(epochs["accuracy"].max(), abs=1e-6)


def test_optimistic_figures_say_so_and_how_many_groups_are_cut(paths: Paths) -> None:
    figures = {name: load(paths.case_metrics(name)) for name in (HONEST, PUBLISHED, COURSE)}
    assert [figures[name]["optimistic"] for name in figures] == [False, True, True]
    assert figures[HONEST]["n_leaking_groups"] == 0
    assert 0 < figures[PUBLISHED]["n_leaking_groups"] < PATIENTS
    assert figures[COURSE]["n_leaking_groups"] > figures[PUBLISHED]["n_leaking_groups"]


def test_optimistic_cases_are_no_headlines(paths: Paths) -> None:
    assert [*load(paths.headlines)] == [HONEST]


def test_the_worth_of_a_protocol_is_of_all_images_image_by_image(paths: Paths) -> None:
    found = load(paths.comparisons)["worth"]
    assert found["optimistic"] == [PUBLISHED]
    assert found["differs"].keys() == {"grouping", "held_out", "keep"}
    assert (found["test"]["n"], found["test"]["n_groups"]) == (IMAGES, PATIENTS)
    assert found["test"]["accuracy"]["low"] <= found["test"]["accuracy"]["high"]
    assert found["mcnemar"]["p_value"] is not None


def test_copies_are_tested_and_compared_with_nobody(paths: Paths) -> None:
    runs = pd.read_csv(paths.weights(COURSE) / "runs.csv")
    assert len(runs) == 3 * IMAGES
    n_test = load(paths.case_metrics(COURSE))["n_test"]
    assert n_test == (runs["fold1-seed1"] == "both").sum() == 3 * 16
    counts = load(paths.comparisons)["copies"]["test"]
    is_copy = runs["image_id"].str.contains("copy")
    tested = runs["fold1-seed1"] == "both"
    assert counts["n"] == (tested & ~is_copy).sum()
    assert counts["n_only_first"] == (tested & is_copy).sum()


def test_maps_are_of_images_that_the_case_tests(paths: Paths) -> None:
    for case in (PUBLISHED, COURSE):
        scores = load(paths.cam_scores(case))
        assert scores["target_layer"] == "conv4"
        table = pd.read_csv(paths.predictions(case))
        tested = set(table[table["split"] == "test"]["image_id"])
        assert {image["image_id"] for image in scores["images"]} <= tested
        drawn = [image for image in scores["images"] if "drawn" in image["selected_as"]]
        assert len(drawn) == 5


def test_an_external_test_says_that_the_own_figures_are_optimistic(paths: Paths) -> None:
    found = load(paths.external("elsewhere"))
    assert found["own_is_optimistic"]
    assert found["n"] == IMAGES


def test_the_report_tells_what_the_protocol_is_worth(paths: Paths) -> None:
    text = paths.discussion.read_text(encoding="utf-8")
    assert f"{PUBLISHED} is scored under an optimistic protocol (§): alone it is worth " in text
    assert f"The best balanced accuracy is that of {HONEST}:" in text
    assert "2 augmented copies of each are dealt with them" in text
    assert f"{COURSE} §" in paths.report.read_text(encoding="utf-8")


def test_optimistic_cases_are_collected_for_the_page_of_results_without_a_headline(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_results, "_state", lambda _: {"commit": "0123456", "code_changed": 0})
    run = real_results.collect(paths.root)
    assert run["cases"].keys() == {HONEST, PUBLISHED, COURSE}
    assert run["cases"][HONEST]["headline"]
    assert [run["cases"][name]["headline"] for name in (PUBLISHED, COURSE)] == [None, None]
    assert run["comparisons"].keys() == {"worth", "copies"}
