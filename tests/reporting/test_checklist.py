import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markupsafe import escape

from stages.config.load import load_params
from stages.config.params import Dataset, Params, Study
from stages.dataset.image_set import SPLITS
from stages.dataset.metadata import Column, Metadata, tabulate_metadata
from stages.reporting.answers import ANSWERS
from stages.reporting.checklist import ITEMS, Checklist, Item, build_checklists
from stages.reporting.known import KNOWN
from stages.reporting.results import Results
from tests.conftest import REPOSITORY
from tests.reporting.conftest import (
    DatasetFiles,
    Files,
    make_audit,
    make_case,
    make_comparison,
    make_external,
    make_grouping,
    make_info,
    make_label_manifest,
    make_metadata,
    make_rejected,
    make_suspicious,
)
from tests.reporting.test_optimism import page_of


def build(results: Results) -> tuple[Checklist, Checklist]:
    claim, tripod = build_checklists(results)
    return claim, tripod


def answer(checklist: Checklist, number: str) -> list[str]:
    [item] = [item for item in checklist.items if item.number == number]
    return item.lines


def test_all_items_of_both_checklists_are_there(results: Results) -> None:
    claim, tripod = build(results)
    assert [item.number for item in claim.items] == [str(number) for number in range(1, 45)]
    assert len(tripod.items) == 52
    mains = [item.number.rstrip("abcdefg") for item in tripod.items]
    assert list(dict.fromkeys(mains)) == [str(number) for number in range(1, 28)]


def rows() -> list[dict[str, str]]:
    with ITEMS.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_answer_is_asked_for_and_every_question_known() -> None:
    asked = {row[column] for row in rows() for column in ("answer", "part")}
    assert asked - {""} == ANSWERS.keys() | KNOWN.keys()
    assert not ANSWERS.keys() & KNOWN.keys()


def test_every_key_of_the_study_answers_an_item_and_every_item_can_be_answered() -> None:
    keys = {key for row in rows() for key in row["study"].split()}
    assert keys == set(Study.model_fields)
    for row in rows():
        assert row["study"] or row["answer"] in ANSWERS, row["number"]


def test_what_only_authors_know_is_open_by_name_with_its_keys(results: Results) -> None:
    claim, tripod = build(results)
    assert open_items(claim)["44"] == ("Funding and the role of funders", "study.funding")
    assert open_items(claim)["3"][1] == "study.background, study.intended_use"
    for number in ("1", "3", "41", "44"):
        assert answer(claim, number) == []
        assert number in open_items(claim)
    for number in ("1", "3c", "18a", "18b", "18c", "18d", "19", "25"):
        assert answer(tripod, number) == []
        assert number in open_items(tripod)


def open_items(checklist: Checklist) -> dict[str, tuple[str, str]]:
    """Name and missing keys by number, as the table has them."""
    return {
        number.text: (name.text, keys.text) for number, name, keys, _ in checklist.open_table.rows
    }


def item(checklist: Checklist, number: str) -> Item:
    [found] = [item for item in checklist.items if item.number == number]
    return found


def say(files: Files, **texts: str) -> Results:
    """With some keys of the study given."""
    files.update_params(study=files.params.study.model_copy(update=texts))
    return files.load()


def test_what_the_run_knows_of_drawings_alone_is_open_for_the_other_data_sets(
    results: Results,
) -> None:
    ethics = item(build(results)[1], "17")
    assert ethics.lines == ["ct: no approval and no consent: no person takes part"]
    assert ethics.is_open
    assert ethics.answered_by == "open: study.ethics (for labels)"


def test_of_drawings_alone_the_run_knows_it(files: Files) -> None:
    files.update_info("labels", is_phantom=True)
    ethics = item(build(files.load())[1], "17")
    assert (ethics.is_open, ethics.answered_by) == (False, "the run")
    assert ethics.lines == ["ct, labels: no approval and no consent: no person takes part"]


def test_the_authors_answer_what_is_open(files: Files) -> None:
    claim, tripod = build(say(files, ethics="board 7, waived", funding="none"))
    assert item(claim, "44").answered_by == "the authors"
    assert item(claim, "44").quotes == ["study.funding: none"]
    assert item(tripod, "17").answered_by == "the authors"
    assert "44" not in open_items(claim)


def test_what_authors_add_to_an_answer_of_the_run_stands_beside_it(files: Files) -> None:
    limits = item(build(say(files, limitations="one reader"))[0], "40")
    assert limits.answered_by == "the run and the authors"
    assert limits.quotes == ["study.limitations: one reader"]


def test_an_item_of_several_keys_stays_open_until_all_are_given(files: Files) -> None:
    background = item(build(say(files, background="known"))[0], "3")
    assert background.answered_by == "open: study.intended_use"
    background = item(build(say(files, intended_use="none"))[0], "3")
    assert background.answered_by == "the authors"


def test_without_a_named_comparison_the_hypotheses_are_for_the_authors(files: Files) -> None:
    assert "crop: lungs-bce differs from full-ce" in answer(build(files.load())[0], "4")[0]
    files.comparisons.clear()
    files.update_params(comparisons={})
    assert open_items(build(files.load())[0])["4"][1] == "study.question"


def test_characteristics_are_those_of_a_table_that_speaks_of_people(files: Files) -> None:
    manifest = files.datasets["labels"].manifest
    ids = manifest["image_id"]
    nothing = {"Patient Age": Column("number", 1, ["old"])}
    files.datasets["labels"].metadata = tabulate_metadata(ids, [{}] * len(ids), nothing)
    assert item(build(files.load())[0], "36").open_for == ["labels"]
    stage = {"stage": Column("category", 0, [])}
    files.datasets["labels"].metadata = tabulate_metadata(
        ids, [{"stage": "late"}] * len(ids), stage
    )
    assert item(build(files.load())[0], "36").is_open
    cells = [
        {"Patient Age": 20.0 + n if n else None, "sex": sex}
        for n, sex in enumerate(["F", "M", "M"] * 10)
    ]
    columns = {"Patient Age": Column("number", 0, []), "sex": Column("category", 0, [])}
    files.datasets["labels"].metadata = tabulate_metadata(ids, cells, columns)
    known = item(build(files.load())[0], "36")
    assert known.is_known
    # Train: the first three of each class, of ages 21, 22, 30, 31, 32, 40, 41, 42.
    assert known.lines[1].startswith(
        "labels: train (9 images): Patient Age median 31.5 (21 to 42), 1 not given; "
        "sex M 67%, F 33%. val (6 images): "
    )


def test_limitations_are_those_that_the_run_measured(files: Files) -> None:
    files.datasets["labels"].grouping["clusters_with_two_labels"] = 3
    first, second, *others = answer(build(files.load())[0], "40")
    assert first.startswith("ct (phantoms: drawings, not patients): drawings, of which no figure")
    assert (
        "the patient of 6 of 30 images is not known; pictures that stand under two labels: 3"
        in second
    )
    assert "no case is tested on another data set" in second
    assert (
        "Trained once each, so that intervals hold no chance of the training: full-ce, "
        in (others[0])
    )


def test_shortcuts_that_tell_the_class_are_a_limitation_and_others_are_none(files: Files) -> None:
    said = "in the view labels-full border alone tell covid from the rest"
    assert not any(said in line for line in answer(build(files.load())[0], "40"))
    files.audits["labels-full"]["probes"]["border"]["by_class"]["covid"]["p_value_holm"] = 0.04
    assert any(said in line for line in answer(build(files.load())[0], "40"))


def test_the_goal_counts_the_cases_that_are_tested_elsewhere_once(files: Files) -> None:
    files.update_params(external=dict.fromkeys(("a", "b"), files.params.external["elsewhere"]))
    files.external = dict.fromkeys(("a", "b"), files.external["elsewhere"])
    assert "4 cases" in answer(build(files.load())[0], "6")[0]
    assert ", 1 of them on another data set too." in answer(build(files.load())[0], "6")[0]


def test_a_summary_has_design_methods_results_and_conclusions(results: Results) -> None:
    lines = answer(build(results)[0], "2")
    assert [line.partition(":")[0] for line in lines] == [
        *("Design", "Methods", "Results", "Results", "Conclusions", "Conclusions")
    ]
    assert "of 3 cases" in lines[2]


def test_heterogeneity_is_told_by_stratum_training_and_data_set(results: Results) -> None:
    first, second = answer(build(results)[1], "23b")
    assert "full-ce marker 0.500, no-marker 0.500; lungs-bce marker 0.800" in first
    assert "The models of lungs-folds, one by one" in first
    assert "External test elsewhere: lungs-bce" in first
    assert second == (
        "labels: not examined: no stratum is known, and each case is trained and tested once."
    )


@pytest.mark.parametrize("number", ["7", "9", "12", "19", "20", "21", "35"])
def test_every_data_set_has_a_line_of_its_own(results: Results, number: str) -> None:
    lines = answer(build(results)[0], number)
    for dataset in results.datasets.values():
        assert sum(line.startswith(f"{dataset.title}: ") for line in lines) == 1


def test_answers_hold_the_figures_of_the_run(results: Results) -> None:
    claim, tripod = build(results)
    assert answer(claim, "35")[0] == (
        "ct (phantoms: drawings, not patients): 64 files, 3 rejected, 64 images of 34 groups "
        "included"
    )
    assert "lungs-bce 0.800 (0.700 to 0.900)" in answer(claim, "37")[0]
    assert "200 bootstrap draws" in answer(claim, "29")[0]
    assert answer(claim, "23") == ["timm 1.0.31, torch 2.15.0; all of them in requirements.txt"]
    assert answer(claim, "33") == [
        "elsewhere: lungs-bce on labels, 20 images; AUROC 0.800 on its own test images, 0.600 there"
    ]
    assert "full-ce ECE 0.150 before, 0.020 after" in answer(tripod, "24")[0]
    assert "lungs-folds: 5 folds by group, stratified" in answer(tripod, "12a")


def test_errors_are_counted(results: Results) -> None:
    (_, first), (second, _) = results.cases["full-ce"].report.test.confusion_matrix
    wrong = first + second
    assert wrong > 0
    assert f"full-ce {wrong} errors in 60 predictions" in answer(build(results)[0], "39")[0]


def test_a_run_without_an_external_test_says_so(files: Files) -> None:
    files.external.clear()
    files.update_params(external={})
    lines = answer(build(files.load())[0], "33")
    assert lines == ["No external test is named in params.yaml."]


def test_groups_that_leak_are_not_called_disjoint(files: Files) -> None:
    leaks = {"g1": {"splits": ["train", "test"], "files": ["a", "b"]}}
    files.datasets["ct"].grouping["leaks"] = leaks
    first, second = answer(build(files.load())[0], "20")
    assert first.endswith("1 groups stand in two splits (allowed)")
    assert second.endswith("no group is cut")


def test_the_counts_are_in_the_summary(files: Files) -> None:
    for checklist in build(say(files, funding="none")):
        answered = [item for item in checklist.items if not item.is_open]
        by_run = [item for item in checklist.items if item.is_known]
        assert checklist.summary == (
            f"{checklist.title}: {len(answered)} of {len(checklist.items)} items answered, "
            f"{len(by_run)} by the run and 1 by the authors"
        )
        assert len(checklist.open_table.rows) == len(checklist.items) - len(answered)


def test_what_authors_wrote_is_shown_as_it_is(files: Files) -> None:
    text = "<script>x</script> **bold** [link](https://example.org) & {{ 7 * 7 }}"
    page = page_of(say(files, funding=text))
    assert "<script>x" not in page
    assert f"study.funding: {escape(text)}" in page


# ---- the counts of the two parameter files of the repository -----------------------------------


def files_of(params: Params, root: Path) -> Files:
    """What the stages would write of a parameter file, with made-up figures."""
    manifests = {name: manifest_of([*d.classes]) for name, d in params.datasets.items()}
    classes = {name: [*dataset.classes] for name, dataset in params.datasets.items()}

    def dataset_of(case: str) -> str:
        return params.view(params.case(case).view).dataset

    comparisons = {
        name: make_comparison(first, second) for name, (first, second) in params.comparisons.items()
    }
    return Files(
        root=root,
        params=params,
        cases={
            name: make_case(manifests[dataset_of(name)], classes[dataset_of(name)], skill=0.6)
            for name in params.cases
        },
        datasets={
            name: DatasetFiles(
                info=replace(
                    make_info(),
                    dataset=name,
                    is_phantom=dataset.is_phantom,
                    class_names=classes[name],
                    positive=dataset.positive,
                ),
                manifest=manifests[name],
                rejected=make_rejected(),
                suspicious=make_suspicious(),
                grouping=make_grouping(manifests[name]),
                metadata=metadata_of(manifests[name], dataset),
            )
            for name, dataset in params.datasets.items()
        },
        audits={name: make_audit(classes[view.dataset]) for name, view in params.views.items()},
        external={
            name: make_external(make_label_manifest())
            | {"case": test.case, "view": test.view, "dataset": params.view(test.view).dataset}
            for name, test in params.external.items()
        },
        comparisons=comparisons,
        searches={},
    )


def manifest_of(classes: list[str]) -> pd.DataFrame:
    """Ten images of each class."""
    return pd.DataFrame(
        [
            {"image_id": f"{label}-{number}", "group_id": f"{label}-{number}", "label": label}
            | {"split": SPLITS[number % 3], "source_path": f"{number}.png", "subgroup": ""}
            for label in classes
            for number in range(10)
        ]
    )


def metadata_of(manifest: pd.DataFrame, dataset: Dataset) -> Metadata:
    """That of the fixtures where the data set names a table of it."""
    if dataset.metadata is None:
        return tabulate_metadata(manifest["image_id"], [{}] * len(manifest), {})
    return make_metadata(manifest)


def counts(results: Results) -> list[tuple[int, int]]:
    """Items answered by the run, and by the authors alone, of CLAIM and of TRIPOD+AI."""
    return [(checklist.n_by_run, checklist.n_by_authors) for checklist in build(results)]


NOBODY = dict.fromkeys(Study.model_fields)


def test_the_default_run_answers_32_items_of_each_list_without_a_word_of_the_authors(
    tmp_path: Path,
) -> None:
    files = files_of(load_params(REPOSITORY / "params.yaml"), tmp_path)
    (claim, claim_more), (tripod, tripod_more) = counts(files.load())
    assert (claim, tripod) == (40, 40)
    assert (claim_more, tripod_more) == (3, 4)
    files.update_params(study=Study.model_validate(NOBODY))
    assert counts(files.load()) == [(40, 0), (40, 0)]


def test_of_real_images_the_run_answers_fewer_and_the_study_more(tmp_path: Path) -> None:
    files = files_of(load_params(REPOSITORY / "metrics" / "real" / "params.yaml"), tmp_path)
    assert counts(files.load()) == [(32, 7), (32, 9)]
    files.update_params(study=Study.model_validate(NOBODY))
    assert counts(files.load()) == [(32, 0), (32, 0)]
