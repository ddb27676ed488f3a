"""Augmented copies that pass for images of their own, as where a set is augmented before the split.

Copies of one image then stand in training and test alike, which makes test figures look better
than they are: a habit to be measured, never to be followed.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stages.dataset.image_set import ImageSet
from stages.dataset.runs import copy_id
from stages.modeling.augment import Augmenter
from stages.modeling.data import EVAL_BATCH_SIZE, to_unit_range


def with_copies(view: ImageSet, copies: int, augment: Augmenter) -> ImageSet:
    """The images and, behind all of them, so many augmented copies of each.

    A copy has the label, the group and the file of its image. Where its lungs are is not known, so
    that it counts as an image in which none were found.

    Args:
        view: N images.
        copies: of each; 0 gives the view itself.
        augment: draws the changes.

    Returns:
        N (1 + copies) images, in memory.
    """
    if not copies:
        return view
    ids = view.manifest["image_id"]
    tables = [view.manifest.assign(image_id=copy_id(ids, n)) for n in range(1, copies + 1)]
    augmented = [_augmented(view.images, augment) for _ in tables]
    assert view.lung_masks is not None  # a view has them
    unknown = np.zeros((copies * len(ids), *view.lung_masks.shape[1:]), np.uint8)
    return replace(
        view,
        manifest=pd.concat([view.manifest, *tables], ignore_index=True),
        images=np.concatenate([view.images, *augmented]),
        truth=None,
        known_truth=None,
        lung_masks=np.concatenate([view.lung_masks, unknown]),
        boxes=None,
        pictures=None,
    )


def _augmented(images: NDArray[np.uint8], augment: Augmenter) -> NDArray[np.uint8]:
    """(N, S, S) another picture of each image."""
    changed = np.empty_like(images)
    for start in range(0, len(images), EVAL_BATCH_SIZE):
        batch = torch.from_numpy(np.array(images[start : start + EVAL_BATCH_SIZE]))
        grey = augment(to_unit_range(batch)).squeeze(1).mul(255).round().byte()
        changed[start : start + EVAL_BATCH_SIZE] = grey.numpy()
    return changed
