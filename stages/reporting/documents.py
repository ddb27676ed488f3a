"""The JSON files of the other stages as records: what the pages use of them, and no more.

The keys are those of the files ("Files that other tools may rely on" in README.md); what a file
has beyond them is not looked at. A figure and the ends of its interval come in as an `Estimate`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasPath, BeforeValidator, Field, model_validator

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.statistics.records import Estimate, Paired
from stages.reporting.json_document import Document
from stages.reporting.measure_documents import ClassCalibration, DecisionCurve, Distributions

UNKNOWN = Estimate(None)
REGIONS = ("lungs", "lesions")


def _at(*path: str) -> Any:
    """A field that stands deeper in the file."""
    return Field(validation_alias=AliasPath(*path))


def _estimate(*keys: str) -> BeforeValidator:
    """Reads a figure and its ends by these keys, and what may stand beside a difference."""

    def read(values: Mapping[str, Any]) -> Estimate:
        names = ("undefined", "p_value", "p_value_holm", "detectable", "detectable_holm")
        beside = (values.get(name) for name in names)
        return Estimate(*(values[key] for key in keys), *beside)

    return BeforeValidator(read)


def _read_check(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Means by name, also of a check that has but one; how many images stands in each of them."""
    if "mean" in values:
        return {"mean": values}
    return {name: value for name, value in values.items() if name != "n"}


Auroc = Annotated[Estimate, _estimate("auroc", "auroc_low", "auroc_high")]
Difference = Annotated[Estimate, _estimate("difference", "low", "high")]
PairedFigure = Annotated[Paired, BeforeValidator(Paired.from_json)]


class Figures(Document):
    """Flat figures, each with an interval."""

    figures: dict[str, Estimate]

    def get(self, name: str) -> Estimate:
        """A figure; undefined where the file has none of that name, as of an empty stratum."""
        return self.figures.get(name, UNKNOWN)


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

    fpr: list[float] = _at("roc", "fpr")
    tpr: list[float] = _at("roc", "tpr")
    recall: list[float] = _at("precision_recall", "recall")
    precision: list[float] = _at("precision_recall", "precision")


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
    confidence: list[float] = _at("reliability", "confidence")
    accuracy: list[float] = _at("reliability", "accuracy")
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
    val_sensitivity: float = _at("val", "sensitivity")
    val_specificity: float = _at("val", "specificity")


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


class SuspectedLabel(Document):
    """An image of which a model that never saw it says another class."""

    image_id: str
    label: str
    likelier: str
    label_probability: float
    likelier_probability: float


class LabelLook(Document):
    """What out-of-fold probabilities say of the labels; the likeliest errors come first."""

    n_images: int
    n_judged: int
    balanced_accuracy: float | None
    too_few: list[str]
    suspected: list[SuspectedLabel]


class CaseReport(Document):
    """A file of metrics/reports/."""

    positive: str
    test: SplitReport
    calibration: CaseCalibration
    operating_points: dict[str, ChosenPoint]
    decision_curve: DecisionCurve
    n_without_lungs: int = _at("occlusion", "lungs_hidden", "n_without_lungs")
    subgroups: Subgroups
    label_errors: LabelLook
    runs: list[RunReport] = Field([])
    labels: dict[str, LabelFigures] = Field({})


class Knowledge(Document):
    """What initial weights know of the task that they were learned on."""

    task: str
    n: int
    accuracy: Annotated[Estimate, _estimate("accuracy", "low", "high")] = _at("whole")
    chance: float
    better_than_chance: bool


class Training(Document):
    """A training.json; of several runs, the first."""

    started_from: str
    start_knows: Knowledge | None
    start_licence: str | None
    start_origin: str | None
    n_trained: int = _at("parameters", "trained")
    n_frozen: int = _at("parameters", "frozen")
    blocks_trained: str | list[str]
    class_counts: dict[str, int] = _at("class_counts", "train")
    drawn_per_epoch: dict[str, float] = _at("class_counts", "drawn_per_epoch")
    kept_epoch: int
    epochs_run: int
    diverged: bool
    flop_per_image: int | None = _at("flop", "per_image")
    flop_of_all_runs: int | None
    device: str
    precision: str
    threads: int
    versions: dict[str, str]


class Mean(Document):
    """Over n images."""

    estimate: Annotated[Estimate, _estimate("mean", "low", "high")] = _at("whole")
    n: int


class RegionScore(Document):
    """A map's share inside a region, None of an empty map, and the region's of the image."""

    share: float | None
    area: float


class MapScores(Document):
    """Where one map of one image lies; lesions are known of phantoms alone."""

    regions: dict[str, RegionScore]
    peak_in_lesions: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_regions(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        regions = {
            name: {"share": values[f"in_{name}"], "area": values[f"{name}_area"]}
            for name in REGIONS
            if f"in_{name}" in values
        }
        return {**values, "regions": regions}


class ExplainedImage(Document):
    """One image of the gallery, with the scores of its maps by method."""

    image_id: str
    label: str
    prediction: str
    probability: float
    selected_as: list[str]
    maps: dict[str, MapScores] = _at("parts")

    @property
    def is_error(self) -> bool:
        """Whether another class was predicted."""
        return self.label != self.prediction


Checks = dict[str, Annotated[dict[str, Mean], BeforeValidator(_read_check)]]


class Pointing(Document):
    """Maps of the true class against known lesions, by method and figure, beside a Gaussian."""

    n: int
    n_groups: int
    n_known: int
    n_out_of_view: int
    methods: dict[str, dict[str, PairedFigure]]


class CamScores(Document):
    """A file of metrics/cam/."""

    target_layer: str
    lung_masks: str
    not_class_specific: list[str]
    images: list[ExplainedImage]
    summary: dict[str, dict[str, Mean]]
    agreement: Checks
    randomisation: Checks
    road: Checks
    pointing: Pointing | None


class Probe(Document):
    """A plain model, cross-validated by group."""

    kind: str
    auroc: Estimate
    balanced_accuracy: Estimate
    accuracy: Estimate
    by_class: dict[str, Auroc]
    by_pair: dict[str, Auroc]


class WorstLungs(Document):
    """An image whose lungs were found badly."""

    file: str
    dice: float
    quality: str


class LungAgreement(Document):
    """Dice of the lungs found with the true ones."""

    n: int
    n_groups: int
    n_untrusted: int
    dice: Estimate
    median: float
    sd: float | None
    worst: list[WorstLungs]


class Audit(Document):
    """A file of metrics/audit/; the gap is that of one model, split by image and by group."""

    n: int
    n_groups: int
    probes: dict[str, Probe]
    best_shortcut: str
    most_accurate: str
    label_errors: LabelLook  # by the probe that sees the whole view
    gap_model: str = _at("leakage_gap", "model")
    by_image: Figures = _at("leakage_gap", "random")
    by_group: Figures = _at("leakage_gap", "grouped")
    gap: dict[str, Difference] = _at("leakage_gap", "difference")
    lungs: LungAgreement | None


class Drop(Document):
    """A figure on images from elsewhere against that on the case's own test images."""

    own: float | None
    external: float | None
    difference: Difference = _at("whole")


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
    metrics: dict[str, PairedFigure] = _at("parts")


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
    difference: Difference = _at("whole")


class Comparison(Document):
    """An entry of metrics/comparisons.json."""

    first: str
    second: str
    differs: dict[str, list[Any]]  # field of the settings to [of first, of second]
    optimistic: list[str]  # whichever of the two is
    test: Compared
    positive: str = _at("delong", "positive")
    delong: Difference  # of the AUROC of the positive class
    mcnemar: McnemarTest
    subgroups: dict[str, Compared]
    maps: dict[str, ComparedMaps]


class Headline(Document):
    """An entry of metrics/headlines.json: a case, the best shortcuts of its view, what is left."""

    n: int
    shortcut: str
    auroc: Estimate
    shortcut_auroc: Estimate
    difference: Annotated[
        Estimate, _estimate("difference", "difference_low", "difference_high")
    ] = _at("whole")
    most_accurate: str
    accuracy: Estimate
    shortcut_accuracy: Estimate
    accuracy_difference: Estimate


class Leak(Document):
    """A group in more than one split."""

    splits: list[str]
    files: list[str]


class LabelledFile(Document):
    """An image and what it is called."""

    file: str
    label: str


class Grouping(Document):
    """A grouping.json."""

    n_images: int
    n_patients: int
    n_images_of_known_patient: int
    n_patients_of_two_classes: int
    n_groups: int
    largest_group: int
    n_same_files: int = _at("pairs", "bytes")  # pairs of images, as those below
    n_same_pictures: int = _at("pairs", "pixels")
    n_near_duplicates: int = _at("pairs", "near")
    n_clusters: int
    n_images_in_clusters: int
    clusters_with_two_labels: int
    two_labels: list[list[LabelledFile]]
    leaks: dict[str, Leak]
    notes: list[str]
