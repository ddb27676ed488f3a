"""A trained model's probabilities for every image of a view."""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.modeling.classifier import Classifier
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range
from stages.modeling.outputs import Outputs

BATCH_SIZE = 64


def predict_probabilities(
    classifier: Classifier, outputs: Outputs, images: NDArray[np.uint8], *, device: str
) -> NDArray[np.float64]:
    """(N, classes) of images (N, S, S), in fp32, in eval mode, at the size trained with."""
    if not len(images):
        return np.empty((0, len(outputs.class_names)))
    classifier = classifier.to(device).to(memory_format=torch.channels_last).eval()
    rows = ImageRows(images, np.zeros(len(images), np.int64), np.arange(len(images)))
    with torch.inference_mode():
        batches = [
            outputs.probabilities(classifier(to_unit_range(batch.images).to(device))).cpu()
            for batch in ordered_loader(rows, batch_size=BATCH_SIZE)
        ]
    return torch.cat(batches).double().numpy()
