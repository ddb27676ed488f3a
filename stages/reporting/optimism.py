"""Cases whose protocol is optimistic on purpose: why, and what the protocol alone is worth."""

from collections.abc import Iterator, Sequence

from stages.reporting.differences import PROTOCOL_FIELDS
from stages.reporting.documents import Comparison
from stages.reporting.results import CaseResults
from stages.reporting.wording import DISCUSSED, difference_text, label, with_interval

METRICS = ("accuracy", *DISCUSSED)  # publications give the first


def describe_optimistic(cases: Sequence[CaseResults]) -> list[str]:
    """A sentence on each such case: why its figures are better than those on new patients."""
    return [
        f"{case.title} is optimistic on purpose, as published figures often are, and no headline: "
        f"{'; '.join(_reasons(case))}."
        for case in cases
        if case.is_optimistic
    ]


def _reasons(case: CaseResults) -> Iterator[str]:
    if case.protocol.grouping == "none":
        yield (
            "its images are dealt at random, whoever they are of, and "
            f"{case.figures.n_leaking_groups} groups stand in two splits"
        )
    if case.protocol.augmented_copies:
        yield (
            f"{case.protocol.augmented_copies} augmented copies of each are dealt with them, so "
            "that copies of what it was trained on are among the images that it is scored on"
        )
    if case.protocol.held_out == "both":
        epoch = "" if case.recipe.keep == "last" else "epoch, "
        yield f"its {epoch}temperature and thresholds are chosen on the images that it is scored on"


def describe_left_out(cases: Sequence[CaseResults]) -> list[str]:
    """Which cases are in none of the findings over all cases."""
    names = [case.name for case in cases if case.is_optimistic]
    if not names:
        return []
    return [
        "Left out of the best cases and not held against a shortcut, since the protocol is "
        f"optimistic (§): {', '.join(names)}."
    ]


def describe_worth(found: Comparison) -> list[str]:
    """What an optimistic protocol makes of a comparison; nothing where neither case has one."""
    if not found.optimistic:
        return []
    if len(found.optimistic) > 1:
        return ["Both cases are scored under an optimistic protocol (§)."]
    (optimistic,) = found.optimistic
    said = f"{optimistic} is scored under an optimistic protocol (§)"
    if not found.differs.keys() <= set(PROTOCOL_FIELDS):
        return [f"{said}; what of the difference is due to that, the figures cannot tell."]
    worth = "is worth" if found.first == optimistic else "makes a difference, once given up, of"
    return [
        f"{said}: alone it {worth} {difference_text(pair.difference)} in {label(metric)}, "
        f"{with_interval(pair.first)} for {found.first} against {with_interval(pair.second)} for "
        f"{found.second}, patient by patient on the {found.test.n} images of both."
        for metric in METRICS
        if (pair := found.test.metrics[metric]).difference.has_interval
    ]
