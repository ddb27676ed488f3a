import copy
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image

from stages.audit import audit_view
from stages.cam import explain_case
from stages.check import check_params
from stages.compare import compare_all
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import CenterCrop, External, Params, Search
from stages.config.paths import Paths
from stages.config.references import find_reference_problems
from stages.config.writing import write_json
from stages.crop import crop_view
from stages.dataset.image_set import (
    BOX_COLUMNS,
    MANIFEST_COLUMNS,
    ImageSet,
    load_dataset_info,
    load_image_set,
)
from stages.dataset.predictions import load_predictions
from stages.dataset.runs import Run
from stages.evaluate import evaluate_case
from stages.evaluation.metadata_probes import MAJORITY
from stages.evaluation.shortcuts import PROBES
from stages.explain import selection  # `tested_by` alone would be collected as a test
from stages.prepare import prepare_dataset
from stages.report import report_all
from stages.train import train_case
from stages.weights import make_weights

RawParams = dict[str, Any]
Json = dict[str, Any]
WritePicture = Callable[[Path, int], Path]
Prepare = Callable[..., ImageSet]

HEADLINE = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity", "specificity")
PROBE_FIGURES = (
    *("auroc", "balanced_accuracy", "accuracy", "f1_macro", "sensitivity"),
    *("sensitivity_specificity_90", "specificity_specificity_90"),
)
ENDS = ("", "_low", "_high")
IMAGES = 64  # of the fixture: 2 classes, 16 patients, 2 images


class Chain(NamedTuple):
    """A root in which every stage has run, and what it ran with."""

    params: Params
    paths: Paths


def run_until_evaluated(params: Params, paths: Paths, case: str) -> None:
    """All that one case needs, in the order of dvc.yaml."""
    view = params.case(case).view
    check_params(params, paths)
    prepare_dataset(params, "ct", paths)
    crop_view(params, view, paths)
    make_weights(params, "cnn3-random", paths)
    train_case(params, case, paths)
    evaluate_case(params, case, paths)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, shared_tiny_params: RawParams) -> Chain:
    """The whole pipeline, once, started from an empty working directory."""
    paths = Paths(tmp_path_factory.mktemp("chain"))
    params = parse_params(shared_tiny_params)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        run_until_evaluated(params, paths, "full-ce")
        crop_view(params, "lungs", paths)
        train_case(params, "lungs-bce", paths)
        evaluate_case(params, "lungs-bce", paths)
        for view in params.views:
            audit_view(params, view, paths)
        for case in params.cases:
            explain_case(params, case, paths)
        compare_all(params, paths)
        report_all(params, paths)
    assert list(elsewhere.iterdir()) == []  # everything is written below the root
    return Chain(params, paths)


@pytest.fixture
def chain_copy(chain: Chain, tmp_path: Path) -> Chain:
    """The same root again, for stages that overwrite it."""
    shutil.copytree(chain.paths.root, tmp_path / "root")
    return Chain(chain.params, Paths(tmp_path / "root"))


def load_json(path: Path) -> Json:
    """Read JSON as strictly as other tools do: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    content: Json = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return content


# ---- what the stages write -------------------------------------------------------------------


def test_prepared_tables_and_arrays_have_a_row_per_image(chain: Chain) -> None:
    prepared = load_image_set(chain.paths.prepared("ct"))
    assert prepared.images.shape == (IMAGES, 96, 96)
    assert prepared.truth is not None
    assert prepared.truth.shape == (IMAGES, 96, 96)
    assert tuple(prepared.manifest.columns) == MANIFEST_COLUMNS
    assert prepared.manifest["image_id"].is_unique
    assert prepared.info.is_phantom
    assert (prepared.info.n_files, prepared.info.n_rejected) == (IMAGES, 0)
    rejected = (chain.paths.prepared("ct") / "rejected.csv").read_text(encoding="utf-8")
    assert rejected == "file,reason\n"


def test_phantom_patients_stay_in_one_split(chain: Chain) -> None:
    manifest = load_image_set(chain.paths.prepared("ct")).manifest
    assert manifest["group_id"].nunique() == 32
    assert (manifest.groupby("group_id")["split"].nunique() == 1).all()
    counts = manifest["split"].value_counts()
    assert counts.to_dict() == {"train": 32, "val": 16, "test": 16}


def test_a_view_has_images_masks_truth_and_boxes_of_every_prepared_image(chain: Chain) -> None:
    for name in ("full", "lungs"):
        view = load_image_set(chain.paths.view(name))
        assert view.images.shape == (IMAGES, 80, 80)
        assert view.lung_masks is not None
        assert view.lung_masks.shape == (IMAGES, 80, 80)
        assert view.truth is not None
        assert view.truth.shape == (IMAGES, 80, 80)
        assert view.boxes is not None
        assert tuple(view.boxes.columns) == BOX_COLUMNS
        assert view.boxes["image_id"].tolist() == view.manifest["image_id"].tolist()


def boxes_of(view: ImageSet) -> pd.DataFrame:
    assert view.boxes is not None
    return view.boxes


def test_the_preprocessing_travels_from_the_data_set_to_the_predictions(chain: Chain) -> None:
    dataset, view = chain.params.dataset("ct"), chain.params.view("lungs")
    prepared, cropped, handed_on = (
        load_dataset_info(folder).preprocessing
        for folder in (
            chain.paths.prepared("ct"),
            chain.paths.view("lungs"),
            chain.paths.case_predictions("lungs-bce"),
        )
    )
    assert (prepared.grey, prepared.picture_px, prepared.view) == (
        dataset.grey,
        dataset.size_px,
        None,
    )
    assert cropped == handed_on == prepared.model_copy(update={"view": view})


def test_crop_boxes_are_in_pixels_of_the_original_file(chain: Chain) -> None:
    whole = load_image_set(chain.paths.view("full"))
    boxes, files = boxes_of(whole), whole.manifest
    assert set(boxes["crop"]) == {"none"}
    np.testing.assert_allclose(boxes["x1"] - boxes["x0"], files["width"], atol=0.02)
    np.testing.assert_allclose(boxes["y1"] - boxes["y0"], files["height"], atol=0.02)
    lungs = boxes_of(load_image_set(chain.paths.view("lungs")))
    for low, high, side in (("x0", "x1", "width"), ("y0", "y1", "height")):
        assert (lungs[low] >= 0).all()
        assert (lungs[low] < lungs[high]).all()
        assert (lungs[high] <= files[side] + 0.02).all()


def test_predictions_have_a_row_per_image_and_a_column_per_class(chain: Chain) -> None:
    manifest = load_image_set(chain.paths.prepared("ct")).manifest
    for case in chain.params.cases:
        table = pd.read_csv(chain.paths.predictions(case))
        assert table.columns.tolist() == [
            "image_id",
            "group_id",
            "split",
            "subgroup",
            "fold",
            "seed",
            "label",
            "prediction",
            "prob_normal",
            "prob_covid",
        ]
        assert set(zip(table["fold"], table["seed"], strict=True)) == {(1, 1)}
        for column in ("image_id", "group_id", "split", "label"):
            assert table[column].tolist() == manifest[column].tolist()
        np.testing.assert_allclose(table["prob_normal"] + table["prob_covid"], 1, atol=2e-6)
        likelier = np.where(table["prob_covid"] > table["prob_normal"], "covid", "normal")
        assert (table["prediction"] == likelier).all()


def test_headline_figures_are_flat_and_have_intervals(chain: Chain) -> None:
    for case in chain.params.cases:
        flat = load_json(chain.paths.case_metrics(case))
        assert all(value is None or isinstance(value, int | float) for value in flat.values())
        for name in HEADLINE:
            low, value, high = (flat[f"{name}{end}"] for end in ("_low", "", "_high"))
            assert 0 <= low <= value <= high <= 1
        assert flat["n_test"] == 16
        for stratum in ("marker", "no-marker"):
            assert f"auroc_{stratum}_low" in flat


def test_few_of_the_figures_are_listed_by_dvc(chain: Chain) -> None:
    for case in chain.params.cases:
        flat, few = (
            load_json(path(case)) for path in (chain.paths.case_metrics, chain.paths.case_summary)
        )
        assert list(few) == [
            *("auroc", "auroc_low", "auroc_high", "auroc_lungs_hidden"),
            *("balanced_accuracy", "val_log_loss"),
        ]
        assert few.items() <= flat.items()


def test_headline_accuracies_are_those_of_the_predictions_of_their_split(
    chain_copy: Chain,
) -> None:
    # One class alone in each of train and val, so that no two splits have the same accuracy.
    only = {"train": "covid", "val": "normal"}
    table = chain_copy.paths.predictions("full-ce")
    folder = chain_copy.paths.case_predictions("full-ce")
    for path in (table, folder / "whole.csv", folder / "runs.csv"):
        predictions = pd.read_csv(path)
        predictions["label"] = predictions["split"].map(only).fillna(predictions["label"])
        predictions.to_csv(path, index=False)
    evaluate_case(chain_copy.params, "full-ce", chain_copy.paths)
    flat = load_json(chain_copy.paths.case_metrics("full-ce"))
    predictions = pd.read_csv(table)
    hits = predictions["prediction"] == predictions["label"]
    of_split = hits.groupby(predictions["split"]).mean().round(6)
    assert of_split.nunique() == 3
    assert flat["accuracy"] == of_split["test"]
    assert flat["train_accuracy"] == of_split["train"]
    assert flat["val_accuracy"] == of_split["val"]


def test_labels_are_looked_at_by_each_case_and_by_the_plain_model_of_each_view(
    chain: Chain,
) -> None:
    for case in chain.params.cases:
        look = load_json(chain.paths.case_report(case))["label_errors"]
        assert (look["n_images"], look["n_judged"], look["too_few"]) == (IMAGES, 32, [])
        table = pd.read_csv(chain.paths.predictions(case)).set_index("image_id")
        for one in look["suspected"]:
            row = table.loc[one["image_id"]]
            assert row["split"] in ("val", "test")
            assert (row["label"], row["prediction"]) == (one["label"], one["likelier"])
            assert row[f"prob_{one['label']}"] == pytest.approx(one["label_probability"], abs=1e-4)
    for view in chain.params.views:
        look = load_json(chain.paths.audit(view))["label_errors"]
        assert (look["n_images"], look["n_judged"]) == (IMAGES, IMAGES)
        said = pd.read_csv(chain.paths.audit_predictions(view)).query("probe == 'whole'")
        table = said.set_index("image_id")
        hits = [table["label"] == name for name in ("covid", "normal")]
        right = [(table["prediction"] == table["label"])[of_class].mean() for of_class in hits]
        assert look["balanced_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)


def test_reports_have_matrices_and_classification_reports_of_every_split(chain: Chain) -> None:
    for case in chain.params.cases:
        reports = load_json(chain.paths.case_report(case))
        table = pd.read_csv(chain.paths.predictions(case))
        for split, n in (("train", 32), ("val", 16), ("test", 16), ("test_balanced", 16)):
            report = reports[split]
            assert report["class_names"] == ["normal", "covid"]
            assert np.sum(report["confusion_matrix"]) == n
            assert report["classification_report"]["covid"]["support"] == n / 2
        test = table[table["split"] == "test"]
        missed = (test["label"] == "covid") & (test["prediction"] == "normal")
        assert reports["test"]["confusion_matrix"][1][0] == missed.sum()
        assert set(reports["test"]["curves"]["covid"]) == {
            "roc",
            "precision_recall",
            "calibration",
        }


def test_an_undefined_figure_has_a_reason(chain: Chain) -> None:
    reports = load_json(chain.paths.case_report("full-ce"))
    tables = [*reports["test_subgroups"].values()]
    assert len(tables) == 2
    for table in tables:
        missing = {name for name, value in table["metrics"].items() if value is None}
        assert missing == set(table["undefined"])


def test_a_model_says_what_it_started_from_and_which_tensors_were_trained(chain: Chain) -> None:
    for case, logits in (("full-ce", 2), ("lungs-bce", 1)):
        folder = chain.paths.weights(case)
        meta = load_json(folder / "meta.json")
        assert (meta["started_from"], meta["model"]) == ("cnn3-random", "cnn3")
        assert meta["device"].endswith("cores")
        assert meta["precision"] == "fp32"
        assert meta["kept_epoch"] == 0
        assert meta["epochs_run"] == 1
        assert {"torch", "timm", "lightning-fabric"} <= set(meta["versions"])
        shapes = {
            name: list(tensor.shape)
            for name, tensor in safetensors.torch.load_file(folder / "model.safetensors").items()
        }
        assert {n: facts["shape"] for n, facts in meta["parameters"].items()} == shapes
        assert all(facts["trained"] for facts in meta["parameters"].values())
        assert [logits] in shapes.values()


def test_training_changes_the_initial_weights(chain: Chain) -> None:
    before, after = (
        safetensors.torch.load_file(chain.paths.weights(name) / "model.safetensors")
        for name in ("cnn3-random", "full-ce")
    )
    assert set(before) < set(after)
    for name, tensor in before.items():
        assert not np.array_equal(tensor.numpy(), after[name].numpy()), name


def retrained(chain: Chain, *, blackened: str) -> list[bytes]:
    """Model and learning curves after the images of one split were made black."""
    view = load_image_set(chain.paths.view("full"))
    images = np.array(view.images)
    images[view.rows(blackened)] = 0
    np.save(chain.paths.view("full") / "images.npy", images)
    train_case(chain.params, "full-ce", chain.paths)
    return training_files(chain)


def training_files(chain: Chain) -> list[bytes]:
    paths = chain.paths
    model = paths.weights("full-ce") / "model.safetensors"
    return [path.read_bytes() for path in (model, paths.history_epochs("full-ce"))]


def test_training_does_not_look_at_test_images(chain: Chain, chain_copy: Chain) -> None:
    assert retrained(chain_copy, blackened="test") == training_files(chain)


def test_training_looks_at_validation_images_for_its_curves(
    chain: Chain, chain_copy: Chain
) -> None:
    _, curves = retrained(chain_copy, blackened="val")
    assert curves != training_files(chain)[1]


def test_learning_curves_have_a_row_per_epoch_and_a_row_per_batch(chain: Chain) -> None:
    epochs = pd.read_csv(chain.paths.history_epochs("full-ce"))
    steps = pd.read_csv(chain.paths.history_steps("full-ce"))
    assert epochs.columns.tolist() == ["epoch", "split", "loss", "accuracy", "fold", "seed"]
    assert sorted(epochs["split"]) == ["train", "val"]
    # 32 training images in batches of 8; 16 validation images in one.
    assert steps["split"].value_counts().to_dict() == {"train": 4, "val": 1}


def test_an_audit_has_every_probe_with_its_interval(chain: Chain) -> None:
    for view in chain.params.views:
        report = load_json(chain.paths.audit(view))
        assert report["n"] == IMAGES
        assert 0 < report["hidden_share"] < 1
        probes = {*PROBES, MAJORITY}
        assert set(report["probes"]) == probes
        for figures in report["probes"].values():
            names = {f"{name}{end}" for name in PROBE_FIGURES for end in ENDS}
            beside = {"kind", "by_class", "by_pair", "p_value", "p_value_holm"}
            assert set(figures) == names | beside
            assert set(figures["by_class"]) == {"covid", "normal"}
        said = load_predictions(chain.paths.audit_predictions(view))
        assert said.groupby("probe")["image_id"].nunique().to_dict() == dict.fromkeys(
            probes, IMAGES
        )


def test_each_case_stands_beside_the_best_shortcut_of_its_view(chain: Chain) -> None:
    headlines = load_json(chain.paths.headlines)
    for case, found in headlines.items():
        audit = load_json(chain.paths.audit(chain.params.case(case).view))
        assert found["shortcut"] == audit["best_shortcut"]
        assert found["most_accurate"] == audit["most_accurate"]
        figures = load_json(chain.paths.case_metrics(case))
        assert [found[name] for name in ("auroc", "accuracy")] == [
            figures[name] for name in ("auroc", "accuracy")
        ]
        difference = found["auroc"] - found["shortcut_auroc"]
        assert found["difference"] == pytest.approx(difference, abs=2e-6)
    assert set(headlines) == set(chain.params.cases)


def test_every_null_headline_figure_has_a_reason_and_lungs_are_hidden_two_ways(
    chain: Chain,
) -> None:
    for case in chain.params.cases:
        headline, report = (
            load_json(path)
            for path in (chain.paths.case_metrics(case), chain.paths.case_report(case))
        )
        missing = {name for name, value in headline.items() if value is None}
        assert missing == set(report["test"]["undefined"])
        assert set(report["occlusion"]) == {"lungs_hidden", "lungs_only"}
        assert all(found["n_without_lungs"] >= 0 for found in report["occlusion"].values())


def drawn_images(scores: Json) -> list[Json]:
    """Those drawn with the seed; errors and uncertain images differ from case to case."""
    return [image for image in scores["images"] if "drawn" in image["selected_as"]]


def test_maps_are_of_the_same_test_images_in_every_case(chain: Chain) -> None:
    manifest = load_image_set(chain.paths.prepared("ct")).manifest.set_index("image_id")
    shown = {}
    for case in chain.params.cases:
        scores = load_json(chain.paths.cam_scores(case))
        assert scores["lung_masks"] == "truth"
        drawn = drawn_images(scores)
        shown[case] = [image["image_id"] for image in drawn]
        assert [image["label"] for image in drawn] == ["covid"] * 3 + ["normal"] * 2
        folder = chain.paths.cam_sheets(case)
        for method in chain.params.cam.methods:
            pictures = {path.stem for path in (folder / method).iterdir()}
            assert pictures == {image["image_id"] for image in scores["images"]}
        assert Image.open(folder / "sheet.png").size[0] > 80
    assert shown["full-ce"] == shown["lungs-bce"]
    assert set(manifest.loc[shown["full-ce"], "split"]) == {"test"}


def test_the_comparison_quotes_the_difference_of_the_headline_figures(chain: Chain) -> None:
    found = load_json(chain.paths.comparisons)["crop"]
    first, second = (load_json(chain.paths.case_metrics(found[k])) for k in ("first", "second"))
    assert (found["first"], found["second"]) == ("lungs-bce", "full-ce")
    for metric in HEADLINE:
        expected = first[metric] - second[metric]
        assert found["test"][metric]["difference"] == pytest.approx(expected, abs=2e-6)


def test_the_report_and_the_tables_show_every_case(chain: Chain) -> None:
    html = chain.paths.report.read_text(encoding="utf-8")
    table = pd.read_csv(chain.paths.plot("table"))
    assert table["case"].tolist() == ["full-ce", "lungs-bce"]
    for case in chain.params.cases:
        accuracy = load_json(chain.paths.case_metrics(case))["accuracy"]
        assert f'<th scope="row">{case}' in html
        assert f"{accuracy:.3f}<small>" in html
    for name in ("curves", "steps", "roc", "pr", "confusion"):
        assert set(pd.read_csv(chain.paths.plot(name))["case"]) == set(chain.params.cases)


def test_a_case_that_was_removed_is_not_compared_although_its_files_stay(
    chain_copy: Chain,
) -> None:
    params, paths = chain_copy
    left = params.model_copy(
        update={"cases": {"full-ce": params.case("full-ce")}, "comparisons": {}}
    )
    compare_all(left, paths)
    report_all(left, paths)
    assert paths.case_metrics("lungs-bce").exists()
    assert pd.read_csv(paths.plot("table"))["case"].tolist() == ["full-ce"]
    assert "lungs-bce" not in paths.report.read_text(encoding="utf-8")
    assert load_json(paths.comparisons) == {}


def test_a_search_is_decided_by_validation_figures_and_shows_the_chosen_alone(
    chain_copy: Chain,
) -> None:
    params, paths = chain_copy
    names = list(params.cases)
    search = Search.model_validate({"cases": names, "by": "log_loss"})
    params = params.model_copy(update={"searches": {"of-two": search}, "comparisons": {}})
    compare_all(params, paths)
    report_all(params, paths)
    found = load_json(paths.searches)["of-two"]
    metrics = {name: load_json(paths.case_metrics(name)) for name in names}
    for name, candidate in found["candidates"].items():
        for figure in ("log_loss", "auroc", "balanced_accuracy"):
            assert candidate[figure] == metrics[name][f"val_{figure}"]
    chosen, other = sorted(names, key=lambda name: float(metrics[name]["val_log_loss"]))
    assert found["choices"] == [{"fold": None, "case": chosen}]
    assert found["test"]["log_loss"] == metrics[chosen]["log_loss"]
    assert found["test"]["auroc_low"] == metrics[chosen]["auroc_low"]
    promised = metrics[chosen]["log_loss"] - metrics[chosen]["val_log_loss"]
    assert found["optimism"] == pytest.approx(promised, abs=2e-6)
    assert found["set_aside"] == [other]
    assert load_json(paths.headlines).keys() == {chosen}
    assert pd.read_csv(paths.plot("table"))["case"].tolist() == [chosen]
    assert f"Of 2 candidates {chosen} has the lowest log loss" in paths.report.read_text("utf-8")


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 1), (1, 0)])
def test_crop_says_what_it_enlarges(
    chain_copy: Chain, caplog: pytest.LogCaptureFixture, fraction: float, expected: int
) -> None:
    """Pictures are of 96 px in their longest side: half of that is less than 80 px."""
    params, paths = chain_copy
    middle = CenterCrop(kind="center", fraction=fraction)
    view = params.view("full").model_copy(update={"crop": middle})
    with caplog.at_level(logging.INFO):
        crop_view(params.model_copy(update={"views": {"full": view}}), "full", paths)
    said = [message for message in caplog.messages if "enlarged" in message]
    assert len(said) == expected
    assert all(re.search(r"^64 images .* median 1\.[67]\d times", message) for message in said)


def test_a_case_that_failed_costs_the_others_nothing(chain_copy: Chain) -> None:
    """After `dvc repro --keep-going`, DVC has removed what the failed stage was to write."""
    params, paths = chain_copy
    paths.predictions("lungs-bce").unlink()
    before = pd.read_csv(paths.plot("table")).set_index("case").loc[["full-ce"]]
    compare_all(params, paths)
    report_all(params, paths)
    table = pd.read_csv(paths.plot("table")).set_index("case")
    pd.testing.assert_frame_equal(table[before.columns], before)
    notice = "Left out, since they have no results: cases.lungs-bce."
    assert notice in paths.report.read_text(encoding="utf-8")
    assert notice in paths.discussion.read_text(encoding="utf-8")
    assert load_json(paths.comparisons) == {}


def test_a_transformer_is_trained_and_explained_at_the_size_of_its_view(chain_copy: Chain) -> None:
    """Its random weights are of 160 px, its views of 80 px: 5 x 5 patches of 16 px."""
    params, paths = chain_copy
    weights = params.initial_weights("cnn3-random").model_copy(update={"model": "test_vit"})
    case = params.case("full-ce").model_copy(update={"model": "test_vit", "weights": "vit"})
    more = params.model_copy(
        update={
            "weights": {**params.weights, "vit": weights},
            "cases": {**params.cases, "full-vit": case},
        }
    )
    check_params(more, paths)
    make_weights(more, "vit", paths)
    train_case(more, "full-vit", paths)
    explain_case(more, "full-vit", paths)
    state = safetensors.torch.load_file(paths.weights("full-vit") / "model.safetensors")
    assert state["backbone.pos_embed"].shape == (1, 1 + 5 * 5, 64)
    summary = load_json(paths.cam_scores("full-vit"))["summary"]
    assert summary["gradcam"]["empty"]["mean"] < 1


def test_report_names_a_case_that_compare_has_not_seen(
    chain_copy: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    params, paths = chain_copy
    headlines = load_json(paths.headlines)
    write_json(paths.headlines, {"full-ce": headlines["full-ce"]})
    report_all(params, paths)
    notice = "Left out, since they have no results: cases.lungs-bce."
    assert notice in paths.report.read_text(encoding="utf-8")
    assert f"lungs-bce is left out: it has no results in {paths.headlines}" in caplog.messages


def test_an_external_test_without_results_is_named(chain_copy: Chain) -> None:
    params, paths = chain_copy
    classes = {"covid": "covid", "normal": "normal"}
    test = External(case="full-ce", view="lungs", classes=classes)
    report_all(params.model_copy(update={"external": {"away": test}}), paths)
    notice = "Left out, since they have no results: external.away."
    assert notice in paths.report.read_text(encoding="utf-8")


def test_a_case_can_start_from_the_model_of_another(chain_copy: Chain) -> None:
    params, paths = chain_copy
    settings = params.case("full-ce").model_copy(update={"weights": "lungs-bce"})
    more = params.model_copy(update={"cases": {**params.cases, "second": settings}})
    train_case(more, "second", paths)
    meta = load_json(paths.weights("second") / "meta.json")
    assert meta["started_from"] == "lungs-bce"
    # Its head has one logit and is made anew.
    assert all(name.startswith("head.") for name in meta["tensors_left_out"])
    assert meta["tensors_left_out"]


def test_the_same_seed_gives_the_same_bytes(chain: Chain, tmp_path: Path) -> None:
    again = Paths(tmp_path)
    run_until_evaluated(chain.params, again, "full-ce")
    made = [path for path in sorted((tmp_path / "data").rglob("*")) if path.is_file()]
    assert {path.name for path in made} >= {"manifest.csv", "model.safetensors", "full-ce.csv"}
    made += [again.case_metrics("full-ce"), again.case_report("full-ce")]
    for path in made:
        first = chain.paths.root / path.relative_to(tmp_path)
        assert path.read_bytes() == first.read_bytes(), path.name


def test_fewer_patients_than_folds_of_the_audit_are_refused(chain: Chain) -> None:
    audit = chain.params.audit.model_copy(update={"folds": 17})
    params = chain.params.model_copy(update={"audit": audit})
    said = r"audit\.folds: got 17, but class '\w+' of view full has 16 groups .* here: 2 to 16$"
    with pytest.raises(UserError, match=said):
        audit_view(params, "full", chain.paths)


def test_every_crop_is_counted_in_the_log(
    chain_copy: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        crop_view(chain_copy.params, "lungs", chain_copy.paths)
    counted = re.findall(r"(none|center|lungs) (\d+)", caplog.messages[0])
    boxes = boxes_of(load_image_set(chain_copy.paths.view("lungs")))
    assert {crop: int(n) for crop, n in counted} == boxes["crop"].value_counts().to_dict()
    assert caplog.messages[0].startswith("lungs: 64 images; crops: lungs ")
    untrusted = sum(
        int(m.split(" in ")[1].split()[0]) for m in caplog.messages if "not trusted" in m
    )
    assert untrusted == (boxes["quality"] != "ok").sum()


# ---- several runs, frozen layers, several labels ---------------------------------------------

# Each differs from `full-ce` in this alone, so that a figure that differs is due to it.
VARIANTS: dict[str, dict[str, object]] = {
    "folds": {"protocol": "folds"},
    "ensemble": {"protocol": "ensemble"},
    "head": {"train": "head"},
    "last": {"train": "last:1"},
    "kept-last": {"recipe": "last"},
}
PROTOCOLS: dict[str, dict[str, object]] = {
    "folds": {"folds": 2, "seeds": [1, 2]},
    "ensemble": {
        "folds": 2,
        "held_out": "val",
        "grouping": "group",
        "seeds": [1, 2],
        "ensemble": True,
    },
}
RECIPES: dict[str, dict[str, object]] = {"last": {"keep": "last", "ema": 0.5, "epochs": 2}}
FOLD_RUNS = ["fold1-seed1", "fold1-seed2", "fold2-seed1", "fold2-seed2"]
BLOCKS = ("conv1", "conv2", "conv3")  # of cnn3


@pytest.fixture(scope="module")
def variants(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The root of `chain` with the cases of VARIANTS trained, evaluated and compared."""
    paths = Paths(tmp_path_factory.mktemp("variants") / "root")
    shutil.copytree(chain.paths.root, paths.root)
    base = chain.params.case("full-ce")
    more = {name: base.model_copy(update=change) for name, change in VARIANTS.items()}
    comparisons = {**chain.params.comparisons, "folds-vs-one": ["folds", "full-ce"]}
    once, short = chain.params.protocol("once"), chain.params.recipe("short")
    protocols = {name: once.model_copy(update=change) for name, change in PROTOCOLS.items()}
    recipes = {name: short.model_copy(update=change) for name, change in RECIPES.items()}
    params = chain.params.model_copy(
        update={
            "cases": {**chain.params.cases, **more},
            "protocols": {**chain.params.protocols, **protocols},
            "recipes": {**chain.params.recipes, **recipes},
            "comparisons": comparisons,
        }
    )
    for name in more:
        train_case(params, name, paths)
        evaluate_case(params, name, paths)
        explain_case(params, name, paths)
    compare_all(params, paths)
    return Chain(params, paths)


def predictions_of(chain: Chain, case: str) -> pd.DataFrame:
    return pd.read_csv(chain.paths.predictions(case), dtype={"fold": "Int64", "seed": "Int64"})


def load_tensors(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(folder / "model.safetensors")
    return tensors


def test_a_case_of_several_runs_has_a_model_of_each_and_their_splits(variants: Chain) -> None:
    folder = variants.paths.weights("folds")
    assert sorted(path.name for path in folder.iterdir()) == [*FOLD_RUNS, "runs.csv"]
    models = {(folder / name / "model.safetensors").read_bytes() for name in FOLD_RUNS}
    assert len(models) == 4
    for name in FOLD_RUNS:
        meta = load_json(folder / name / "meta.json")
        assert f"fold{meta['fold']}-seed{meta['seed']}" == name
    runs = pd.read_csv(folder / "runs.csv")
    assert runs.columns.tolist() == ["image_id", "sha256", *FOLD_RUNS]
    # The seed of a training plays no part in who is in which split.
    assert runs["fold1-seed1"].equals(runs["fold1-seed2"])


def test_the_only_run_of_a_case_has_its_splits_in_one_column(variants: Chain) -> None:
    manifest = load_image_set(variants.paths.view("full")).manifest
    runs = pd.read_csv(variants.paths.weights("full-ce") / "runs.csv")
    assert runs.columns.tolist() == ["image_id", "sha256", "fold1-seed1"]
    assert runs["fold1-seed1"].tolist() == manifest["split"].tolist()


@pytest.mark.parametrize("case", ["folds", "ensemble"])
def test_no_group_is_in_two_splits_of_a_run(variants: Chain, case: str) -> None:
    groups = load_image_set(variants.paths.view("full")).manifest["group_id"]
    runs = pd.read_csv(variants.paths.weights(case) / "runs.csv")
    for name in FOLD_RUNS:
        assert (runs[name].groupby(groups).nunique() == 1).all()
        assert set(runs[name]) == {"train", "val", "test"}


def test_folds_test_every_image_once_per_seed(variants: Chain) -> None:
    manifest = load_image_set(variants.paths.view("full")).manifest
    table = predictions_of(variants, "folds")
    assert len(table) == 4 * IMAGES
    test = table[table["split"] == "test"]
    for _, rows in test.groupby("seed"):
        assert sorted(rows["image_id"]) == sorted(manifest["image_id"])
    assert load_json(variants.paths.case_metrics("folds"))["n_test"] == IMAGES


def test_folds_of_val_keep_the_test_images_and_validate_every_other_once_per_seed(
    variants: Chain,
) -> None:
    manifest = load_image_set(variants.paths.view("full")).manifest
    runs = pd.read_csv(variants.paths.weights("ensemble") / "runs.csv")
    given = manifest["split"] == "test"
    for name in FOLD_RUNS:
        assert (runs[name] == "test").tolist() == given.tolist()
    first, second = (runs[f"fold{fold}-seed1"][~given] == "val" for fold in (1, 2))
    assert (first ^ second).all()


def test_ensemble_rows_are_the_mean_of_the_single_models(variants: Chain) -> None:
    of_runs = variants.paths.case_predictions("ensemble") / "runs.csv"
    single = pd.read_csv(of_runs).query("split == 'test'")
    assert len(single) == 4 * 16
    wanted = single.groupby("image_id")["prob_covid"].agg(["mean", "std"])
    assert (wanted["std"] > 1e-5).all()  # else any one of the models would do for the mean
    averaged = predictions_of(variants, "ensemble").query("split == 'test'").set_index("image_id")
    assert len(averaged) == 16
    np.testing.assert_allclose(
        averaged["prob_covid"], wanted["mean"].loc[averaged.index], atol=1.5e-6
    )
    assert averaged[["fold", "seed"]].isna().all(axis=None)  # they are of two folds and seeds


@pytest.mark.parametrize("occlusion", ["lungs_hidden", "lungs_only"])
def test_occluded_test_images_are_predicted_by_every_model_or_by_their_mean(
    variants: Chain, occlusion: str
) -> None:
    rows = {
        case: pd.read_csv(variants.paths.case_predictions(case) / f"{occlusion}.csv")
        for case in ("full-ce", "folds", "ensemble")
    }
    assert all(set(table["split"]) == {"test"} for table in rows.values())
    shown = {case: table["image_id"].nunique() for case, table in rows.items()}
    assert {case: len(table) // shown[case] for case, table in rows.items()} == {
        "full-ce": 1,
        "folds": 2,  # two seeds; each image is in the test fold of one of the two models
        "ensemble": 1,
    }


def test_an_ensemble_keeps_the_training_and_validation_rows_of_its_models(
    variants: Chain,
) -> None:
    table = predictions_of(variants, "ensemble")
    counts = table["split"].value_counts().to_dict()
    # 48 images, half of them train and half val in each of four runs.
    assert counts == {"train": 96, "val": 96, "test": 16}


def test_the_report_of_several_runs_has_each_and_their_mean(variants: Chain) -> None:
    for case, n_test in (("folds", 32), ("ensemble", 16)):
        runs = load_json(variants.paths.case_report(case))["runs"]
        assert [run["name"] for run in runs] == FOLD_RUNS
        assert [run["n_test"] for run in runs] == [n_test] * 4
        flat = load_json(variants.paths.case_metrics(case))
        assert flat["n_runs"] == 4
        accuracies = [run["metrics"]["accuracy"] for run in runs]
        assert flat["accuracy_run_mean"] == pytest.approx(np.mean(accuracies), abs=1e-6)
        assert flat["accuracy_run_sd"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-6)


def test_a_case_of_one_run_has_no_figures_over_runs(variants: Chain) -> None:
    assert "runs" not in load_json(variants.paths.case_report("full-ce"))
    flat = load_json(variants.paths.case_metrics("full-ce"))
    assert flat["n_runs"] == 1
    assert not [name for name in flat if "_run_" in name]


def test_learning_curves_of_several_runs_name_the_run(variants: Chain) -> None:
    epochs = pd.read_csv(variants.paths.history_epochs("folds"))
    named = epochs["fold"].astype(str) + "-" + epochs["seed"].astype(str)
    assert named.unique().tolist() == ["1-1", "1-2", "2-1", "2-2"]
    assert len(epochs) == 4 * 2  # one epoch, train and val


def test_maps_are_of_the_same_images_however_a_case_is_trained(variants: Chain) -> None:
    shown = {
        case: [
            image["image_id"] for image in drawn_images(load_json(variants.paths.cam_scores(case)))
        ]
        for case in variants.params.cases
    }
    assert all(images == shown["full-ce"] for images in shown.values())


def test_each_image_is_explained_by_the_first_run_that_tests_it() -> None:
    runs = [
        Run("fold1-seed1", 1, 1, np.array(["test", "train", "val", "train", "test"])),
        Run("fold1-seed2", 1, 2, np.array(["test", "train", "val", "train", "test"])),
        Run("fold2-seed1", 2, 1, np.array(["train", "test", "test", "test", "val"])),
    ]
    found = [
        (run.name, where.tolist()) for run, where in selection.tested_by(runs, np.array([3, 0, 1]))
    ]
    assert found == [("fold1-seed1", [1]), ("fold2-seed1", [0, 2])]


def test_maps_stay_with_their_images_where_several_models_make_them(
    variants: Chain, tmp_path: Path
) -> None:
    paths = Paths(tmp_path / "root")
    shutil.copytree(variants.paths.root, paths.root)
    wider = variants.params.cam.model_copy(update={"positive": 8, "negative": 8})
    explain_case(variants.params.model_copy(update={"cam": wider}), "folds", paths)
    few, all_test = (
        {image["image_id"]: image for image in load_json(p.cam_scores("folds"))["images"]}
        for p in (variants.paths, paths)
    )
    test = predictions_of(variants, "folds").query("split == 'test' and seed == 1")
    rows = test.set_index("image_id").loc[list(all_test)]
    assert set(rows["fold"]) == {1, 2}
    assert [image["prediction"] for image in all_test.values()] == rows["prediction"].tolist()
    for image_id, image in few.items():
        for method in variants.params.cam.methods:
            assert all_test[image_id][method] == pytest.approx(image[method], abs=1e-3, nan_ok=True)


def test_a_comparison_of_folds_with_one_split_is_on_the_images_of_both(variants: Chain) -> None:
    found = load_json(variants.paths.comparisons)["folds-vs-one"]
    assert found["test"]["n"] == 16
    assert found["test"]["n_rows_first"] == 32  # two seeds
    assert found["test"]["n_only_first"] == IMAGES - 16


@pytest.mark.parametrize(
    ("case", "frozen", "blocks"),
    [
        ("full-ce", (), ["backbone.conv1", "backbone.conv2", "backbone.conv3", "head"]),
        ("head", BLOCKS, ["head"]),
        ("last", BLOCKS[:2], ["backbone.conv3", "head"]),
    ],
)
def test_only_what_the_level_says_is_trained(
    variants: Chain, case: str, frozen: tuple[str, ...], blocks: list[str]
) -> None:
    initial = load_tensors(variants.paths.weights("cnn3-random"))
    trained = load_tensors(variants.paths.weights(case))
    meta = load_json(variants.paths.weights(case) / "meta.json")
    kept = {f"backbone.{block}.{kind}" for block in frozen for kind in ("weight", "bias")}
    assert {name for name in initial if trained[name].equal(initial[name])} == kept
    assert {name for name, facts in meta["parameters"].items() if not facts["trained"]} == kept
    assert meta["blocks_trained"] == blocks
    assert meta["unchanged_though_trained"] == []
    assert meta["counts"] == {
        "trained": sum(t.numel() for n, t in trained.items() if n not in kept),
        "frozen": sum(trained[n].numel() for n in kept),
        "trained_tensors": len(trained) - len(kept),
        "frozen_tensors": len(kept),
    }


def test_the_last_epoch_is_kept_where_that_is_asked_for(variants: Chain) -> None:
    meta = load_json(variants.paths.weights("kept-last") / "meta.json")
    assert (meta["kept"], meta["kept_epoch"], meta["epochs_run"]) == ("last", 1, 2)


def test_the_same_seed_gives_the_same_models_of_every_fold(variants: Chain, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "root")
    for name in ("views/full", "weights/cnn3-random"):
        shutil.copytree(variants.paths.root / "data" / name, paths.root / "data" / name)
    train_case(variants.params, "folds", paths)
    for file in ("runs.csv", *(f"{name}/model.safetensors" for name in FOLD_RUNS)):
        first = variants.paths.weights("folds") / file
        assert (paths.weights("folds") / file).read_bytes() == first.read_bytes(), file


def test_more_folds_than_patients_are_refused(variants: Chain) -> None:
    many = variants.params.protocol("folds").model_copy(update={"folds": 17})
    params = variants.params.model_copy(update={"protocols": {"folds": many}})
    said = r"^params\.yaml: cases\.folds: folds: got 17, but class '\w+' has 16 groups \(patients\)"
    with pytest.raises(UserError, match=said):
        train_case(params, "folds", variants.paths)


@pytest.fixture(scope="module")
def multi_label(shared_tiny_params: RawParams, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """X-rays on which covid is a pneumonia too, few of them; a sigmoid loss and a focal one."""
    raw = copy.deepcopy(shared_tiny_params)
    patients = {"covid": 6, "pneumonia": 18, "normal": 18}
    cohort = {"kind": "xray3", "patients": patients, "images_per_patient": 2}
    cohort["marker_share"] = dict.fromkeys(patients, 0.2)
    folders = {name: [name] for name in ("normal", "pneumonia", "covid")}
    raw["datasets"]["ct"] |= {"cohort": cohort, "modality": "xray", "classes": folders}
    raw["datasets"]["ct"]["implies"] = {"covid": ["pneumonia"]}
    del raw["views"]["lungs"]
    case = raw["cases"]["full-ce"] | {"sampler": "weighted"}
    raw["recipes"]["long"] = raw["recipes"]["short"] | {"epochs": 10, "patience": 10}
    bce, focal = ({"kind": "bce", "label_smoothing": 0.1}, {"kind": "focal", "gamma": 1.0})
    raw["cases"] = {
        "bce": case | {"loss": bce, "recipe": "long"},
        "focal": case | {"loss": focal | {"alpha": 0.25}},
    }
    raw["comparisons"] = {"losses": ["focal", "bce"]}
    params, paths = parse_params(raw), Paths(tmp_path_factory.mktemp("labels"))
    assert find_reference_problems(params) == []
    run_until_evaluated(params, paths, "bce")
    train_case(params, "focal", paths)
    evaluate_case(params, "focal", paths)
    audit_view(params, "full", paths)
    for name in params.cases:
        explain_case(params, name, paths)
    compare_all(params, paths)
    report_all(params, paths)
    return Chain(params, paths)


def test_a_multi_label_case_has_a_logit_per_class_and_probabilities_that_sum_to_1(
    multi_label: Chain,
) -> None:
    meta = load_json(multi_label.paths.weights("bce") / "meta.json")
    assert meta["implies"] == {"covid": ["pneumonia"]}
    assert meta["one_logit"] is False
    assert [3] in [facts["shape"] for facts in meta["parameters"].values()]
    table = predictions_of(multi_label, "bce")
    columns = ["prob_normal", "prob_pneumonia", "prob_covid"]
    np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=2e-6)


def test_the_report_of_a_multi_label_case_tells_of_each_label(multi_label: Chain) -> None:
    for case in multi_label.params.cases:
        labels = load_json(multi_label.paths.case_report(case))["labels"]
        test = predictions_of(multi_label, case).query("split == 'test'")
        per_class = test["label"].value_counts()
        assert {name: figures["n_positive"] for name, figures in labels.items()} == {
            "normal": per_class["normal"],
            "pneumonia": per_class["pneumonia"] + per_class["covid"],
            "covid": per_class["covid"],
        }
        has_label = test["prediction"].isin(["pneumonia", "covid"])
        truth = test["label"].isin(["pneumonia", "covid"])
        sensitivity = (has_label & truth).sum() / truth.sum()
        assert labels["pneumonia"]["sensitivity"] == pytest.approx(sensitivity, abs=1e-6)


def test_a_case_of_one_label_an_image_has_no_table_of_labels(chain: Chain) -> None:
    assert "labels" not in load_json(chain.paths.case_report("full-ce"))


def test_cases_of_a_multi_label_data_set_are_compared(multi_label: Chain) -> None:
    found = load_json(multi_label.paths.comparisons)["losses"]
    assert found["differs"].keys() == {"loss", "epochs", "patience"}
    assert pd.read_csv(multi_label.paths.plot("table"))["case"].tolist() == ["bce", "focal"]
    assert multi_label.paths.report.exists()


def test_a_weighted_sampler_draws_the_classes_equally_often(multi_label: Chain) -> None:
    counts = load_json(multi_label.paths.training_facts("bce"))["class_counts"]
    manifest = load_image_set(multi_label.paths.view("full")).manifest
    train = manifest.loc[manifest["split"] == "train", "label"].value_counts().to_dict()
    assert counts["train"] == train
    assert train["normal"] >= 2.5 * train["covid"]
    drawn = np.array(list(counts["drawn_per_epoch"].values()))
    assert drawn.sum() == sum(train.values()) // 8 * 8  # whole batches
    np.testing.assert_allclose(drawn, drawn.mean(), rtol=0.15)
