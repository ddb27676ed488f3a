"""The schema of params.yaml: every key, its type and its range, in one place.

No field has a default: DVC re-runs a stage when a value that the stage lists changes, so a value
must stand in params.yaml to be able to change anything. No key is called `size` or `nfiles`: DVC
3.67 leaves keys of these names out of what identifies an entry of its run-cache, so that a changed
size would bring back the results of another one.

Wherever there are several variants of something, the key `kind` says which one is meant.
"""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from stages.config.errors import UserError, suggest

MAX_FOLDS = 50
MAX_THREADS = 1024
# A dot would break DVC's `cases.${key}`; a name that began with - would be an option to a stage.
NAME_PATTERN = r"^[a-z0-9_][a-z0-9_-]*$"
# Characters. Names become parts of file names, of at most 255 bytes; what is named in a message
# has to leave it a line.
MAX_NAME = 100
MAX_TEXT = 1000


def _number(value: object) -> float:
    """Take a number, also one in quotes as `-S` of DVC can leave it; refuse booleans."""
    try:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError("number", "a valid number") from None


def _folds(value: object) -> object:
    """Take a number of folds or `given`, as one type, so that a wrong value is one error."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value != "given" and not (is_number and 1 <= value <= MAX_FOLDS):  # type: ignore[operator]
        raise PydanticCustomError("folds", f"a whole number from 1 to {MAX_FOLDS}, or given")
    return value


def _threads(value: object) -> object:
    """Take a number of threads or `auto`, as one type, so that a wrong value is one error."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (is_number and 1 <= value <= MAX_THREADS):  # type: ignore[operator]
        raise PydanticCustomError("threads", f"a whole number from 1 to {MAX_THREADS}, or auto")
    return value


T = TypeVar("T")
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
ProperShare = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[StrictInt, Field(ge=1, le=100_000)]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)]
Folds = Annotated[int | Literal["given"], BeforeValidator(_folds)]
Threads = Annotated[int | Literal["auto"], BeforeValidator(_threads)]
Modality = Literal["ct", "xray"]
# `last-2` is `last:2`, spelt so that it may stand in a line of the matrix: inside {} the C parser
# refuses a plain colon, and DVC drops quotes when `-S` writes the file.
Level = Annotated[
    str,
    Field(pattern=r"^(all|head|last[-:][1-9][0-9]{0,3})$"),
    AfterValidator(lambda level: level.replace("-", ":")),
]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_keys(cls, given: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Say which keys this section has where it is given others; check its own ones too."""
        unknown = [k for k in given if k not in cls.model_fields] if isinstance(given, dict) else []
        if not unknown:
            return check(given)
        lines = [_unknown_key(key, given[key], sorted(cls.model_fields)) for key in unknown]
        try:
            check({key: value for key, value in given.items() if key in cls.model_fields})
        except ValidationError as error:
            lines += [_same_again(details) for details in error.errors()]
        raise ValidationError.from_exception_data(cls.__name__, lines)


def _unknown_key(key: object, value: object, allowed: list[str]) -> InitErrorDetails:
    said = f"{suggest(str(key), allowed)}; allowed keys: {', '.join(allowed)}"
    return InitErrorDetails(
        type=PydanticCustomError("unknown_key", "{said}", {"said": said}),
        loc=(str(key),),
        input=value,
    )


def _same_again(details: ErrorDetails) -> InitErrorDetails:
    """What pydantic reports of an error, as what it takes to report it."""
    kind = PydanticCustomError(details["type"], details["msg"], details.get("ctx"))
    return InitErrorDetails(type=kind, loc=details["loc"], input=details["input"])


# Kaggle's handles and the ids of Google Drive; what an address may be beyond that is looked at with
# `urllib`, in source_references.py.
ADDRESS_PATTERN = (
    r"^(https?://[^\s]+|kaggle:[\w-]+/[\w-]+(/versions/[1-9][0-9]*)?|gdrive:[\w-]{10,100})$"
)
# Of a single file, on any system; a dot in front would hide it, a dash make it an option.
FILE_NAME_PATTERN = r"^[\w(][\w. ()+,=@-]*$"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RemoteFile(Section):
    """One address, and what becomes of what it gives."""

    # https://…, http://… (with its hash alone), kaggle:owner/slug[/versions/3], gdrive:<id>
    address: Annotated[Text, Field(pattern=ADDRESS_PATTERN)]
    # What the file is called in data/downloads/<name>/; null: as the address or its server says.
    file: Annotated[str, Field(pattern=FILE_NAME_PATTERN, max_length=200)] | None
    sha256: Sha256 | None  # null: whatever comes is taken, and its hash said
    unpack: StrictBool  # whether archives become what is in them, and archives in these too


class PhantomSource(Section):
    """Digital phantoms, drawn by the code at `path`; who is drawn stands in `cohort`."""

    kind: Literal["phantom"]
    path: Text


class FolderSource(Section):
    """A folder of class folders."""

    kind: Literal["folder"]
    path: Text


class ArchiveSource(Section):
    """A .zip or .tar of a folder of class folders."""

    kind: Literal["archive"]
    path: Text


Source = Annotated[PhantomSource | FolderSource | ArchiveSource, Field(discriminator="kind")]


class Cohort(Section):
    """Which phantoms are drawn: patients per class, images each, planted markers."""

    kind: Literal["ct", "ct_b", "xray", "xray3"]
    patients: Annotated[dict[Text, Count], Field(min_length=2)]
    images_per_patient: Annotated[StrictInt, Field(ge=1, le=100)]
    marker_share: dict[Text, Share]


class SplitShares(Section):
    """Shares of the images that go to each split; they sum to 1."""

    train: ProperShare
    val: ProperShare
    test: ProperShare


class NoGroup(Section):
    """Nobody knows who the patients are."""

    kind: Literal["none"]


class PatternGroup(Section):
    """The patient stands in the file name, or in that of a folder."""

    kind: Literal["pattern"]
    # Regular expression; its first group is the patient. With a slash in it, it is also searched in
    # the path inside the source.
    pattern: Text
    patients_per_class: StrictBool  # whether ids begin anew in each class


class TableGroup(Section):
    """The patient stands in the table of the data set, in its column `patient`."""

    kind: Literal["table"]
    patients_per_class: StrictBool  # as above


class DicomGroup(Section):
    """The patient stands in the headers of DICOM files; no output has an identifier in clear."""

    kind: Literal["dicom"]
    # Key of the hashes that stand for patients and for names of files and folders; the same salt
    # gives the same ones. Who has it can try out identifiers: as secret as the files.
    salt: Annotated[Text, Field(min_length=16)]


Group = Annotated[
    NoGroup | PatternGroup | TableGroup | DicomGroup,
    Field(discriminator="kind"),
]


class AllSlices(Section):
    """Every slice of a volume or series."""

    kind: Literal["all"]


class MiddleSlices(Section):
    """The slices around the middle of each volume or series."""

    kind: Literal["middle"]
    share: Annotated[Number, Field(gt=0, le=1)]  # of its slices; one at least


class SpacedSlices(Section):
    """One slice out of so many that follow each other, the middle one of these."""

    kind: Literal["every"]
    step: Annotated[StrictInt, Field(ge=1, le=10_000)]


Slices = Annotated[AllSlices | MiddleSlices | SpacedSlices, Field(discriminator="kind")]


class SourceTable(Section):
    """A table of text with a row per image, inside the source; the names are those of columns."""

    path: Text  # inside the source, so that DVC sees when it changes
    file: Text  # names or paths of files
    label: Text | None  # values are what `classes` lists; null: class folders
    patient: Text | None
    split: Text | None  # train, val or test
    fold: Text | None  # ready-made folds, for protocols with `folds: given`


ColumnKind = Literal["number", "category"]
ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class SourceMetadata(Section):
    """What a table inside the source says of images beside their pixels, such as age and sex."""

    table: Text  # path inside the source; it may be the one that `table` names too
    file: Text  # column of names or paths of files
    columns: Annotated[dict[ColumnName, ColumnKind], Field(min_length=1, max_length=50)]


DicomColumn = Literal["age", "sex", "view", "manufacturer"]


class DicomMetadata(Section):
    """What the headers of DICOM files say of images beside their pixels."""

    kind: Literal["dicom"]
    columns: Annotated[list[DicomColumn], Field(min_length=1)]


def _metadata_kind(given: object) -> str:
    """`dicom` where that is the kind, else `table`, which needs none."""
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return "table" if kind is None else "dicom"


AnyMetadata = Annotated[
    Annotated[SourceMetadata, Tag("table")] | Annotated[DicomMetadata, Tag("dicom")],
    Discriminator(_metadata_kind),
]


class PercentileGrey(Section):
    """Black and white are percentiles of each picture's own values."""

    kind: Literal["percentiles"]
    low: Annotated[Number, Field(ge=0, le=25)]
    high: Annotated[Number, Field(ge=75, le=100)]


# Far beyond what 32 bits hold, and far from where differences overflow.
GreyValue = Annotated[Number, Field(ge=-1e12, le=1e12)]


class WindowGrey(Section):
    """Black and white are two values, the same for all pictures, such as Hounsfield units."""

    kind: Literal["window"]
    low: GreyValue
    high: GreyValue


class DicomGrey(Section):
    """Black and white are those of a radiologist's screen, as far as files name them.

    CT has one window on Hounsfield units; other pictures have the window or table (VOI LUT) of
    their DICOM file; those without one have percentiles of their own values.
    """

    kind: Literal["dicom"]
    center: GreyValue  # Hounsfield units
    width: Annotated[Number, Field(gt=0, le=1e12)]
    low: Annotated[Number, Field(ge=0, le=25)]  # percentiles
    high: Annotated[Number, Field(ge=75, le=100)]

    @property
    def window(self) -> tuple[float, float]:
        """The Hounsfield units that become black and white."""
        return self.center - self.width / 2, self.center + self.width / 2


Grey = Annotated[PercentileGrey | WindowGrey | DicomGrey, Field(discriminator="kind")]


class SourceTruth(Section):
    """What the source itself knows of its pixels: of phantoms everything, of files nothing."""

    kind: Literal["source"]
    path: Text


MaskValue = Annotated[StrictInt, Field(ge=0, le=65_535)]


class FilesTruth(Section):
    """Masks and boxes in a folder, of some of the images; what is not there is not known."""

    kind: Literal["files"]
    path: Text  # of the folder, which DVC watches
    # Folder in it, or a pattern such as */masks, of masks that are called as their images are.
    lungs: Text | None
    lung_values: list[MaskValue]  # which values of a mask are lung; []: the larger one of two
    boxes: Text | None  # table in it: file, finding, x0, y0, x1, y1, as shares of the picture
    findings: list[Text]  # whose boxes count; []: all
    max_unmatched: Share  # of the masks, and of the boxes, that fit no image


Truth = Annotated[SourceTruth | FilesTruth, Field(discriminator="kind")]


class Dataset(Section):
    """Where images come from, what their folders mean, who belongs together."""

    source: Source
    cohort: Cohort | None  # of a phantom source; others do not look at it
    modality: Modality
    classes: Annotated[dict[Name, Annotated[list[Text], Field(min_length=1)]], Field(min_length=2)]
    implies: dict[Name, Annotated[list[Text], Field(min_length=1)]]  # class -> classes it is too
    positive: Text
    ignore: list[Text]  # names, paths and patterns as in a .gitignore; `!` keeps what matches
    table: SourceTable | None
    truth: Truth  # where lungs and lesions are, for the scores of segmentation and maps
    metadata: AnyMetadata | None  # for shortcut probes and the figures of subgroups
    group: Group
    slices: Slices  # which ones of volumes (NIfTI, DICOM of several frames) and of CT series
    near_duplicates: StrictBool  # whether images that look the same belong together
    allow_leakage: StrictBool
    grey: Grey  # of pictures of more than 8 bits; those of 8 stay, unless DICOM says otherwise
    size_px: Annotated[StrictInt, Field(ge=32, le=4096)]
    split: SplitShares
    max_rejected: Share
    max_unmatched: Share  # of the files without a row of the table, and of the rows without a file
    provenance: str  # who collected the images, where; for the data card
    licence: str

    @property
    def is_phantom(self) -> bool:
        """Whether the images are drawn."""
        return self.source.kind == "phantom"


class NoCrop(Section):
    """The whole picture."""

    kind: Literal["none"]


class CenterCrop(Section):
    """The middle of the picture: this share of its width and of its height."""

    kind: Literal["center"]
    fraction: Annotated[Number, Field(ge=0.1, le=1)]


class LungCrop(Section):
    """The box of the lungs plus a margin; a centre crop where the lungs were not found."""

    kind: Literal["lungs"]
    margin: Annotated[Number, Field(ge=0, le=0.5)]  # share of the lung box's longer side
    fallback_fraction: Annotated[Number, Field(ge=0.1, le=1)]


Crop = Annotated[NoCrop | CenterCrop | LungCrop, Field(discriminator="kind")]


class View(Section):
    """One way to look at a data set: crop and size of the square model input."""

    dataset: Text
    crop: Crop
    size_px: Annotated[StrictInt, Field(ge=32, le=2048)]
    fit: Literal["letterbox", "stretch"]  # keep the aspect ratio on black, or fill the square


class RandomWeights(Section):
    """The architecture's own random initialisation, made by the code at `path`."""

    kind: Literal["random"]
    path: Text


class PretextWeights(Section):
    """Learned on the section `pretext`, whose images the code at `path` draws."""

    kind: Literal["pretext"]
    path: Text


class TimmWeights(Section):
    """Timm's pretrained weights, fetched by the code at `path`; needs a network once."""

    kind: Literal["timm"]
    path: Text


class PackageWeights(Section):
    """Those of an installed Python package, read by the code at `path`, which says of which."""

    kind: Literal["package"]
    path: Text


def _of_colours(value: object) -> object:
    """Take a figure of three colours in a list as that of grey, their mean."""
    if not isinstance(value, list):
        return value
    if len(value) not in (1, 3):
        raise PydanticCustomError("colours", "a number, or a list of 1 or 3 numbers")
    numbers = [_number(one) for one in value]
    if not all(0 <= number <= 1 for number in numbers):
        raise PydanticCustomError("colours", "numbers from 0 to 1, for images in [0, 1]")
    return sum(numbers) / len(numbers)


ScaleMean = Annotated[Number, BeforeValidator(_of_colours), Field(ge=0, le=1)]
ScaleStd = Annotated[Number, BeforeValidator(_of_colours), Field(ge=1e-4, le=1)]


class ImageNetScaling(Section):
    """That of most networks trained on ImageNet: mean 0.449, std 0.226 of grey images."""

    kind: Literal["imagenet"]


class FixedScaling(Section):
    """The network gets (image - mean) / std, of images in [0, 1]; of three colours their mean."""

    kind: Literal["fixed"]
    mean: ScaleMean
    std: ScaleStd


class MetaScaling(Section):
    """That of the meta.json beside the file: weights of this project."""

    kind: Literal["meta"]


Scaling = Annotated[ImageNetScaling | FixedScaling | MetaScaling, Field(discriminator="kind")]


class FileWeights(Section):
    """A file of tensors, or the folder of a model.safetensors and its meta.json."""

    kind: Literal["file"]
    path: Text
    scaling: Scaling


WeightsSource = Annotated[
    RandomWeights | PretextWeights | TimmWeights | PackageWeights | FileWeights,
    Field(discriminator="kind"),
]


class Weights(Section):
    """Initial weights of one architecture."""

    model: Text
    source: WeightsSource


class Pretext(Section):
    """The built-in task that initial weights are learned on when no others can be had."""

    images: Annotated[StrictInt, Field(ge=60, le=100_000)]
    size_px: Annotated[StrictInt, Field(ge=32, le=512)]
    augment: Text  # a key of `augmentations`
    recipe: Text  # a key of `recipes`


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

    kind: Literal["ce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class WeightedCrossEntropy(Section):
    """Cross-entropy in which each class of the training images weighs the same in sum."""

    kind: Literal["weighted_ce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class BinaryCrossEntropy(Section):
    """Sigmoid cross-entropy: one logit for two classes, or one per label of a multi-label set."""

    kind: Literal["bce"]
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]


class Focal(Section):
    """Focal loss, Lin et al. 2017, eq. 4 and 5; gamma 0 without alpha is plain cross-entropy."""

    kind: Literal["focal"]
    gamma: Annotated[Number, Field(ge=0, le=20)]
    alpha: ProperShare | None  # weight of the positive class; the others weigh 1 - alpha


Loss = Annotated[
    CrossEntropy | WeightedCrossEntropy | BinaryCrossEntropy | Focal, Field(discriminator="kind")
]


class Recipe(Section):
    """How to train, whatever is trained."""

    optimizer: Literal["sgd", "adam", "adamw"]
    lr: Annotated[Number, Field(ge=1e-8, le=10)]  # less is lost in the rounding of weights
    weight_decay: Annotated[Number, Field(ge=0, le=1)]
    beta2: Annotated[Number, Field(ge=0, lt=1)]  # of Adam's and AdamW's squared gradients
    schedule: Literal["constant", "cosine", "onecycle"]
    epochs: Annotated[StrictInt, Field(ge=1, le=10_000)]
    # Epochs without a better validation loss, or accuracy where that is what is kept by.
    patience: Annotated[StrictInt, Field(ge=1, le=10_000)]
    # Epoch of the lowest validation loss or of the highest validation accuracy, or the last one.
    keep: Literal["best", "best_accuracy", "last"]
    ema: Annotated[Number, Field(ge=0, lt=1)]  # decay per step of averaged weights; 0: none
    batch_size: Annotated[StrictInt, Field(ge=2, le=4096)]
    # The block k steps behind the head learns at lr * layer_decay^k (ULMFiT, Howard and Ruder 2018,
    # section 3.2; BEiT, Bao et al. 2022); 1: all alike.
    layer_decay: Annotated[Number, Field(ge=0.1, le=1)]
    # So many first epochs train the head alone: linear probing, then fine-tuning (LP-FT, Kumar et
    # al. 2022, section 4); of their epochs none is kept, and patience counts from the next one.
    head_epochs: Annotated[StrictInt, Field(ge=0, le=10_000)]
    # Stochastic depth (Huang et al. 2016, section 3): the probability of dropping a residual branch
    # rises from 0 at the input to this at the output; 0: as timm makes the network, mostly none.
    drop_path: Annotated[Number, Field(ge=0, lt=1)]
    # Training images and their losses are mixed in pairs, by shares from Beta(mixup, mixup) (Zhang
    # et al. 2018, eq. 1); 0: not.
    mixup: Annotated[Number, Field(ge=0, le=10)]
    # Augmented views of each training image of which what is frozen is computed once, and kept on
    # disk; 0: a new view in each epoch, computed whole.
    cache_views: Annotated[StrictInt, Field(ge=0, le=64)]
    # Processes on each machine, each with a GPU of its own where there are GPUs, and machines; they
    # share every batch.
    devices: Annotated[StrictInt, Field(ge=1, le=1024)]
    num_nodes: Annotated[StrictInt, Field(ge=1, le=1024)]
    # By its name in Lightning; auto: DDP, where there are several processes.
    strategy: Literal["auto", "ddp_find_unused_parameters_true"]

    @property
    def processes(self) -> int:
        """How many take their shares of a batch."""
        return self.devices * self.num_nodes


class Protocol(Section):
    """How often to train, and on which splits."""

    folds: Folds  # 1: the splits of the data set; given: those of its table
    # What a fold is to the model that is not trained on it; both: its epoch is chosen on the very
    # images that it is scored on, and all others are trained on.
    held_out: Literal["test", "val", "both"]
    # Group: who belongs together stays together. None: images are dealt at random, one by one.
    grouping: Literal["group", "none"]
    # Augmented copies of each image that are dealt as images of their own; without grouping alone.
    augmented_copies: Annotated[StrictInt, Field(ge=0, le=20)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)]  # one training each
    ensemble: StrictBool  # average the probabilities of all models that test an image
    mirror: StrictBool  # and those of every image and of its left-right mirror, for each model

    @property
    def is_optimistic(self) -> bool:
        """Whether its figures are better than those on new patients, on purpose."""
        return self.held_out == "both" or self.grouping == "none"

    @property
    def is_one_run(self) -> bool:
        """Whether it asks for a single training."""
        return not self.has_folds and len(self.seeds) == 1

    @property
    def has_folds(self) -> bool:
        """Whether more than one split is trained on."""
        return self.folds != 1


class Case(Section):
    """One row of the matrix; its key names every file that it writes."""

    view: Text
    model: Text  # cnn3, darkcovidnet, darkcovidnet2 or a timm architecture
    weights: Text  # a key of `weights`, or another case
    train: Level
    head: Annotated[list[Count], Field(max_length=8)]  # widths of the hidden layers
    dropout: Annotated[Number, Field(ge=0, lt=1)]
    loss: Loss
    sampler: Literal["none", "weighted"]
    augment: Text  # a key of `augmentations`
    recipe: Text  # a key of `recipes`
    protocol: Text  # a key of `protocols`


class Search(Section):
    """Cases of which one is chosen by what it is worth on validation images, and tested."""

    cases: Annotated[list[Text], Field(min_length=2, max_length=1000)]  # the candidates
    by: Literal["log_loss", "auroc", "balanced_accuracy"]


class Compute(Section):
    """What the networks run on."""

    accelerator: Literal["auto", "cpu", "gpu"]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Threads


class Audit(Section):
    """Cross-validation of the shortcut probes, and the deals of labels that they are tested by."""

    folds: Annotated[StrictInt, Field(ge=2, le=20)]
    permutations: Annotated[StrictInt, Field(ge=99, le=100_000)]


Cost = Annotated[Number, Field(ge=0, le=1e9)]


class Evaluate(Section):
    """Bootstrap draws behind every interval; prevalences for predictive values; which errors weigh.

    What errors cost stands here and not in the data set, whose images it does not change: DVC has
    no way to give `evaluate` a value of the data set behind the view of a case.
    """

    bootstrap_draws: Annotated[StrictInt, Field(ge=100, le=100_000)]
    prevalences: Annotated[list[ProperShare], Field(max_length=20)]
    # Data set -> true class -> decided class -> cost; others are not known. A right one is free.
    costs: dict[Name, dict[Name, dict[Name, Cost]]]
    ordered: dict[Name, list[Name]]  # data set -> its classes from one end to the other


class External(Section):
    """A trained case and a view of another data set that it is scored on, untouched."""

    case: Text
    view: Text
    classes: Annotated[dict[Text, Text], Field(min_length=1)]  # class there -> class of the case


CamMethod = Literal[
    "gradcam",
    "eigencam",
    "gradcam_plus_plus",
    "layercam",
    "scorecam",
    "xgradcam",
    "hirescam",
]
ImageCount = Annotated[StrictInt, Field(ge=0, le=10_000)]


class Cam(Section):
    """Which maps, of which test images."""

    methods: Annotated[list[CamMethod], Field(min_length=1, max_length=7)]
    positive: Annotated[ImageCount, Field(ge=1)]  # of the positive class and of the others,
    negative: Annotated[ImageCount, Field(ge=1)]  # drawn with the seed
    errors: ImageCount  # the most confident errors
    uncertain: ImageCount  # the least certain images
    road_images: ImageCount  # of those drawn; dear
    lesion_images: ImageCount  # whose lesions are known, drawn with the seed for the pointing game
    target_layers: dict[Text, Text]  # architecture -> module; others: the last feature stage


def _said(value: str) -> str:
    """Refuse text without a word in it: what nobody knows is null."""
    if not value.strip():
        raise PydanticCustomError("blank", "text, or null where nobody has said it")
    return value


Said = Annotated[Text, AfterValidator(_said)] | None


class Study(Section):
    """What only the authors of a study know; null: not said, so that its items stay open.

    The column `study` of stages/reporting/checklists.csv says which items each of them fills.
    """

    title: Said
    background: Said  # healthcare context, earlier models, known inequalities between groups
    question: Said  # aims, and hypotheses beyond the named comparisons
    design: Literal["prospective", "retrospective"] | None
    eligibility: Said  # who or what was taken in, who was not
    participants: Said  # age, sex, severity, treatments
    setting: Said  # centres and dates
    acquisition: Said  # devices and protocol; how images were de-identified
    reference_standard: Said  # what the labels are taken from, and why that
    annotators: Said  # who labelled, how qualified, blinded to what
    intended_use: Said  # what for, for whom, by which users
    ethics: Said  # committee, consent or waiver
    funding: Said  # who paid, and their role
    conflicts: Said
    registration: Said
    protocol: Said  # where it can be read
    availability: Said  # where code, models and data can be had
    patient_involvement: Said
    limitations: Said  # beyond those that the run measures
    interpretation: Said  # beside earlier studies; next steps


class Params(Section):
    """The whole of params.yaml."""

    seed: Seed
    compute: Compute
    # What `fetch` gets into data/downloads/<name>/, for sources of data sets to lie in.
    downloads: dict[Name, Annotated[dict[Name, RemoteFile], Field(min_length=1, max_length=100)]]
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    views: Annotated[dict[Name, View], Field(min_length=1)]
    pretext: Pretext
    weights: Annotated[dict[Name, Weights], Field(min_length=1)]
    augmentations: Annotated[dict[Name, Augmentation], Field(min_length=1)]
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]
    protocols: Annotated[dict[Name, Protocol], Field(min_length=1)]
    cases: Annotated[dict[Name, Case], Field(min_length=1)]
    comparisons: dict[Name, Annotated[list[Text], Field(min_length=2, max_length=2)]]
    searches: dict[Name, Search]
    external: dict[Name, External]
    audit: Audit
    evaluate: Evaluate
    cam: Cam
    study: Study

    def download(self, name: str) -> dict[str, RemoteFile]:
        """The files of the download of that name; an unknown one lists those known, as below."""
        return _entry(self.downloads, "downloads", name)

    def dataset(self, name: str) -> Dataset:
        """The data set of that name; an unknown name lists the known ones, here and below."""
        return _entry(self.datasets, "datasets", name)

    def view(self, name: str) -> View:
        """The view of that name."""
        return _entry(self.views, "views", name)

    def initial_weights(self, name: str) -> Weights:
        """The entry of `weights` of that name."""
        return _entry(self.weights, "weights", name)

    def augmentation(self, name: str) -> Augmentation:
        """The augmentation of that name."""
        return _entry(self.augmentations, "augmentations", name)

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name."""
        return _entry(self.recipes, "recipes", name)

    def protocol(self, name: str) -> Protocol:
        """The protocol of that name."""
        return _entry(self.protocols, "protocols", name)

    def case(self, name: str) -> Case:
        """The case of that name."""
        return _entry(self.cases, "cases", name)

    def external_test(self, name: str) -> External:
        """The external test of that name."""
        return _entry(self.external, "external", name)


def _entry(entries: dict[str, T], section: str, name: str) -> T:
    if name not in entries:
        raise UserError(
            f"params.yaml: {section}: no entry named {name!r}; there are: {', '.join(entries)}"
        )
    return entries[name]
