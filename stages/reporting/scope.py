"""What a run set out to find, what it found and what it cannot tell: answers to checklist items."""

from collections.abc import Iterator

from stages.reporting.cases import describe_best, describe_runs
from stages.reporting.comparisons import describe_settled
from stages.reporting.external import describe_external
from stages.reporting.optimism import describe_optimistic
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.shortcuts import find_giveaways
from stages.reporting.wording import as_text, label


def describe_goal(results: Results) -> list[str]:
    """What kind of study a run is."""
    elsewhere = len({found.case for found in results.external.values()})
    return [
        f"Development, evaluation and comparison of image classifiers: {len(results.cases)} cases, "
        "each tested on images that it was not trained on"
        f"{f', {elsewhere} of them on another data set too' if elsewhere else ''}."
    ]


def describe_hypotheses(results: Results) -> list[str]:
    """The pairs that are tested; nothing where none is named."""
    pairs = results.params.comparisons
    if not pairs:
        return []
    said = "; ".join(
        f"{name}: {first} differs from {second}" for name, (first, second) in pairs.items()
    )
    return [f"Tested, as params.yaml names them, each two-sided: {said}."]


def summarise(results: Results) -> list[str]:
    """Design, methods, results and conclusions, a line for each and each data set."""
    cases = results.cases.values()
    networks = dict.fromkeys(case.settings.model for case in cases)
    protocols = dict.fromkeys(case.settings.protocol for case in cases)
    with_cases = [dataset for dataset in results.datasets.values() if dataset.cases]
    return [
        *(f"Design: {line}" for line in describe_goal(results)),
        f"Methods: networks {', '.join(networks)}; protocols {', '.join(protocols)}; 95 % "
        "intervals by a bootstrap of whole groups; beside each case the best shortcut of its view.",
        *(f"Results: {dataset.title}: {_result(dataset)}" for dataset in with_cases),
        *(
            f"Conclusions: {dataset.title}: {' '.join(describe_settled(dataset.comparisons))}"
            for dataset in with_cases
        ),
    ]


def _result(dataset: DatasetResults) -> str:
    honest = {case.name: case.figures for case in dataset.cases if not case.is_optimistic}
    if not honest:
        return "All cases are optimistic on purpose: none has a result to summarise."
    headlines = {case.name: case.headline for case in dataset.cases if case.headline}
    above = [
        name
        for name, found in headlines.items()
        if found.difference.low is not None and found.difference.low > 0
    ]
    return (
        f"{describe_best(honest)[0]} AUROC above that of the best shortcut, interval and all: "
        f"{len(above)} of {len(headlines)} cases{': ' if above else ''}{', '.join(above)}."
    )


def describe_limitations(results: Results) -> list[str]:
    """What limits the figures of a run, as far as the run measured or knows it."""
    return [
        f"{dataset.title}: {'; '.join(_limits(dataset))}." for dataset in results.datasets.values()
    ] + [
        *describe_optimistic([*results.cases.values()]),
        *_limits_of_trainings([*results.cases.values()]),
        "No sample size was calculated; nobody's judgement of the images is compared with the "
        "networks'.",
    ]


def _limits(dataset: DatasetResults) -> Iterator[str]:
    grouping, cases = dataset.grouping, dataset.cases
    if dataset.info.is_phantom:
        yield "drawings, of which no figure says anything about patients"
    unknown = grouping.n_images - grouping.n_images_of_known_patient
    if unknown and not dataset.info.is_phantom:
        yield f"the patient of {unknown} of {grouping.n_images} images is not known"
    if grouping.leaks:
        yield f"{len(grouping.leaks)} groups stand in more than one split"
    if grouping.clusters_with_two_labels:
        yield f"pictures that stand under two labels: {grouping.clusters_with_two_labels}"
    if cases:
        yield f"{min(case.figures.n_test for case in cases)} test images at least for each case"
        widths = [
            auroc.high - auroc.low
            for case in cases
            if (auroc := case.figures.get("auroc")).low is not None and auroc.high is not None
        ]
        if widths:
            yield f"intervals of the AUROC are up to {max(widths):.2f} wide"
        if not dataset.external:
            yield "no case is tested on another data set"
    telling = {
        view: find_giveaways(dataset.info.positive, audit) for view, audit in dataset.audits.items()
    }
    for view, shortcuts in telling.items():
        if shortcuts:
            yield (
                f"in the view {view} {', '.join(map(label, shortcuts))} alone tell "
                f"{dataset.info.positive} from the rest"
            )


def _limits_of_trainings(cases: list[CaseResults]) -> Iterator[str]:
    once = [case.name for case in cases if case.figures.n_runs == 1]
    if once:
        yield (
            f"Trained once each, so that intervals hold no chance of the training: "
            f"{', '.join(once)}."
        )
    at_chance = [case.name for case in cases if case.starts_at_chance]
    if at_chance:
        yield f"Started from weights no better than chance: {', '.join(at_chance)}."


def describe_clusters(results: Results) -> list[str]:
    """How heterogeneity is handled: groups, strata, trainings, other data sets."""
    return [
        "Images of one patient, and pictures that are the same, form a group; the bootstrap draws "
        "groups whole. Centres are not modelled. Figures are given for each known stratum, for "
        "each of several trainings and for each external test.",
        *(
            f"{dataset.title}: strata {', '.join(dataset.strata) or 'none known'}"
            for dataset in results.datasets.values()
        ),
    ]


def describe_heterogeneity(results: Results) -> list[str]:
    """Figures by stratum, by training and on other data sets."""
    none = ["not examined: no stratum is known, and each case is trained and tested once."]
    return [
        f"{dataset.title}: {' '.join(_differing(results, dataset) or none)}"
        for dataset in results.datasets.values()
        if dataset.cases
    ]


def _differing(results: Results, dataset: DatasetResults) -> list[str]:
    honest = [case for case in dataset.cases if not case.is_optimistic]
    by_stratum = [_by_stratum(case, dataset.strata) for case in honest] if dataset.strata else []
    return [
        *([f"AUROC by stratum: {'; '.join(by_stratum)}."] if by_stratum else []),
        *(line for case in honest for line in describe_runs(case.title, case.figures)),
        *(
            describe_external(
                name, found, results.cases[found.case], results.datasets[found.dataset].title
            )
            for name, found in dataset.external.items()
        ),
    ]


def _by_stratum(case: CaseResults, strata: list[str]) -> str:
    aurocs = (as_text(case.figures.get(f"auroc_{stratum}").value) for stratum in strata)
    said = ", ".join(f"{name} {auroc}" for name, auroc in zip(strata, aurocs, strict=True))
    return f"{case.title} {said}"
