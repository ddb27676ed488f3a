"""The JSON files of the other stages as records: what the pages use of them, and no more.

The keys are those of the files ("Files that other tools may rely on" in stages/README.md); what a
file has beyond them is not looked at. A figure and the ends of its interval come in as an
`Estimate`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Estimate
from stages.reporting.data_documents import LabelLook
from stages.reporting.json_document import (
    Difference,
    Document,
    Figures,
    PairedFigure,
    at,
    estimate_of,
)
from stages.reporting.measure_documents import ClassCalibration, DecisionCurve, Distributions


class CaseFigures(Figures):
    """A file of metrics/cases/; `run_means` and `run_sds` are by metric, of several runs."""

    n_test: int
    n_test_groups: int
    n_runs: int
    n_leaking_groups: int
    optimistic: bool
    train_accuracy: float
    val_accuracy: float
    ece: float
    ece_calibrated: float
    run_means: dict[str, float | None]
    run_sds: dict[str, float | None]

    @model_validator(mode="before")
    @classmethod
    def _gather_runs(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        def over_runs(ending: str) -> dict[str, Any]:
            names = {metric: metric + ending for metric in HEADLINE_METRICS}
            return {metric: values[name] for metric, name in names.items() if name in values}

        spread = {"run_means": over_runs("_run_mean"), "run_sds": over_runs("_run_sd")}
        return {**values, **spread}


class Confusions(Document):
    """Counts by actual class (rows) and predicted class (columns)."""

    class_names: list[str]
    confusion_matrix: list[list[int]]

    @property
    def n_predictions(self) -> int:
        """All that were counted."""
        return sum(map(sum, self.confusion_matrix))

    @property
    def n_errors(self) -> int:
        """Those beside the diagonal."""
        return self.n_predictions - sum(row[k] for k, row in enumerate(self.confusion_matrix))


class Curves(Document):
    """Points of the ROC and of the precision-recall curve of one class against the rest."""

    fpr: list[float] = at("roc", "fpr")
    tpr: list[float] = at("roc", "tpr")
    recall: list[float] = at("precision_recall", "recall")
    precision: list[float] = at("precision_recall", "precision")


class SplitReport(Confusions):
    """What is said of the test images."""

    curves: dict[str, Curves]
    probabilities: Distributions


class Calibration(Document):
    """Before or after the temperature; confidence and accuracy are by bin."""

    ece: float
    classwise_ece: float
    log_loss: Estimate
    brier: Estimate
    confidence: list[float] = at("reliability", "confidence")
    accuracy: list[float] = at("reliability", "accuracy")
    classes: dict[str, ClassCalibration]


class CalibrationPair(Document):
    """Both of it."""

    before: Calibration
    after: Calibration


class Temperature(Document):
    """Of one run; a reason says why it stands at a bound."""

    temperature: float
    reason: str | None


class CaseCalibration(CalibrationPair):
    """And what lies between them, by run."""

    temperatures: list[Temperature]


class Rates(Document):
    """Of a threshold; precision is the positive predictive value among these images."""

    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    lr_positive: Estimate
    lr_negative: Estimate


class PredictiveValues(Document):
    """Of a threshold, at one prevalence."""

    ppv: Estimate
    npv: Estimate


class OperatingPoint(Document):
    """What a threshold gives on images that it was not chosen on."""

    test: Rates
    prevalences: list[PredictiveValues]


class Threshold(Document):
    """Of one run."""

    threshold: float


class ChosenPoint(OperatingPoint):
    """And where it comes from."""

    thresholds: list[Threshold]
    val_sensitivity: float = at("val", "sensitivity")
    val_specificity: float = at("val", "specificity")


class RunReport(Document):
    """One of several runs."""

    name: str
    n_test: int
    metrics: Figures


class LabelFigures(Document):
    """Of one label, where classes imply others."""

    n_positive: int
    sensitivity: float | None
    specificity: float | None
    auroc: float | None


class GroupCount(Document):
    """Of one class in a group."""

    images: int
    patients: int


class GroupFigures(Document):
    """Of a group of the test images; those that are too few are not scored, which is remarked."""

    name: str
    counts: dict[str, GroupCount]
    classes: list[str]  # those that count
    metrics: Figures
    against_rest: dict[str, PairedFigure]
    remark: str | None


class GroupPartition(Document):
    """Of the groups that a column makes."""

    title: str
    how: str
    groups: list[GroupFigures]


class Subgroups(Document):
    """Of every way of cutting the test images."""

    fewest_patients: int
    partitions: list[GroupPartition]


class CaseReport(Document):
    """A file of metrics/reports/."""

    positive: str
    test: SplitReport
    calibration: CaseCalibration
    operating_points: dict[str, ChosenPoint]
    decision_curve: DecisionCurve
    n_without_lungs: int = at("occlusion", "lungs_hidden", "n_without_lungs")
    subgroups: Subgroups
    label_errors: LabelLook
    runs: list[RunReport] = Field([])
    labels: dict[str, LabelFigures] = Field({})


class Knowledge(Document):
    """What initial weights know of the task that they were learned on."""

    task: str
    n: int
    accuracy: Annotated[Estimate, estimate_of("accuracy", "low", "high")] = at("whole")
    chance: float
    better_than_chance: bool


class Training(Document):
    """A training.json; of several runs, the first."""

    started_from: str
    start_knows: Knowledge | None
    start_licence: str | None
    start_origin: str | None
    n_trained: int = at("parameters", "trained")
    n_frozen: int = at("parameters", "frozen")
    blocks_trained: str | list[str]
    class_counts: dict[str, int] = at("class_counts", "train")
    drawn_per_epoch: dict[str, float] = at("class_counts", "drawn_per_epoch")
    kept_epoch: int
    epochs_run: int
    diverged: bool
    flop_per_image: int | None = at("flop", "per_image")
    flop_of_all_runs: int | None
    device: str
    precision: str
    threads: int
    versions: dict[str, str]


class Drop(Document):
    """A figure on images from elsewhere against that on the case's own test images."""

    own: float | None
    external: float | None
    difference: Difference = at("whole")


class SharedPicture(Document):
    """A picture from elsewhere that is one of the case's own too."""

    file: str
    own_file: str
    kind: str
    change: str


class ExternalReport(Confusions):
    """A file of metrics/external/."""

    case: str
    view: str
    dataset: str
    classes: dict[str, str]
    n: int
    n_groups: int
    n_left_out: int
    n_shared_with_training: int
    bytes_alone_of: list[str]  # data sets in which near-duplicates are not looked for
    shared: list[SharedPicture]
    metrics: Figures
    calibration: CalibrationPair
    operating_points: dict[str, OperatingPoint]
    drop: dict[str, Drop]


class Compared(Document):
    """Two cases on the images that both were tested on."""

    n: int
    n_groups: int
    n_rows_first: int
    n_rows_second: int
    n_only_first: int
    n_only_second: int
    metrics: dict[str, PairedFigure] = at("parts")


class McnemarTest(Document):
    """Of the accuracy; without counts where it is not made."""

    n_only_first: int | None
    n_only_second: int | None
    p_value: float | None
    p_value_holm: float | None
    undefined: str | None


class ComparedMaps(Document):
    """Mean shares inside the lungs, and what a constant map would reach."""

    n: int
    in_lungs_first: float | None
    in_lungs_second: float | None
    lungs_area_first: float | None
    lungs_area_second: float | None
    difference: Difference = at("whole")


class Comparison(Document):
    """An entry of metrics/comparisons.json."""

    first: str
    second: str
    differs: dict[str, list[Any]]  # field of the settings to [of first, of second]
    optimistic: list[str]  # whichever of the two is
    test: Compared
    positive: str = at("delong", "positive")
    delong: Difference  # of the AUROC of the positive class
    mcnemar: McnemarTest
    subgroups: dict[str, Compared]
    maps: dict[str, ComparedMaps]


class SearchFigures(Figures):
    """What cases are worth on some images."""

    n: int
    n_groups: int


class Choice(Document):
    """The candidate that a search chose, in a fold or over all runs."""

    fold: int | None
    case: str


class Search(Document):
    """An entry of metrics/searches.json; `val` and `test` are of what was chosen."""

    by: str
    candidates: dict[str, SearchFigures]
    choices: list[Choice]
    val: SearchFigures
    test: SearchFigures
    optimism: float | None
    set_aside: list[str]


class Headline(Document):
    """An entry of metrics/headlines.json: a case, the best shortcuts of its view, what is left."""

    n: int
    shortcut: str
    auroc: Estimate
    shortcut_auroc: Estimate
    difference: Annotated[
        Estimate, estimate_of("difference", "difference_low", "difference_high")
    ] = at("whole")
    most_accurate: str
    accuracy: Estimate
    shortcut_accuracy: Estimate
    accuracy_difference: Estimate
