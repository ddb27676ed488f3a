import csv

import pytest

from stages.reporting.answers import ANSWERS
from stages.reporting.checklist import ITEMS, Checklist, build_checklists
from stages.reporting.results import Results
from tests.reporting.conftest import Files


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


def test_every_answer_is_asked_for_and_every_question_known() -> None:
    with ITEMS.open(encoding="utf-8", newline="") as lines:
        asked = {row["answer"] for row in csv.DictReader(lines)}
    assert asked - {""} == set(ANSWERS)


def test_what_only_authors_know_is_left_to_them(results: Results) -> None:
    claim, tripod = build(results)
    for number in ("1", "8", "36", "40", "44"):
        assert answer(claim, number) == []
    for number in ("3c", "14", "17", "18a", "19", "26"):
        assert answer(tripod, number) == []


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


def test_the_number_of_answers_is_counted(results: Results) -> None:
    claim, tripod = build(results)
    for checklist in (claim, tripod):
        assert checklist.n_filled == sum(item.lines != [] for item in checklist.items)
        assert 20 < checklist.n_filled < len(checklist.items)
