"""What a run can say to the items of the reporting checklists, by the key of checklists.csv."""

from collections.abc import Callable, Iterable

from stages.dataset.image_set import SPLITS
from stages.evaluation.metrics import HEADLINE_METRICS
from stages.reporting.cases import OCCLUDED, describe_auroc
from stages.reporting.data import (
    count_images,
    describe_grouping,
    describe_reference,
    describe_suspicious,
)
from stages.reporting.optimism import describe_optimistic
from stages.reporting.results import CaseResults, DatasetResults, Results
from stages.reporting.scope import (
    describe_clusters,
    describe_goal,
    describe_heterogeneity,
    describe_hypotheses,
    describe_limitations,
    summarise,
)
from stages.reporting.searches import summarise_search
from stages.reporting.training import start_text
from stages.reporting.wording import METHOD_NAMES, as_text, label

Answer = Callable[[Results], list[str]]


def _fixed(line: str) -> Answer:
    """The same for every run."""
    return lambda results: [line]


def _all_of(*answers: Answer) -> Answer:
    """The lines of several answers."""
    return lambda results: [line for answer in answers for line in answer(results)]


def _per_dataset(say: Callable[[DatasetResults], str]) -> Answer:
    """A line for each data set, so that phantoms and real images stay apart."""
    return lambda results: [f"{d.title}: {say(d)}" for d in results.datasets.values()]


def _per_case(say: Callable[[CaseResults], str], before: str = "", after: str = "") -> Answer:
    """A line for each data set that has cases, with an entry for each of them."""
    return lambda results: [
        f"{dataset.title}: {before}{'; '.join(map(say, dataset.cases))}{after}"
        for dataset in results.datasets.values()
        if dataset.cases
    ]


def _per_honest_case(
    say: Callable[[CaseResults], str], before: str = "", after: str = ""
) -> Answer:
    """As `_per_case`, of cases whose protocol is not optimistic; and which were left out."""

    def answer(results: Results) -> list[str]:
        lines = []
        for dataset in results.datasets.values():
            said = [say(case) for case in dataset.cases if not case.is_optimistic]
            left_out = [case.name for case in dataset.cases if case.is_optimistic]
            if said:
                lines.append(f"{dataset.title}: {before}{'; '.join(said)}{after}")
            if left_out:
                why = "left out, as their protocol is optimistic"
                lines.append(f"{dataset.title}: {why}: {', '.join(left_out)}")
        return lines

    return answer


def _distinct(values: Iterable[object]) -> str:
    """Each value once, in the order in which they come."""
    return ", ".join(dict.fromkeys(map(str, values)))


def _preprocessing(results: Results) -> list[str]:
    def say(dataset: DatasetResults) -> str:
        views = {name: results.params.view(name) for name in dataset.audits}
        said = [
            f"view {name}: crop {view.crop.kind}, {view.size_px} x {view.size_px} pixels, "
            f"{view.fit}"
            for name, view in views.items()
        ]
        size = dataset.settings.size_px
        return f"decoded to 8 bit grey, longest side {size} pixels; {'; '.join(said) or 'no view'}"

    return _per_dataset(say)(results)


def _partitions(results: Results) -> list[str]:
    def say(dataset: DatasetResults) -> str:
        counts = dataset.manifest["split"].value_counts()
        shares = dataset.settings.split
        return (
            f"{', '.join(f'{split} {counts.get(split, 0)}' for split in SPLITS)} images; by the "
            "splits that came with the data, else stratified at random, shares "
            f"{shares.train:g}, {shares.val:g}, {shares.test:g} (seed {results.params.seed})"
        )

    return (
        _per_dataset(say)(results)
        + [
            f"{case.name}: the folds that came with the data"
            if case.protocol.folds == "given"
            else f"{case.name}: {case.protocol.folds} folds by group, stratified"
            for case in results.cases.values()
            if case.protocol.has_folds and not case.is_optimistic
        ]
        + describe_optimistic([*results.cases.values()])
    )


def _disjointness(dataset: DatasetResults) -> str:
    leaks = len(dataset.grouping.leaks)
    standing = f"{leaks} groups stand in two splits (allowed)" if leaks else "no group is cut"
    return f"{describe_grouping(dataset.settings, dataset.grouping)}; {standing}"


def _software(results: Results) -> list[str]:
    versions = {
        f"{name} {number}"
        for case in results.cases.values()
        for name, number in case.training.versions.items()
    }
    return [", ".join(sorted(versions)) + "; all of them in requirements.txt"]


def _training(results: Results) -> list[str]:
    def say(dataset: DatasetResults) -> str:
        cases, recipes = dataset.cases, [case.recipe for case in dataset.cases]
        facts = {
            "loss": (case.settings.loss.kind for case in cases),
            "optimizer": (recipe.optimizer for recipe in recipes),
            "learning rate": (f"{recipe.lr:g}" for recipe in recipes),
            "schedule": (recipe.schedule for recipe in recipes),
            "epochs": (recipe.epochs for recipe in recipes),
            "batch size": (recipe.batch_size for recipe in recipes),
            "augmentation": (case.settings.augment for case in cases),
        }
        said = "; ".join(f"{name} {_distinct(values)}" for name, values in facts.items())
        return f"{said}; each case's own in table Settings"

    return [f"{d.title}: {say(d)}" for d in results.datasets.values() if d.cases]


def _model_selection(results: Results) -> list[str]:
    keeps = _distinct(case.recipe.keep for case in results.cases.values())
    optimistic = [case.name for case in results.cases.values() if case.is_optimistic]
    but = f", but of the optimistic {', '.join(optimistic)}" if optimistic else ""
    return [
        f"Epoch kept: {keeps} (best: the lowest validation loss; best_accuracy: the highest "
        "validation accuracy; last: the last one). No test "
        f"image takes part{but}.",
        *(
            summarise_search(name, found)
            for dataset in results.datasets.values()
            for name, found in dataset.searches.items()
        ),
    ]


def _ensembles(results: Results) -> list[str]:
    cases = results.cases.values()
    averaged = [case.name for case in cases if case.protocol.ensemble]
    mirrored = [case.name for case in cases if case.protocol.mirror]
    return [
        f"Models averaged per image: {', '.join(averaged) or 'in no case'}.",
        f"Predictions of an image and its mirror averaged: {', '.join(mirrored) or 'in no case'}.",
    ]


def _uncertainty(results: Results) -> list[str]:
    return [
        "95 % intervals over whole groups, Wilson's by a figure's effective sample size, their "
        "coverage simulated; of maps, from "
        f"{results.params.evaluate.bootstrap_draws} bootstrap draws. Named comparisons by paired "
        "differences, DeLong's and McNemar's tests, adjusted by Holm's method."
    ]


def _occlusions(case: CaseResults) -> str:
    hidden, only = (as_text(case.figures.get(f"auroc_{part}").value) for part in OCCLUDED)
    return f"{case.title} AUROC {hidden} with the lungs hidden, {only} with all else hidden"


def _explainability(results: Results) -> list[str]:
    methods = ", ".join(METHOD_NAMES[method] for method in results.params.cam.methods)
    return [f"{methods}; scored against the lungs and against maps that look at nothing."]


def _external_test(results: Results) -> list[str]:
    lines = []
    for name, found in results.external.items():
        auroc = found.drop["auroc"]
        lines.append(
            f"{name}: {results.cases[found.case].title} on "
            f"{results.datasets[found.dataset].title}, {found.n} images; "
            f"AUROC {as_text(auroc.own)} on its own test images, {as_text(auroc.external)} there"
        )
    return lines or ["No external test is named in params.yaml."]


def _inclusion_counts(dataset: DatasetResults) -> str:
    info, grouping = dataset.info, dataset.grouping
    return (
        f"{info.n_files} files, {info.n_rejected} rejected, {grouping.n_images} images of "
        f"{grouping.n_groups} groups included"
    )


def _class_counts(dataset: DatasetResults) -> str:
    images = count_images(dataset)
    return "; ".join(
        f"{split}: " + ", ".join(f"{name} {count}" for name, count in images[split].items())
        for split in SPLITS
        if split in images
    )


def _diagnostic_accuracy(case: CaseResults) -> str:
    sensitivity, specificity = (
        as_text(case.figures.get(name).value) for name in ("sensitivity", "specificity")
    )
    return f"{case.title} sensitivity {sensitivity}, specificity {specificity}"


def _whereabouts(dataset: DatasetResults) -> str:
    return f"images: {dataset.settings.provenance}; licence {dataset.settings.licence}"


def _rater_variability(dataset: DatasetResults) -> str:
    grouping = dataset.grouping
    return (
        "one label per image, so that the agreement of raters cannot be measured; of "
        f"{grouping.n_clusters} clusters of the same picture {grouping.clusters_with_two_labels} "
        "carry two labels"
    )


def _poor_input(dataset: DatasetResults) -> str:
    info = dataset.info
    return (
        f"a file that cannot be read gets no prediction and a reason ({info.n_rejected} here); odd "
        f"pictures are listed, not changed ({describe_suspicious(info)}); where lungs are not "
        "found a lung crop becomes a centre crop, which is flagged"
    )


CODE = (
    "The code is this repository, under the licence in its file LICENSE; params.yaml and dvc.lock "
    "name every setting and the hash of every file."
)
MODELS = "The models are data/weights/<case>/, which `dvc repro` makes anew."

ANSWERS: dict[str, Answer] = {
    "data_sources": _per_dataset(lambda d: f"{d.info.source}; {d.settings.provenance}"),
    "preprocessing": _preprocessing,
    "subsets": _per_dataset(
        lambda d: f"classes {', '.join(d.info.class_names)}; {d.info.n_left_out} files left out"
    ),
    "missing_data": _per_dataset(
        lambda d: (
            f"{d.info.n_rejected} of {d.info.n_files} files rejected as unreadable; none imputed"
        )
    ),
    "reference_standard": _per_dataset(lambda d: describe_reference(d.settings, d.info)),
    "test_annotation": _fixed(
        "The labels of the test images come from the same source as those of the others."
    ),
    "predictors": _fixed("The pixels of one image; nothing else of the file reaches the model."),
    "partitions": _partitions,
    "disjointness": _per_dataset(_disjointness),
    "sample_size": _all_of(
        _fixed("No sample size was calculated."),
        _per_dataset(
            lambda d: (
                f"{d.grouping.n_images} images of {d.grouping.n_groups} groups, all that there are"
            )
        ),
    ),
    "model": _per_case(
        lambda c: (
            f"{c.name} {c.settings.model} (head {c.settings.head or 'none'}, trains "
            f"{c.settings.train})"
        )
    ),
    "software": _software,
    "initial_weights": _per_case(
        lambda c: f"{c.name} from {c.training.started_from} ({start_text(c.training)})"
    ),
    "training": _training,
    "model_selection": _model_selection,
    "ensembles": _ensembles,
    "metrics": _fixed(
        ", ".join(map(label, HEADLINE_METRICS))
        + ", log loss, Brier score, ECE; ROC, precision-recall and reliability curves; "
        "sensitivity, specificity, PPV and NPV at three operating points."
    ),
    "uncertainty": _uncertainty,
    "robustness": _all_of(
        _per_case(_occlusions), _fixed("Shortcut probes of every view: Shortcuts.")
    ),
    "explainability": _explainability,
    "internal_test": _per_case(lambda c: f"{c.name} {c.figures.n_test} test images"),
    "external_test": _external_test,
    "inclusion_counts": _per_dataset(_inclusion_counts),
    "class_counts": _per_dataset(_class_counts),
    "performance": _per_honest_case(describe_auroc, before="AUROC "),
    "diagnostic_accuracy": _per_honest_case(
        _diagnostic_accuracy, after="; intervals in the table of test figures"
    ),
    "failures": _all_of(
        _per_case(
            lambda c: (
                f"{c.name} {c.report.test.n_errors} errors in "
                f"{c.report.test.n_predictions} predictions"
            )
        ),
        _fixed("Pictures of errors come first in each gallery."),
    ),
    "availability": _all_of(_fixed(CODE), _fixed(MODELS), _per_dataset(_whereabouts)),
    "code": _fixed(CODE),
    "data_sharing": _per_dataset(lambda d: f"licence {d.settings.licence}"),
    "updating": _fixed("Temperature scaling, fitted on val (Guo et al. 2017); no other updating."),
    "updating_results": _per_case(
        lambda c: (
            f"{c.name} ECE {as_text(c.figures.ece)} before, "
            f"{as_text(c.figures.ece_calibrated)} after"
        )
    ),
    "predictions": _fixed(
        "By stages/train.py, with the model of data/weights/<case>/; the prediction for every "
        "image stands in data/predictions/<case>.csv."
    ),
    "class_imbalance": _per_case(
        lambda c: f"{c.name} loss {c.settings.loss.kind}, sampler {c.settings.sampler}"
    ),
    "goal": describe_goal,
    "hypotheses": describe_hypotheses,
    "summary": summarise,
    "limitations": describe_limitations,
    "clusters": describe_clusters,
    "heterogeneity": describe_heterogeneity,
    "rater_variability": _per_dataset(_rater_variability),
    "predictor_choice": _fixed(
        "All pixels of a view, which is the whole picture or a crop of it; none was selected by "
        "looking at the outcome."
    ),
    "predictor_assessors": _fixed(
        "None: nobody reads or measures anything for the networks; crops are made by a program."
    ),
    "fairness": _fixed(
        "None: no loss, sampling or threshold takes account of groups of people. What shows them "
        "to differ is looked at by stratum, and by shortcut probes."
    ),
    "poor_input": _per_dataset(_poor_input),
    "interaction": _fixed(
        "None: decoding, crop and prediction take no work by hand. To run them takes a command "
        "line; nobody's expertise on chest images enters."
    ),
    "technical_details": _fixed(
        "params.yaml has every setting, dvc.yaml every command, dvc.lock the hash of every file, "
        "plots/README.md the definitions."
    ),
    "outputs": _fixed(
        "A probability per class; the decision is the likeliest class. Thresholds on the positive "
        "class, chosen on val: table Operating points."
    ),
}
