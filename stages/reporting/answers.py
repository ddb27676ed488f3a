"""What a run can say to the items of the reporting checklists, by the key of checklists.csv."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.dataset.image_set import SPLITS
from stages.reporting.case_tables import describe_case
from stages.reporting.data_card import describe_grouping, describe_reference
from stages.reporting.discussion import METHOD_NAMES
from stages.reporting.html_table import as_text, case_cell, label
from stages.reporting.results import Results


class Facts(NamedTuple):
    """What the answers are made of: all results, and the title of each data set."""

    results: Results
    titles: Mapping[str, str]


def _per_dataset(facts: Facts, say: Callable[[str], str]) -> list[str]:
    """A line for each data set, so that phantoms and real images stay apart."""
    return [f"{facts.titles[name]}: {say(name)}" for name in facts.results.datasets]


def _per_dataset_with_cases(facts: Facts, say: Callable[[list[str]], str]) -> list[str]:
    """A line for each data set that a case uses."""
    results = facts.results
    return [
        f"{facts.titles[name]}: {say(results.cases_of(name))}"
        for name in results.datasets
        if results.cases_of(name)
    ]


def _distinct(values: Iterable[object]) -> str:
    """Each value once, in the order in which they come."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _data_sources(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        provenance = facts.results.params.dataset(name).provenance
        return f"{facts.results.datasets[name].info.source}; {provenance}"

    return _per_dataset(facts, say)


def _preprocessing(facts: Facts) -> list[str]:
    def say(dataset: str) -> str:
        views = facts.results.params.views
        said = [
            f"view {name}: crop {view.crop.mode}, {view.size} x {view.size} pixels, {view.fit}"
            for name, view in views.items()
            if view.dataset == dataset
        ]
        size = facts.results.params.dataset(dataset).size
        return f"decoded to 8 bit grey, longest side {size} pixels; {'; '.join(said) or 'no view'}"

    return _per_dataset(facts, say)


def _subsets(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        info = facts.results.datasets[name].info
        return f"classes {', '.join(info.class_names)}; {info.n_left_out} files left out"

    return _per_dataset(facts, say)


def _missing_data(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        info = facts.results.datasets[name].info
        return f"{info.n_rejected} of {info.n_files} files rejected as unreadable; none imputed"

    return _per_dataset(facts, say)


def _reference_standard(facts: Facts) -> list[str]:
    datasets = facts.results.datasets
    return _per_dataset(facts, lambda name: describe_reference(datasets[name].info))


def _test_annotation(facts: Facts) -> list[str]:
    return ["The labels of the test images come from the same source as those of the others."]


def _predictors(facts: Facts) -> list[str]:
    return ["The pixels of one image; nothing else of the file reaches the model."]


def _partitions(facts: Facts) -> list[str]:
    params = facts.results.params

    def say(name: str) -> str:
        counts = facts.results.datasets[name].manifest["split"].value_counts()
        shares = params.dataset(name).split
        return (
            f"{', '.join(f'{split} {counts.get(split, 0)}' for split in SPLITS)} images; by the "
            "splits that came with the data, else stratified at random, shares "
            f"{shares.train:g}, {shares.val:g}, {shares.test:g} (seed {params.seed})"
        )

    folds = {case: params.case(case).folds for case in facts.results.cases}
    return _per_dataset(facts, say) + [
        f"{case}: {count} folds by group, stratified" for case, count in folds.items() if count > 1
    ]


def _disjointness(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        dataset, grouping = facts.results.params.dataset(name), facts.results.groupings[name]
        leaks = len(grouping["leaks"])
        standing = f"{leaks} groups stand in two splits (allowed)" if leaks else "no group is cut"
        return f"{describe_grouping(dataset, grouping)}; {standing}"

    return _per_dataset(facts, say)


def _sample_size(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        grouping = facts.results.groupings[name]
        return f"{grouping['n_images']} images of {grouping['n_groups']} groups, all that there are"

    return ["No sample size was calculated.", *_per_dataset(facts, say)]


def _model(facts: Facts) -> list[str]:
    params = facts.results.params

    def say(cases: list[str]) -> str:
        said = [
            f"{case} {params.case(case).model} (head {params.case(case).head or 'none'}, trains "
            f"{params.case(case).train})"
            for case in cases
        ]
        return "; ".join(said)

    return _per_dataset_with_cases(facts, say)


def _software(facts: Facts) -> list[str]:
    versions = {
        f"{name} {number}"
        for case in facts.results.cases.values()
        for name, number in case.training["versions"].items()
    }
    return [", ".join(sorted(versions)) + "; all of them in requirements.txt"]


def _initial_weights(facts: Facts) -> list[str]:
    cases = facts.results.cases
    return _per_dataset_with_cases(
        facts,
        lambda names: "; ".join(f"{n} from {cases[n].training['started_from']}" for n in names),
    )


def _training(facts: Facts) -> list[str]:
    params = facts.results.params

    def say(names: list[str]) -> str:
        cases = [params.case(name) for name in names]
        return (
            f"loss {_distinct(c.loss.name for c in cases)}; optimizer "
            f"{_distinct(c.optimizer for c in cases)}; learning rate "
            f"{_distinct(f'{c.lr:g}' for c in cases)}; schedule "
            f"{_distinct(c.schedule for c in cases)}; epochs {_distinct(c.epochs for c in cases)}; "
            f"batch size {_distinct(c.batch_size for c in cases)}; augmentation "
            f"{_distinct(c.augment for c in cases)}; each case's own in table Settings"
        )

    return _per_dataset_with_cases(facts, say)


def _model_selection(facts: Facts) -> list[str]:
    keeps = _distinct(facts.results.params.case(case).keep for case in facts.results.cases)
    return [
        f"Epoch kept: {keeps} (best: the lowest validation loss; last: the last one). No test "
        "image takes part."
    ]


def _ensembles(facts: Facts) -> list[str]:
    params = facts.results.params
    averaged = [case for case in facts.results.cases if params.case(case).ensemble]
    return [f"Models averaged per image: {', '.join(averaged) or 'in no case'}."]


def _metrics(facts: Facts) -> list[str]:
    return [
        ", ".join(label(name) for name in HEADLINE_METRICS)
        + ", log loss, Brier score, ECE; ROC, precision-recall and reliability curves; "
        "sensitivity, specificity, PPV and NPV at two operating points."
    ]


def _uncertainty(facts: Facts) -> list[str]:
    return [
        f"95 % intervals from {facts.results.params.evaluate.bootstrap_draws} bootstrap draws of "
        "whole groups; named comparisons by paired bootstrap, DeLong's and McNemar's tests, "
        "adjusted by Holm's method."
    ]


def _robustness(facts: Facts) -> list[str]:
    def say(cases: list[str]) -> str:
        return "; ".join(_occlusions(facts.results, case) for case in cases)

    return [*_per_dataset_with_cases(facts, say), "Shortcut probes of every view: Shortcuts."]


def _occlusions(results: Results, case: str) -> str:
    hidden, only = (
        as_text(results.cases[case].metrics[f"auroc_lungs_{part}"]) for part in ("hidden", "only")
    )
    name = case_cell(results, case).text
    return f"{name} AUROC {hidden} with the lungs hidden, {only} with all else hidden"


def _explainability(facts: Facts) -> list[str]:
    methods = ", ".join(METHOD_NAMES[method] for method in facts.results.params.cam.methods)
    return [f"{methods}; scored against the lungs and against maps that look at nothing."]


def _internal_test(facts: Facts) -> list[str]:
    cases = facts.results.cases
    return _per_dataset_with_cases(
        facts,
        lambda names: "; ".join(f"{n} {cases[n].metrics['n_test']} test images" for n in names),
    )


def _external_test(facts: Facts) -> list[str]:
    return [
        f"{name}: {found['case']} on {facts.titles[found['dataset']]}, {found['n']} "
        f"images; AUROC {as_text(found['drop']['auroc']['own'])} on its own test images, "
        f"{as_text(found['drop']['auroc']['external'])} there"
        for name, found in facts.results.external.items()
    ] or ["No external test is named in params.yaml."]


def _inclusion_counts(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        info, grouping = facts.results.datasets[name].info, facts.results.groupings[name]
        return (
            f"{info.n_files} files, {info.n_rejected} rejected, {grouping['n_images']} images of "
            f"{grouping['n_groups']} groups included"
        )

    return _per_dataset(facts, say)


def _class_counts(facts: Facts) -> list[str]:
    def say(name: str) -> str:
        found = facts.results.datasets[name]
        counts = pd.crosstab(found.manifest["split"], found.manifest["label"])
        said = [
            f"{split}: " + ", ".join(f"{class_} {n}" for class_, n in counts.loc[split].items())
            for split in SPLITS
            if split in counts.index
        ]
        return "; ".join(said)

    return _per_dataset(facts, say)


def _performance(facts: Facts) -> list[str]:
    results = facts.results
    return _per_dataset_with_cases(
        facts, lambda cases: "AUROC " + "; ".join(describe_case(results, case) for case in cases)
    )


def _diagnostic_accuracy(facts: Facts) -> list[str]:
    results = facts.results

    def say(cases: list[str]) -> str:
        figures = [
            f"{case_cell(results, case).text} sensitivity "
            f"{as_text(results.cases[case].metrics['sensitivity'])}, specificity "
            f"{as_text(results.cases[case].metrics['specificity'])}"
            for case in cases
        ]
        return "; ".join(figures) + "; intervals in the table of test figures"

    return _per_dataset_with_cases(facts, say)


def _failures(facts: Facts) -> list[str]:
    def say(cases: list[str]) -> str:
        return "; ".join(f"{case} {_errors(facts.results, case)}" for case in cases)

    return [*_per_dataset_with_cases(facts, say), "Pictures of errors come first in each gallery."]


def _errors(results: Results, case: str) -> str:
    rows = results.cases[case].predictions
    test = rows[rows["split"] == "test"]
    return f"{(test['prediction'] != test['label']).sum()} errors in {len(test)} predictions"


def _availability(facts: Facts) -> list[str]:
    return [
        "The code is this repository; params.yaml and dvc.lock name every setting and the hash of "
        "every file, the models (data/weights/<case>/) among them. Where they can be had is for "
        "the authors to say."
    ]


def _data_sharing(facts: Facts) -> list[str]:
    datasets = facts.results.params.datasets
    return _per_dataset(facts, lambda name: f"licence {datasets[name].licence}")


def _updating(facts: Facts) -> list[str]:
    return ["Temperature scaling, fitted on val (Guo et al. 2017); no other updating."]


def _updating_results(facts: Facts) -> list[str]:
    cases = facts.results.cases
    return _per_dataset_with_cases(
        facts,
        lambda names: "; ".join(
            f"{n} ECE {as_text(cases[n].metrics['ece'])} before, "
            f"{as_text(cases[n].metrics['ece_calibrated'])} after"
            for n in names
        ),
    )


def _predictions(facts: Facts) -> list[str]:
    return [
        "By stages/evaluate.py from data/weights/<case>/; the prediction for every image stands in "
        "data/predictions/<case>.csv."
    ]


def _class_imbalance(facts: Facts) -> list[str]:
    params = facts.results.params
    return _per_dataset_with_cases(
        facts,
        lambda names: "; ".join(
            f"{n} loss {params.case(n).loss.name}, sampler {params.case(n).sampler}" for n in names
        ),
    )


def _outputs(facts: Facts) -> list[str]:
    return [
        "A probability per class; the decision is the likeliest class. Thresholds on the positive "
        "class, chosen on val: table Operating points."
    ]


ANSWERS: dict[str, Callable[[Facts], list[str]]] = {
    "data_sources": _data_sources,
    "preprocessing": _preprocessing,
    "subsets": _subsets,
    "missing_data": _missing_data,
    "reference_standard": _reference_standard,
    "test_annotation": _test_annotation,
    "predictors": _predictors,
    "partitions": _partitions,
    "disjointness": _disjointness,
    "sample_size": _sample_size,
    "model": _model,
    "software": _software,
    "initial_weights": _initial_weights,
    "training": _training,
    "model_selection": _model_selection,
    "ensembles": _ensembles,
    "metrics": _metrics,
    "uncertainty": _uncertainty,
    "robustness": _robustness,
    "explainability": _explainability,
    "internal_test": _internal_test,
    "external_test": _external_test,
    "inclusion_counts": _inclusion_counts,
    "class_counts": _class_counts,
    "performance": _performance,
    "diagnostic_accuracy": _diagnostic_accuracy,
    "failures": _failures,
    "availability": _availability,
    "data_sharing": _data_sharing,
    "updating": _updating,
    "updating_results": _updating_results,
    "predictions": _predictions,
    "class_imbalance": _class_imbalance,
    "outputs": _outputs,
}
