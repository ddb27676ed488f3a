"""What trained models say of images: one run of a case of its own view, or all of other images."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.config.progress import progress
from stages.dataset.image_set import ImageSet
from stages.dataset.occlusion import (
    OCCLUSIONS,
    compute_mean_grey,
    find_lungs_anywhere,
    occlude,
    select_with_lungs,
)
from stages.dataset.predictions import WHOLE, average_test_rows, tabulate_run
from stages.dataset.runs import Run, RunTable, load_runs
from stages.modeling.checkpoint import load_classifier, load_meta, outputs_of, run_folder
from stages.modeling.classifier import Classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import EVAL_BATCH_SIZE, ImageRows, ordered_loader, to_unit_range
from stages.modeling.fused import fuse
from stages.modeling.outputs import Outputs
from stages.modeling.penultimate import Penultimate


class TrainedCase(NamedTuple):
    """A trained case as its folder describes it.

    Attributes:
        folder: of its runs' models.
        table: its runs, and the images that they know.
        outputs: what the logits of its models mean: classes, the positive one, implied labels.
        ensemble: whether the models that test an image are averaged.
        mirror: whether each of them averages an image and its mirror.
        precision: that they were trained and validated in, and predict in.
    """

    folder: Path
    table: RunTable
    outputs: Outputs
    ensemble: bool
    mirror: bool
    precision: str


def load_case(folder: Path) -> TrainedCase:
    """Read what describes a case; its models are loaded one by one, when they predict.

    Raises:
        UserError: a file is missing, or a column names no run.
    """
    table = load_runs(folder)
    meta = load_meta(run_folder(folder, table.runs[0].name))
    says = {key: meta[key] for key in ("ensemble", "mirror", "precision")}
    return TrainedCase(folder, table, outputs_of(meta), **says)


def predict_case(
    case: TrainedCase, images: NDArray[np.uint8], manifest: pd.DataFrame, *, device: str
) -> pd.DataFrame:
    """One row per run and image of what the models of a case say of images new to them.

    Args:
        case: of which one model at a time is in memory.
        images: (N, S, S), cropped and sized as those of the case.
        manifest: (N,) rows; a label is a class of the case. All of them count as test images.
        device: cpu or cuda; bf16 is right, though slow, where a processor does not have it.
    """
    hardware = Hardware(device, case.precision)
    tables = []
    for run in case.table.runs:
        tested = replace(run, splits=np.full(len(images), "test"))
        classifier, _ = load_classifier(run_folder(case.folder, run.name))
        said = predict_probabilities(
            fuse(classifier), case.outputs, images, hardware=hardware, mirror=case.mirror
        )
        tables.append(tabulate_run(manifest, tested, said, case.outputs.class_names))
    return pd.concat(tables, ignore_index=True)


def predict_run(
    classifier: Classifier,
    outputs: Outputs,
    view: ImageSet,
    run: Run,
    *,
    hardware: Hardware,
    mirror: bool,
    penultimate: Penultimate | None = None,
) -> dict[str, pd.DataFrame]:
    """What the model of one run says of its view, in the precision that it was validated in.

    Args:
        classifier: left as it was found.
        outputs: what its logits mean.
        view: of which all splits are predicted.
        run: which rows are which split.
        hardware: device and precision.
        mirror: see `predict_probabilities`; of an occluded image the mirror is as occluded.
        penultimate: notes the features of the whole images.

    Returns:
        One row per image: `WHOLE` of all images, and by occlusion of the test images in which
        lungs were found.
    """
    assert view.lung_masks is not None  # a view has them
    rows = select_with_lungs(view.lung_masks, run.rows("test"))
    images, lung_masks = view.images[rows], view.lung_masks[rows]
    manifest, tested = view.manifest.iloc[rows], replace(run, splits=np.full(len(rows), "test"))
    grey = compute_mean_grey(view.images, run.rows("train"))
    anywhere = find_lungs_anywhere(view.lung_masks)
    predict = partial(
        predict_probabilities, fuse(classifier), outputs, hardware=hardware, mirror=mirror
    )
    names = outputs.class_names
    said = predict(view.images, penultimate=penultimate)
    tables = {WHOLE: tabulate_run(view.manifest, run, said, names)}
    for occlusion in OCCLUSIONS:
        hidden = occlude(images, lung_masks, occlusion, anywhere=anywhere, grey=grey)
        tables[occlusion] = tabulate_run(manifest, tested, predict(hidden), names)
    return tables


def combine_runs(rows: pd.DataFrame, class_names: Sequence[str], *, ensemble: bool) -> pd.DataFrame:
    """What a case says: its runs' rows, the test rows averaged per image if it is an ensemble."""
    return average_test_rows(rows, class_names) if ensemble else rows


def predict_probabilities(
    classifier: Classifier,
    outputs: Outputs,
    images: NDArray[np.uint8],
    *,
    hardware: Hardware,
    mirror: bool,
    penultimate: Penultimate | None = None,
) -> NDArray[np.float64]:
    """(N, classes) of images (N, S, S), in eval mode, at the size trained with.

    The network computes in the precision of `hardware`, what is made of its logits in fp32.

    Args:
        classifier: is moved to the device.
        outputs: what its logits mean.
        images: cropped and sized as those trained on.
        hardware: device and precision.
        mirror: the mean of the probabilities of each image and of its left-right mirror (test-time
            augmentation, as of Krizhevsky et al. 2012, section 4.1). Of probabilities, not of
            logits: that is how models are averaged too, and what is said of an image stays between
            what is said of its two sides.
        penultimate: notes the features of images as they are, not of their mirrors.
    """
    if not len(images):
        return np.empty((0, len(outputs.class_names)))
    classifier = classifier.to(hardware.device).to(memory_format=torch.channels_last).eval()
    rows = ImageRows(images, np.zeros(len(images), np.int64), np.arange(len(images)))
    with torch.inference_mode(), hardware.autocast():
        with penultimate.noting(classifier) if penultimate else nullcontext():
            logits = _compute_logits(classifier, rows, hardware)
        probabilities = outputs.probabilities(logits)
        if mirror:
            mirrored = _compute_logits(_of_mirror(classifier), rows, hardware)
            probabilities = (probabilities + outputs.probabilities(mirrored)) / 2
    return probabilities.cpu().double().numpy()


def _of_mirror(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """What a network says of images (B, 1, S, S) mirrored left to right."""
    return lambda images: classifier(images.flip(-1))


def _compute_logits(
    network: Callable[[Tensor], Tensor], rows: ImageRows, hardware: Hardware
) -> Tensor:
    """(N, count), in fp32."""
    batches = ordered_loader(rows, batch_size=EVAL_BATCH_SIZE)
    return torch.cat(
        [
            network(to_unit_range(batch.images).to(hardware.device)).float()
            for batch in progress(batches, "predicting", len(batches))
        ]
    )
