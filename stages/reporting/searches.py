"""Searches of a data set: candidates by their validation figures, and what was chosen tested."""

import statistics
from collections.abc import Iterator

from stages.evaluation.metrics import CRITERIA, SHRINKING
from stages.reporting.documents import Search
from stages.reporting.table import Cell, Table, count_cell, estimate_cell
from stages.reporting.wording import as_text, label, with_interval


def build_candidate_table(found: Search) -> Table:
    """Candidates by their validation figures, the best first; no test figures."""
    return Table(
        f"Candidates by {label(found.by)} on validation images",
        ["candidate", f"{label(found.by)} on validation", "chosen"],
        [
            [
                Cell(name),
                estimate_cell(found.candidates[name].get(found.by)),
                Cell(_say_chosen(found, name)),
            ]
            for name in _best_first(found)
        ],
    )


def build_chosen_table(found: Search) -> Table:
    """What was chosen, on the images that chose it and on test images."""
    return Table(
        "What was chosen",
        ["on", *map(label, CRITERIA), "images"],
        [
            [
                Cell(images),
                *(estimate_cell(figures.get(metric)) for metric in CRITERIA),
                count_cell(figures.n),
            ]
            for images, figures in (("validation", found.val), ("test", found.test))
        ],
    )


def describe_search(found: Search) -> list[str]:
    """What was chosen and how, what it is worth, and what the other candidates' figures are not."""
    return [
        _choice_sentence(found),
        *_spread_sentence(found),
        _test_sentence(found),
        *_optimism_sentence(found),
        "Test images took no part in the choice. The test figures of the other candidates, "
        "wherever they stand, are no result of this search.",
        *_set_aside_sentence(found),
    ]


def summarise_search(name: str, found: Search) -> str:
    """A search in a line."""
    chosen = ", ".join(dict.fromkeys(choice.case for choice in found.choices))
    in_folds = ", in each fold anew" if found.choices[0].fold is not None else ""
    return (
        f"Search {name}: of {len(found.candidates)} cases the best {label(found.by)} on validation "
        f"images chose {chosen}{in_folds}."
    )


def _choice_sentence(found: Search) -> str:
    best = f"the {'lowest' if found.by in SHRINKING else 'highest'} {label(found.by)}"
    n_candidates = len(found.candidates)
    if found.choices[0].fold is None:
        return (
            f"Of {n_candidates} candidates {found.choices[0].case} has {best} on the "
            f"{found.val.n} validation images ({found.val.n_groups} groups), "
            f"{with_interval(found.val.get(found.by))}, and is chosen."
        )
    said = "; ".join(
        f"{name} {_say_chosen(found, name)}"
        for name in dict.fromkeys(choice.case for choice in found.choices)
    )
    return (
        f"Of {n_candidates} candidates that of {best} on the validation images of a fold is chosen "
        f"in that fold, as these are test images of other folds: {said}."
    )


def _say_chosen(found: Search, name: str) -> str:
    """Whether a candidate was chosen, and in which folds."""
    folds = [choice.fold for choice in found.choices if choice.case == name]
    if not folds or folds == [None]:
        return "chosen" if folds else ""
    return f"chosen in {'folds' if len(folds) > 1 else 'fold'} {', '.join(map(str, folds))}"


def _best_first(found: Search) -> list[str]:
    """The candidates by their figure on all validation images; without one last."""
    sign = 1 if found.by in SHRINKING else -1
    figures = {name: of.get(found.by).value for name, of in found.candidates.items()}

    def place(name: str) -> float:
        value = figures[name]
        return float("inf") if value is None else sign * value

    return sorted(found.candidates, key=place)


def _spread_sentence(found: Search) -> Iterator[str]:
    values = [
        value
        for name in _best_first(found)
        if (value := found.candidates[name].get(found.by).value) is not None
    ]
    if values:
        yield (
            f"On all validation images the {label(found.by)} of the candidates goes from "
            f"{as_text(values[0])} to {as_text(values[-1])}, with a median of "
            f"{as_text(statistics.median(values))}."
        )


def _test_sentence(found: Search) -> str:
    said = ", ".join(f"{label(m)} {with_interval(found.test.get(m))}" for m in CRITERIA)
    images = f"{found.test.n} test images ({found.test.n_groups} groups)"
    return f"What was chosen, on its {images}: {said}."


def _optimism_sentence(found: Search) -> Iterator[str]:
    if found.optimism is None:
        return
    better = "better" if found.optimism >= 0 else "worse"
    yield (
        f"Its {label(found.by)} was {as_text(abs(found.optimism))} {better} on the validation "
        "images, which chose it."
    )


def _set_aside_sentence(found: Search) -> Iterator[str]:
    if found.set_aside:
        yield (
            "Shown here alone, since they are neither chosen nor compared nor started from: "
            f"{', '.join(found.set_aside)}."
        )
