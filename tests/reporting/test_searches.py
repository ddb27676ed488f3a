from typing import Any

from stages.config.params import Search as Asked
from stages.reporting.discussion import build_discussion, render_markdown
from stages.reporting.documents import Search
from stages.reporting.page import render_page
from stages.reporting.searches import build_candidate_table, build_chosen_table, describe_search
from tests.reporting.conftest import Files

Json = dict[str, Any]


def figures(log_loss: float, n: int = 40) -> Json:
    values = {"log_loss": log_loss, "auroc": 0.91, "balanced_accuracy": 0.85}
    ends = {"": 0.0, "_low": -0.05, "_high": 0.05}
    flat = {f"{name}{end}": v + shift for name, v in values.items() for end, shift in ends.items()}
    return {"n": n, "n_groups": n // 2, "undefined": {}, **flat}


def make_search(*, folds: bool = False) -> Json:
    choices = [{"fold": None, "case": "lungs-bce"}]
    if folds:
        names = {1: "lungs-bce", 2: "full-ce", 3: "lungs-bce"}
        choices = [{"fold": fold, "case": name} for fold, name in names.items()]
    return {
        "by": "log_loss",
        "candidates": {"full-ce": figures(0.7), "lungs-bce": figures(0.3)},
        "choices": choices,
        "val": figures(0.3),
        "test": figures(0.42, n=60),
        "optimism": 0.12,
        "set_aside": [] if folds else ["full-ce"],
    }


def with_search(files: Files) -> Files:
    """A search that sets `full-ce` aside, which nothing else then names."""
    files.searches = {"of-two": make_search()}
    files.comparisons.clear()
    search = Asked.model_validate({"cases": ["full-ce", "lungs-bce"], "by": "log_loss"})
    files.update_params(searches={"of-two": search}, comparisons={})
    return files


def test_candidates_stand_by_validation_and_only_what_was_chosen_has_test_figures() -> None:
    found = Search.model_validate(make_search())
    candidates, chosen = build_candidate_table(found), build_chosen_table(found)
    assert [[cell.text for cell in row] for row in candidates.rows] == [
        ["lungs-bce", "0.300", "chosen"],
        ["full-ce", "0.700", ""],
    ]
    assert [[cell.text for cell in row] for row in chosen.rows] == [
        ["validation", "0.300", "0.910", "0.850", "40"],
        ["test", "0.420", "0.910", "0.850", "60"],
    ]


def test_choices_per_fold_are_listed() -> None:
    found = Search.model_validate(make_search(folds=True))
    assert [row[2].text for row in build_candidate_table(found).rows] == [
        "chosen in folds 1, 3",
        "chosen in fold 2",
    ]
    assert "lungs-bce chosen in folds 1, 3; full-ce chosen in fold 2." in describe_search(found)[0]


def test_sentences_say_how_many_were_tried_and_what_validation_promised() -> None:
    said = " ".join(describe_search(Search.model_validate(make_search())))
    assert "Of 2 candidates lungs-bce has the lowest log loss on the 40 validation images" in said
    assert "goes from 0.300 to 0.700, with a median of 0.500" in said
    assert "log loss 0.420 (95 % interval 0.370 to 0.470)" in said
    assert "was 0.120 better on the validation images" in said


def test_what_is_worse_on_validation_is_called_so() -> None:
    found = Search.model_validate(make_search() | {"optimism": -0.02})
    assert any("was 0.020 worse on the validation" in line for line in describe_search(found))


def test_a_case_set_aside_stands_in_its_search_alone(files: Files) -> None:
    files.update_params(
        external={"away": files.params.external["elsewhere"].model_copy(update={"case": "full-ce"})}
    )
    files.external = {"away": files.external["elsewhere"] | {"case": "full-ce"}}
    results = with_search(files).load()
    assert "full-ce" not in results.cases
    assert results.external == {}
    discussion = build_discussion(results)
    page = render_page(results, discussion)
    before, _, rest = page.partition('<h3 id="ct.searches">')
    section, _, after = rest.partition("<h3 ")
    assert "full-ce" in section
    assert "full-ce" not in before + after
    assert "### Search of-two" in render_markdown(discussion)


def test_without_a_search_the_page_has_no_such_part(files: Files) -> None:
    results = files.load()
    page = render_page(results, build_discussion(results))
    assert "Searches" not in page
    assert "full-ce" in results.cases
