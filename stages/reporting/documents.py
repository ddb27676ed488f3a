"""The JSON files of the other stages as records: what the pages use of them, and no more.

The keys are those of the files ("Files that other tools may rely on" in README.md); what a file
has beyond them is not looked at. A figure and the ends of its interval come in as an `Estimate`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stages.evaluation.metrics import HEADLINE_METRICS
from stages.evaluation.records import Estimate, Paired, unflatten

UNKNOWN = Estimate(None)
REGIONS = ("lungs", "lesions")


def _read_difference(values: Mapping[str, Any]) -> Estimate:
    """A difference, whose ends are called `low` and `high`."""
    return Estimate(
        values["difference"],
        values["low"],
        values["high"],
        values.get("undefined"),
        values.get("p_value"),
        values.get("p_value_holm"),
    )


def _read_paired(values: Mapping[str, Any]) -> Paired:
    sides = unflatten(values, {})
    return Paired(sides["first"], sides["second"], _read_difference(values))


def _read_drop(values: Mapping[str, Any]) -> Paired:
    own, external = (Estimate(values[side]) for side in ("own", "external"))
    return Paired(external, own, _read_difference(values))


def _read_check(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Means by name, also of a check that has but one; how many images stands in each of them."""
    if "mean" in values:
        return {"mean": values}
    return {name: value for name, value in values.items() if name != "n"}


Difference = Annotated[Estimate, BeforeValidator(_read_difference)]
PairedFigure = Annotated[Paired, BeforeValidator(_read_paired)]
Drop = Annotated[Paired, BeforeValidator(_read_drop)]  # there, on its own test images


class Document(BaseModel):
    """Base of all; values cannot change.

    Beside the keys of the file there are three to read from: each figure with an interval, and in
    `figures` all of them; in `parts` all entries that have entries; in `whole` everything.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _arrange(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        figures = unflatten(values, {})
        parts = {name: value for name, value in values.items() if isinstance(value, dict)}
        return {**values, **figures, "figures": figures, "parts": parts, "whole": values}


class Figures(Document):
    """Flat figures, each with an interval."""

    figures: dict[str, Estimate]

    def get(self, name: str) -> Estimate:
        """A figure; undefined where the file has none of that name, as of an empty stratum."""
        return self.figures.get(name, UNKNOWN)


class CaseFigures(Figures):
    """A file of metrics/cases/; `run_means` and `run_sds` are by metric, of several runs."""

    n_test: int
    n_runs: int
    n_leaking_groups: int
    train_accuracy: float
    val_accuracy: float
    ece: float
    ece_calibrated: float
    run_means: dict[str, float | None]
    run_sds: dict[str, float | None]

    @model_validator(mode="before")
    @classmethod
    def _gather_runs(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        spread = {
            field: {
                metric: values[metric + ending]
                for metric in HEADLINE_METRICS
                if metric + ending in values
            }
            for field, ending in (("run_means", "_run_mean"), ("run_sds", "_run_sd"))
        }
        return {**values, **spread}


class RocCurve(Document):
    """Points of equal number."""

    fpr: list[float]
    tpr: list[float]


class PrecisionRecallCurve(Document):
    """Points of equal number."""

    recall: list[float]
    precision: list[float]


class ClassCurves(Document):
    """Of one class against the rest."""

    roc: RocCurve
    precision_recall: PrecisionRecallCurve


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
        return self.n_predictions - sum(row[place] for place, row in enumerate(self.confusion_matrix))


class SplitReport(Confusions):
    """What is said of the test images."""

    curves: dict[str, ClassCurves]


class Temperature(Document):
    """Of one run; a reason says why it stands at a bound."""

    temperature: float
    reason: str | None


class Reliability(Document):
    """Bins of the confidence."""

    confidence: list[float]
    accuracy: list[float]


class Calibration(Document):
    """Before or after the temperature."""

    ece: float
    log_loss: Estimate
    brier: Estimate
    reliability: Reliability


class CalibrationPair(Document):
    """Both of it."""

    before: Calibration
    after: Calibration


class CaseCalibration(CalibrationPair):
    """And what lies between them, by run."""

    temperatures: list[Temperature]


class Threshold(Document):
    """Of one run."""

    threshold: float


class Rates(Document):
    """Sensitivity and specificity with their intervals."""

    sensitivity: Estimate
    specificity: Estimate


class PredictiveValues(Document):
    """At one prevalence."""

    ppv: Estimate
    npv: Estimate


class OperatingPoint(Document):
    """What a threshold gives on images that it was not chosen on."""

    test: Rates
    prevalences: list[PredictiveValues]


class ValRates(Document):
    """Where a threshold was chosen."""

    sensitivity: float
    specificity: float


class ChosenPoint(OperatingPoint):
    """And where it comes from."""

    thresholds: list[Threshold]
    val: ValRates


class Occlusion(Document):
    """Test images with a part hidden."""

    n_without_lungs: int  # left out


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


class CaseReport(Document):
    """A file of metrics/reports/."""

    test: SplitReport
    calibration: CaseCalibration
    operating_points: dict[str, ChosenPoint]
    occlusion: dict[str, Occlusion]
    runs: list[RunReport] = []
    labels: dict[str, LabelFigures] = {}


class ParameterCounts(Document):
    """Of a network."""

    trained: int
    frozen: int


class ClassCounts(Document):
    """By class: training images, and the mean number drawn per epoch."""

    train: dict[str, int]
    drawn_per_epoch: dict[str, float]


class Training(Document):
    """A training.json; of several runs, the first."""

    started_from: str
    parameters: ParameterCounts
    blocks_trained: str | list[str]
    class_counts: ClassCounts
    kept_epoch: int
    epochs_run: int
    device: str
    precision: str
    versions: dict[str, str]


class Mean(Document):
    """Over n images."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def estimate(self) -> Estimate:
        """Without the number of images."""
        return Estimate(self.mean, self.low, self.high)


class RegionScore(Document):
    """A map's share inside a region, None of an empty map, and the image's."""

    share: float | None
    area: float


class MapScores(Document):
    """Where one map of one image lies, by region; lesions are known of phantoms alone."""

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
    maps: dict[str, MapScores] = Field(alias="parts")

    @property
    def is_error(self) -> bool:
        """Whether another class was predicted."""
        return self.label != self.prediction


Checks = dict[str, Annotated[dict[str, Mean], BeforeValidator(_read_check)]]


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


class ProbeFigures(Document):
    """Of one class against the rest."""

    auroc: Estimate


class Probe(ProbeFigures):
    """A plain model, cross-validated by group."""

    kind: str
    balanced_accuracy: Estimate
    by_class: dict[str, ProbeFigures]


class LeakageGap(Document):
    """The same model, split by image and by group."""

    model: str
    random: Figures
    grouped: Figures
    difference: dict[str, Difference]


class Audit(Document):
    """A file of metrics/audit/."""

    n: int
    n_groups: int
    probes: dict[str, Probe]
    best_shortcut: str
    leakage_gap: LeakageGap


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
    metrics: dict[str, PairedFigure] = Field(alias="parts")


class DelongTest(Document):
    """Of the AUROC of the positive class."""

    positive: str
    estimate: Difference = Field(alias="whole")


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
    estimate: Difference = Field(alias="whole")


class Comparison(Document):
    """An entry of metrics/comparisons.json."""

    first: str
    second: str
    differs: dict[str, list[Any]]  # field of the settings to [of first, of second]
    test: Compared
    delong: DelongTest
    mcnemar: McnemarTest
    subgroups: dict[str, Compared]
    maps: dict[str, ComparedMaps]


class Headline(Document):
    """An entry of metrics/headlines.json: a case, the best shortcut of its view, what is left."""

    n: int
    shortcut: str
    auroc: Estimate
    shortcut_auroc: Estimate
    difference: Estimate


class Pairs(Document):
    """Pairs of pictures that are the same, by how they are."""

    bytes: int
    pixels: int
    near: int


class Leak(Document):
    """A group in more than one split."""

    splits: list[str]
    files: list[str]


class Grouping(Document):
    """A grouping.json."""

    n_images: int
    n_patients: int
    n_images_of_known_patient: int
    n_groups: int
    largest_group: int
    pairs: Pairs
    n_clusters: int
    n_images_in_clusters: int
    clusters_with_two_labels: int
    leaks: dict[str, Leak]
