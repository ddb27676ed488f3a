"""The built-in pretext task: tell modality and lesion pattern of phantoms nobody else sees.

It stands in for ImageNet weights where there is no network, so that transfer can really be run.
Six classes: CT or X-ray, with no lesion, ground glass or consolidation, cropped to the lungs.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.params import Augmentation, CrossEntropy, Pretext, Recipe
from stages.dataset.truth import LUNG_BIT
from stages.imaging.boxes import lay_into_square, lung_box
from stages.modeling.augment import Augmenter
from stages.modeling.classifier import build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import ImageRows, ordered_loader, train_loader
from stages.modeling.fit import FitResult, Lesson, fit
from stages.modeling.initial import DEFAULT_SCALING, GREY_MEAN, GREY_STD, InitialWeights
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from stages.phantoms.ct import draw_ct
from stages.phantoms.lesions import PATTERNS
from stages.phantoms.xray import draw_xray

CLASSES = tuple((modality, pattern) for modality in ("ct", "xray") for pattern in PATTERNS)
OUTPUTS = Outputs(
    tuple(f"{modality}-{pattern}" for modality, pattern in CLASSES),
    positive=0,
    one_logit=False,
    implies={},
)
VAL_SHARE = 0.15
LUNG_MARGIN = 0.05
# The phantoms are drawn larger than the crop of their lungs.
DRAWN_SCALE = 1.5


def learn_pretext_weights(
    model: str,
    pretext: Pretext,
    recipe: Recipe,
    augmentation: Augmentation,
    *,
    seed: int,
    hardware: Hardware,
) -> InitialWeights:
    """Train a network on the task; its backbone is what transfers."""
    torch.manual_seed(seed)  # the network's first weights
    classifier = build_classifier(
        model,
        size=pretext.size_px,
        head=[],
        outputs=OUTPUTS.count,
        dropout=0.0,
        mean=GREY_MEAN,
        std=GREY_STD,
    )
    train, val = _draw_rows(pretext, seed)
    lesson = Lesson(
        classifier,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, []),
        Augmenter(augmentation, torch.Generator().manual_seed(seed)),
        train_loader(train, batch_size=recipe.batch_size, sampler="none", seed=seed),
        ordered_loader(val, batch_size=recipe.batch_size),
    )
    result = fit(lesson, recipe, seed=seed, hardware=hardware)
    facts = {"scaling": DEFAULT_SCALING, "pretext": _final_figures(result)}
    return InitialWeights(classifier.backbone, GREY_MEAN, GREY_STD, facts)


def _draw_rows(pretext: Pretext, seed: int) -> tuple[ImageRows, ImageRows]:
    """Images to learn from, and to choose the epoch by."""
    images, targets = draw_pretext_images(pretext.images, pretext.size_px, seed=seed)
    val, train = np.split(np.arange(len(images)), [round(len(images) * VAL_SHARE)])
    return ImageRows(images, targets, train), ImageRows(images, targets, val)


def draw_pretext_images(
    count: int, size: int, *, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, S, S) uint8 images, each of another patient, and class indices (N,) in random order."""
    targets = np.random.default_rng(seed).permutation(np.arange(count) % len(CLASSES))
    images = [_draw(int(target), size, [seed, number]) for number, target in enumerate(targets)]
    return np.stack(images), targets.astype(np.int64)


def _draw(target: int, size: int, seed: list[int]) -> NDArray[np.uint8]:
    modality, pattern = CLASSES[target]
    draw = draw_ct if modality == "ct" else draw_xray
    # The word keeps these patients apart from the cohorts', whatever their seed.
    patient_rng, image_rng = np.random.default_rng([*b"pretext", *seed]).spawn(2)
    phantom = draw(pattern, patient_rng, image_rng, size_px=round(DRAWN_SCALE * size))
    box = lung_box((phantom.truth & LUNG_BIT) > 0, LUNG_MARGIN)
    return lay_into_square(phantom.image, box, size, "letterbox", "smooth")[0]


def _final_figures(result: FitResult) -> dict[str, float]:
    best = result.epochs.query("epoch == @result.kept_epoch and split == 'val'").iloc[0]
    return {"val_loss": float(best["loss"]), "val_accuracy": float(best["accuracy"])}
