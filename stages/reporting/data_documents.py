"""What the files say of data sets and views: groups, audits, labels in doubt, as records."""

from stages.evaluation.statistics.records import Estimate
from stages.reporting.json_document import Auroc, Difference, Document, Figures, at


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
    gap_model: str = at("leakage_gap", "model")
    by_image: Figures = at("leakage_gap", "random")
    by_group: Figures = at("leakage_gap", "grouped")
    gap: dict[str, Difference] = at("leakage_gap", "difference")
    lungs: LungAgreement | None


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
    n_same_files: int = at("pairs", "bytes")  # pairs of images, as those below
    n_same_pictures: int = at("pairs", "pixels")
    n_near_duplicates: int = at("pairs", "near")
    n_clusters: int
    n_images_in_clusters: int
    clusters_with_two_labels: int
    two_labels: list[list[LabelledFile]]
    leaks: dict[str, Leak]
    notes: list[str]
