"""The schema of params.yaml: every key, its type and its range, in one place.

No field has a default: DVC re-runs a stage when a value that the stage lists changes, so a value
must stand in params.yaml to be able to change anything. No key is called `size` or `nfiles`: DVC
3.67 leaves keys of these names out of what identifies an entry of its run-cache, so that a changed
size would bring back the results of another one.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
)
from pydantic_core import PydanticCustomError

from stages.config.errors import UserError

NAME_PATTERN = r"^[a-z0-9_-]+$"  # a dot would break DVC's `cases.${key}`


def _number(value: object) -> float:
    """Take YAML's `1e-3`, a string for PyYAML and a float for DVC; refuse booleans."""
    try:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError("number", "a valid number") from None


T = TypeVar("T")
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
ProperShare = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[StrictInt, Field(ge=1)]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Modality = Literal["ct", "xray"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PhantomCohort(Section):
    """Who is drawn for `phantom:<kind>`: patients per class, images each, planted markers."""

    patients: Annotated[dict[str, Count], Field(min_length=2)]
    images_per_patient: Count
    marker_share: dict[str, Share]


class Phantoms(Section):
    """The cohorts of the built-in sources, one per kind."""

    ct: PhantomCohort
    ct_b: PhantomCohort
    xray: PhantomCohort
    xray3: PhantomCohort


class SplitShares(Section):
    """Shares of the images that go to each split; they sum to 1."""

    train: ProperShare
    val: ProperShare
    test: ProperShare


class PatternGroup(Section):
    """The patient stands in the file name."""

    pattern: str  # regular expression; its first group is the patient


class TableGroup(Section):
    """The patient stands in a CSV file inside the source."""

    table: str  # path inside the source, so that DVC sees when it changes
    file: str  # column of file names or paths
    group: str  # column of patients


def _group_kind(value: Any) -> str | None:
    """Which kind of group is meant: the one whose own key is there."""
    fields = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return next((key for key in ("pattern", "table") if key in fields), None)


Group = Annotated[
    Annotated[PatternGroup, Tag("pattern")] | Annotated[TableGroup, Tag("table")],
    Discriminator(
        _group_kind,
        custom_error_type="group",
        custom_error_message="null, {pattern: …} or {table: …, file: …, group: …}",
    ),
]


class Dataset(Section):
    """Where images come from, what their folders mean, who belongs together."""

    source: str  # phantom:<kind>, a folder of class folders, or an archive of one
    track: str  # the path that DVC hashes: the source itself, or the phantoms' code
    modality: Modality
    classes: Annotated[dict[Name, Annotated[list[str], Field(min_length=1)]], Field(min_length=2)]
    implies: dict[Name, Annotated[list[str], Field(min_length=1)]]  # class -> classes it is too
    positive: str
    ignore: list[str]
    group: Group | None
    near_duplicates: StrictBool  # whether images that look the same belong together
    allow_leakage: StrictBool
    size: Annotated[StrictInt, Field(ge=32, le=4096, alias="size_px")]
    split: SplitShares
    max_rejected: Share
    provenance: str  # who collected the images, where; for the data card
    licence: str

    @property
    def phantom_kind(self) -> str | None:
        """The kind after `phantom:`, or None for files."""
        prefix, _, kind = self.source.partition(":")
        return kind if prefix == "phantom" else None


class NoCrop(Section):
    """The whole picture."""

    mode: Literal["none"]


class CenterCrop(Section):
    """The middle of the picture: this share of its width and of its height."""

    mode: Literal["center"]
    fraction: Annotated[Number, Field(ge=0.1, le=1)]


class LungCrop(Section):
    """The box of the lungs plus a margin; a centre crop where the lungs were not found."""

    mode: Literal["lungs"]
    margin: Annotated[Number, Field(ge=0, le=0.5)]  # share of the lung box's longer side
    fallback_fraction: Annotated[Number, Field(ge=0.1, le=1)]


Crop = Annotated[NoCrop | CenterCrop | LungCrop, Field(discriminator="mode")]


class View(Section):
    """One way to look at a data set: crop mode and size of the square model input."""

    dataset: str
    crop: Crop
    size: Annotated[StrictInt, Field(ge=32, le=2048, alias="size_px")]
    fit: Literal["letterbox", "stretch"]  # keep the aspect ratio on black, or fill the square


class Weights(Section):
    """Initial weights of one architecture."""

    source: str  # random, pretext, timm, or a .safetensors path
    track: str  # the path that DVC hashes: the file, or the code that makes the weights
    model: str


class Pretext(Section):
    """The built-in task that initial weights are learned on when no others can be had."""

    images: Annotated[StrictInt, Field(ge=60)]
    size: Annotated[StrictInt, Field(ge=32, le=512, alias="size_px")]
    epochs: Count
    batch_size: Annotated[StrictInt, Field(ge=2)]
    lr: Annotated[Number, Field(gt=0, le=10)]
    augment: str  # a key of `augmentations`


class Augmentation(Section):
    """Random changes of a training image, drawn anew for each image and epoch."""

    flip: Share  # probability of a left-right mirror
    flip_vertical: Share  # probability of an upside-down mirror
    crop_area: Annotated[Number, Field(gt=0, le=1)]  # random resized crop; 1 crops nothing
    rotate_deg: Annotated[Number, Field(ge=0, le=180)]
    scale: Annotated[Number, Field(ge=0, lt=1)]  # zoom within 1 - scale .. 1 + scale
    shift: Annotated[Number, Field(ge=0, lt=1)]  # share of the side
    brightness: Annotated[Number, Field(ge=0, le=1)]  # in units of the full grey range
    contrast: Annotated[Number, Field(ge=0, lt=1)]
    noise: Annotated[Number, Field(ge=0, le=1)]  # standard deviation, full grey range = 1


class CrossEntropy(Section):
    """Softmax cross-entropy on one logit per class."""

    name: Literal["ce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class WeightedCrossEntropy(Section):
    """Cross-entropy in which each class of the training images weighs the same in sum."""

    name: Literal["weighted_ce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class BinaryCrossEntropy(Section):
    """Sigmoid cross-entropy: one logit for two classes, or one per label of a multi-label set."""

    name: Literal["bce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class Focal(Section):
    """Focal loss, Lin et al. 2017, eq. 4 and 5; gamma 0 without alpha is plain cross-entropy."""

    name: Literal["focal"]
    gamma: Annotated[Number, Field(ge=0, le=20)]
    alpha: ProperShare | None  # weight of the positive class; the others weigh 1 - alpha


Loss = Annotated[
    CrossEntropy | WeightedCrossEntropy | BinaryCrossEntropy | Focal, Field(discriminator="name")
]


class Case(Section):
    """One row of the experiment table; its key names every file that it writes."""

    view: str
    model: str  # cnn3 or a timm architecture
    weights: str  # a key of `weights`
    train: Annotated[str, Field(pattern=r"^(all|head|last:[1-9][0-9]*)$")]
    head: list[Count]  # widths of the hidden layers between backbone and logits
    dropout: Annotated[Number, Field(ge=0, lt=1)]
    loss: Loss
    sampler: Literal["none", "weighted"]
    augment: str  # a key of `augmentations`
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: Annotated[Number, Field(gt=0, le=10)]
    weight_decay: Annotated[Number, Field(ge=0, le=1)]
    schedule: Literal["constant", "cosine", "onecycle"]
    epochs: Count
    patience: Count  # epochs without a better validation loss before training stops
    keep: Literal["best", "last"]  # epoch of the lowest validation loss, or the last one
    ema: Annotated[Number, Field(ge=0, lt=1)]  # decay per step of averaged weights; 0: none
    batch_size: Annotated[StrictInt, Field(ge=2)]
    folds: Annotated[StrictInt, Field(ge=1, le=50)]  # 1: the splits of the data set
    held_out: Literal["test", "val"]  # what a fold is to the model that is not trained on it
    seeds: Annotated[list[Seed], Field(min_length=1)]  # one training each
    ensemble: StrictBool  # average the probabilities of all models that test an image

    @property
    def is_one_run(self) -> bool:
        """Whether the case is a single training."""
        return self.folds == 1 and len(self.seeds) == 1


class Compute(Section):
    """What the networks run on."""

    accelerator: Literal["auto", "cpu", "gpu"]
    precision: Literal["auto", "fp32", "bf16"]


class Audit(Section):
    """Cross-validation of the shortcut probes."""

    folds: Annotated[StrictInt, Field(ge=2, le=20)]


class Evaluate(Section):
    """Bootstrap draws behind every interval; prevalences for predictive values."""

    bootstrap_draws: Annotated[StrictInt, Field(ge=100)]
    prevalences: list[ProperShare]


class External(Section):
    """A trained case and a view of another data set that it is scored on, untouched."""

    case: str
    view: str
    classes: Annotated[dict[str, str], Field(min_length=1)]  # class there -> class of the case


CamMethod = Literal[
    "gradcam",
    "eigencam",
    "gradcam_plus_plus",
    "layercam",
    "scorecam",
    "xgradcam",
    "hirescam",
]


class Cam(Section):
    """Which maps, of which test images."""

    methods: Annotated[list[CamMethod], Field(min_length=1)]
    positive: Count  # of the positive class and of the others, drawn with the seed
    negative: Count
    errors: Annotated[StrictInt, Field(ge=0)]  # the most confident errors
    uncertain: Annotated[StrictInt, Field(ge=0)]  # the least certain images
    road_images: Annotated[StrictInt, Field(ge=0)]  # of those drawn; dear
    target_layers: dict[str, str]  # architecture -> module; others: the last feature stage


class Params(Section):
    """The whole of params.yaml."""

    seed: Seed
    compute: Compute
    phantoms: Phantoms
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    views: Annotated[dict[Name, View], Field(min_length=1)]
    pretext: Pretext
    weights: Annotated[dict[Name, Weights], Field(min_length=1)]
    augmentations: Annotated[dict[Name, Augmentation], Field(min_length=1)]
    cases: Annotated[dict[Name, Case], Field(min_length=1)]
    comparisons: dict[Name, Annotated[list[str], Field(min_length=2, max_length=2)]]
    external: dict[Name, External]
    audit: Audit
    evaluate: Evaluate
    cam: Cam

    def dataset(self, name: str) -> Dataset:
        """The data set of that name; an unknown name lists the known ones."""
        return _entry(self.datasets, "datasets", name)

    def view(self, name: str) -> View:
        """The view of that name; an unknown name lists the known ones."""
        return _entry(self.views, "views", name)

    def initial_weights(self, name: str) -> Weights:
        """The entry of `weights` of that name; an unknown name lists the known ones."""
        return _entry(self.weights, "weights", name)

    def external_test(self, name: str) -> External:
        """The external test of that name; an unknown name lists the known ones."""
        return _entry(self.external, "external", name)

    def case(self, name: str) -> Case:
        """The case of that name; an unknown name lists the known ones."""
        return _entry(self.cases, "cases", name)


def _entry(entries: dict[str, T], section: str, name: str) -> T:
    if name not in entries:
        raise UserError(
            f"params.yaml: {section}: no entry named {name!r}; there are: {', '.join(entries)}"
        )
    return entries[name]
