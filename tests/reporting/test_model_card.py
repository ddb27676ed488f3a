import json
from pathlib import Path

import pytest

from stages.config.errors import UserError
from stages.config.paths import Paths
from stages.reporting.card_sections import Technical
from stages.reporting.model_card import ModelCard, build_model_card
from stages.reporting.results import load_case_results
from tests.reporting.conftest import Files

TECHNICAL = Technical(["a file"], ["what goes in"], ["what comes out"], ["checked"], "print(1)")


def card_of(files: Files, case: str) -> ModelCard:
    files.load()  # writes the files
    return build_model_card(load_case_results(files.params, case, Paths(files.root)), TECHNICAL)


def section(card: ModelCard, title: str) -> str:
    return card.markdown.split(f"## {title}\n")[1].split("\n## ")[0]


def test_a_card_is_of_one_case_and_names_no_other(files: Files) -> None:
    card = card_of(files, "lungs-bce").markdown
    assert card.startswith("# Model card: lungs-bce\n\n> Not a medical device")
    assert "full-ce" not in card
    assert "lungs-folds" not in card
    for told in (*TECHNICAL.files, *TECHNICAL.inputs, *TECHNICAL.outputs, *TECHNICAL.checks):
        assert f"- {told}\n" in card


def test_figures_are_those_of_the_files(files: Files) -> None:
    files.cases["lungs-bce"].metrics |= {"auroc": 0.777, "auroc_low": 0.666, "auroc_high": 0.888}
    card = card_of(files, "lungs-bce")
    assert "| AUROC | 0.777 | 0.666 to 0.888 |" in section(card, "Figures on the test images")
    assert json.loads(card.essentials["test_figures"])["auroc"] == [0.777, 0.666, 0.888]


def test_a_figure_that_is_undefined_is_so_in_the_card(files: Files) -> None:
    files.cases["lungs-bce"].metrics |= {"auroc": None, "auroc_low": None, "auroc_high": None}
    card = card_of(files, "lungs-bce")
    assert "| AUROC | n/a |  |" in card.markdown
    assert json.loads(card.essentials["test_figures"])["auroc"] == [None, None, None]


def test_drawings_are_called_so_and_files_are_not(files: Files) -> None:
    drawn, real = card_of(files, "full-ce"), card_of(files, "labels-bce")
    assert "phantoms, which are drawings" in drawn.essentials["warning"]
    assert "phantoms" not in real.markdown
    assert "made up for the tests" in real.essentials["images"]


def test_folders_of_the_machine_stay_out(files: Files) -> None:
    files.update_info("labels", source="/home/anna/covid")
    card = card_of(files, "labels-bce")
    assert "/home/anna" not in card.markdown + json.dumps(card.essentials)


def test_an_optimistic_protocol_and_leakage_stand_before_all_figures(files: Files) -> None:
    params, case = files.params, files.params.case("lungs-bce")
    published = {"held_out": "both", "grouping": "none"}
    protocol = params.protocol("once").model_copy(update=published)
    files.update_params(
        cases={**params.cases, "lungs-bce": case.model_copy(update={"protocol": "published"})},
        protocols={**params.protocols, "published": protocol},
    )
    files.cases["lungs-bce"].metrics |= {"optimistic": True, "n_leaking_groups": 17}
    files.cases["lungs-bce"].headline = None
    card = card_of(files, "lungs-bce")
    notices = card.markdown.split("## ")[0]
    assert "lungs-bce § is optimistic on purpose" in notices
    assert "17 groups stand in two splits" in notices
    assert card.essentials["leaking_groups"] == "17"
    assert card.essentials["best_shortcut"] == "none: an optimistic protocol"


def test_a_case_that_does_not_beat_its_shortcut_says_so_first(files: Files) -> None:
    headline = files.cases["lungs-bce"].headline
    assert headline is not None
    for value, is_said in ((-0.1, True), (0.2, False)):
        ends = {"difference_low": value - 0.05, "difference_high": value + 0.05}
        headline |= {"difference": value, **ends}
        notices = card_of(files, "lungs-bce").markdown.split("## ")[0]
        assert ("Not shown to be better than a shortcut" in notices) is is_said


def test_models_that_are_given_together_and_were_tested_apart_are_a_caveat(files: Files) -> None:
    assert "their mean was not tested" in section(
        card_of(files, "lungs-folds"), "Caveats and recommendations"
    )
    assert "their mean was not tested" not in card_of(files, "lungs-bce").markdown
    params = files.params
    averaged = {"held_out": "val", "ensemble": True}
    protocol = params.protocol("five-folds").model_copy(update=averaged)
    files.update_params(protocols={**params.protocols, "five-folds": protocol})
    assert "their mean was not tested" not in card_of(files, "lungs-folds").markdown


def test_an_external_test_is_told_and_its_absence_too(files: Files) -> None:
    assert "External test elsewhere" in section(card_of(files, "lungs-bce"), "External tests")
    assert "None: how it does" in section(card_of(files, "full-ce"), "External tests")


def test_an_external_test_without_results_is_named(files: Files) -> None:
    files.external.clear()
    said = section(card_of(files, "lungs-bce"), "External tests")
    assert "Without results: external.elsewhere." in said


def test_a_case_that_is_not_there_or_has_no_results_is_refused(
    files: Files, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no entry named 'nobody'"):
        card_of(files, "nobody")
    with pytest.raises(UserError, match="run: dvc repro"):
        load_case_results(files.params, "full-ce", Paths(tmp_path / "empty"))
