"""The built-in pretext task: tell the lesion pattern of phantoms that nobody else sees.

It stands in for ImageNet weights where there is no network, so that transfer can really be run.
Three classes, each half CT and half X-ray, cropped to the lungs: no lesion, ground glass,
consolidation. The lesions are plain to see; those of the cohorts often are not.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler

from stages.config.params import Augmentation, CrossEntropy, Pretext, Recipe
from stages.config.progress import progress
from stages.dataset.truth import LUNG_BIT
from stages.imaging.boxes import lay_into_square, lung_box
from stages.modeling.augment import Augmenter
from stages.modeling.blocks import block_depths
from stages.modeling.classifier import build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.convergence import naming_recipe, require_finite_weights
from stages.modeling.data import (
    EVAL_BATCH_SIZE,
    Batch,
    ImageRows,
    class_counts,
    ordered_loader,
    to_unit_range,
)
from stages.modeling.fit import Lesson, fit, log_start
from stages.modeling.initial import DEFAULT_SCALING, GREY_MEAN, GREY_STD, InitialWeights
from stages.modeling.knowledge import Knowledge
from stages.modeling.losses import build_loss
from stages.modeling.memory import advising_on_memory
from stages.modeling.optimizer import require_enough_steps
from stages.modeling.outputs import Outputs
from stages.modeling.resume import Checkpoints
from stages.modeling.unit_variance import scale_to_unit_variance
from stages.phantoms.ct import draw_ct
from stages.phantoms.lesions import PATTERNS
from stages.phantoms.xray import draw_xray

TASK = "lesion pattern of phantoms"
OUTPUTS = Outputs(PATTERNS, positive=0, one_logit=False, implies={})
VAL_SHARE = 0.15
SCALED_ON = 48  # images
LUNG_MARGIN = 0.05
# As pictures are larger than their views: resizing takes away noise.
DRAWN_SCALE = 2.0


def learn_pretext_weights(
    model: str,
    pretext: Pretext,
    recipe: Recipe,
    augmentation: Augmentation,
    *,
    seed: int,
    hardware: Hardware,
    scratch: Path,
) -> InitialWeights:
    """Train a network on the task; its backbone is what transfers.

    A killed training goes on from what it left in `scratch`, which is the caller's to remove.
    """
    train, val = _draw_rows(pretext, seed)
    log_start(model, {"train": len(train), "val": len(val)}, recipe, hardware)
    torch.manual_seed(seed)  # the network's first weights
    classifier = build_classifier(
        model,
        size=pretext.size_px,
        head=[],
        outputs=OUTPUTS.count,
        dropout=0.0,
        mean=GREY_MEAN,
        std=GREY_STD,
        drop_path=recipe.drop_path,
    )
    scale_to_unit_variance(classifier, to_unit_range(train[list(range(SCALED_ON))].images))
    lesson = Lesson(
        classifier,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, []),
        to_unit_range,
        Augmenter(augmentation, torch.Generator().manual_seed(seed)),
        patient_loader(train, batch_size=recipe.batch_size, seed=seed),
        ordered_loader(val, batch_size=EVAL_BATCH_SIZE),
        block_depths(classifier),
    )
    with naming_recipe(pretext.recipe), advising_on_memory(recipe.batch_size, pretext.size_px):
        require_enough_steps(recipe, recipe.epochs * len(lesson.train))
        checkpoints = Checkpoints(scratch, [model, pretext, recipe, augmentation])
        result = fit(lesson, recipe, seed=seed, hardware=hardware, checkpoints=checkpoints)
        require_finite_weights(classifier, recipe, result.steps)
    counts = class_counts(val.targets, len(PATTERNS))
    knows = Knowledge.of_fit(TASK, result, counts).to_json()
    facts = {"scaling": DEFAULT_SCALING, "knows": knows}
    return InitialWeights(classifier.backbone, GREY_MEAN, GREY_STD, facts)


def _draw_rows(pretext: Pretext, seed: int) -> tuple[ImageRows, ImageRows]:
    """Images to learn from, and to choose the epoch by; no patient is in both."""
    images, targets = draw_pretext_images(pretext.images, pretext.size_px, seed=seed)
    n_val = round(len(images) * VAL_SHARE / len(PATTERNS)) * len(PATTERNS)
    val, train = np.split(np.arange(len(images)), [n_val])
    return ImageRows(images, targets, train), ImageRows(images, targets, val)


def patient_loader(images: ImageRows, *, batch_size: int, seed: int) -> DataLoader[Batch]:
    """Shuffled batches of whole patients, whose pictures differ in their lesions alone.

    Side by side in a batch they say what is to be learned: VGG-16 got from 0.47 to 0.61 of
    validation accuracy in as many steps.
    """
    generator = torch.Generator().manual_seed(seed)
    patients = range(len(images) // len(PATTERNS))
    order = RandomSampler(patients, generator=generator)
    batches = BatchSampler(order, max(1, batch_size // len(PATTERNS)), drop_last=False)
    pictures = Pictures(batches)
    return DataLoader(images, sampler=pictures, batch_size=None)


class Pictures(Sampler[list[int]]):
    """Positions of the pictures of some patients, from batches of patients."""

    def __init__(self, patients: BatchSampler) -> None:
        self.sampler = patients

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        each = range(len(PATTERNS))
        for batch in self.sampler:
            yield [patient * len(PATTERNS) + pattern for patient in batch for pattern in each]


def draw_pretext_images(
    count: int, size: int, *, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, S, S) uint8 images and class indices (N,): each patient once with each pattern.

    The three pictures of a patient differ in their lesions alone, so there is nothing else to
    learn from them. N is `count` rounded down to whole patients.
    """
    patients, patterns = range(count // len(PATTERNS)), range(len(PATTERNS))
    pictures = progress(
        product(patients, patterns), "drawing phantoms", len(patients) * len(patterns)
    )
    images = [_draw(pattern, size, [seed, patient]) for patient, pattern in pictures]
    return np.stack(images), np.tile(patterns, len(patients)).astype(np.int64)


def _draw(pattern: int, size: int, seed: list[int]) -> NDArray[np.uint8]:
    """Patients with even numbers have a CT, those with odd ones an X-ray."""
    draw = draw_xray if seed[-1] % 2 else draw_ct
    # The word keeps these patients apart from the cohorts', whatever their seed.
    patient_rng, image_rng = np.random.default_rng([*b"pretext", *seed]).spawn(2)
    phantom = draw(
        PATTERNS[pattern], patient_rng, image_rng, size_px=round(DRAWN_SCALE * size), plain=True
    )
    box = lung_box((phantom.truth & LUNG_BIT) > 0, LUNG_MARGIN)
    return lay_into_square(phantom.image, box, size, "stretch", "smooth")[0]
