"""Class activation maps: the formulas of pytorch-grad-cam on one shared pass through the network.

The library runs the whole network forwards and backwards per method. Here one forward pass gives
the activations of a layer, and a graph that starts there gives their gradients, for all methods.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import (
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
    XGradCAM,
)
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor, nn
from torch.nn import functional

from stages.config.progress import progress
from stages.explain.layers import collect_evidence, find_layer
from stages.modeling.classifier import Classifier
from stages.modeling.outputs import Outputs

FloatArray = NDArray[np.float32]
ClassScore = Callable[[Tensor], Tensor]  # logits (B, K) -> (B,)

BATCH_SIZE = 8
MASKED_BATCH_SIZE = 64  # of ScoreCAM: the same image under as many masks
ROUNDING = 1e-6  # relative; a map that varies by less is constant


class SignedEigenCAM(EigenCAM):
    """EigenCAM (Muhammad and Yeasin 2020) with a sign.

    A principal component has an arbitrary sign, and what is negative is clipped: half of the maps
    would show the background. Here the component points the way in which gradient times
    activation raises the class score. The component itself is still not class-specific.
    """

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: list[ClassScore],
        activations: FloatArray,
        grads: FloatArray,
        eigen_smooth: bool,
    ) -> FloatArray:
        """First principal component (B, h, w) of activations (B, C, h, w)."""
        projections = first_component(torch.from_numpy(activations)).numpy()
        evidence = (grads * activations).sum(axis=1)
        agreement = (projections * evidence).sum(axis=(1, 2), keepdims=True)
        return np.where(agreement < 0, -projections, projections)


def first_component(activations: Tensor) -> Tensor:
    """Cells (B, h, w) projected on the first principal component of their channels (B, C, h, w).

    From the smaller Gram matrix of the centred C x hw activations, cells or channels, instead of
    their full singular value decomposition: the same up to sign, and 20 times as fast for
    512 x 49. In double precision, since a Gram matrix squares the ratio of the components.
    """
    centred = activations.flatten(start_dim=2).double()
    centred = centred - centred.mean(dim=2, keepdim=True)
    channels, cells = centred.shape[1:]
    if cells <= channels:
        values, vectors = torch.linalg.eigh(centred.mT @ centred)  # rising
        projection = vectors[..., -1] * values[..., -1:].clamp(min=0).sqrt()
    else:
        vectors = torch.linalg.eigh(centred @ centred.mT).eigenvectors
        projection = (vectors[..., -1:].mT @ centred)[:, 0]
    return projection.unflatten(1, activations.shape[2:]).float()


class BatchedScoreCAM(ScoreCAM):
    """ScoreCAM (Wang et al. 2020): a channel counts by the class score of the image it masks.

    The library holds the images under all masks at once, C images of S x S for each image.
    """

    def get_cam_weights(
        self,
        input_tensor: Tensor,
        target_layers: nn.Module,
        targets: list[ClassScore],
        activations: FloatArray,
        grads: FloatArray,
    ) -> FloatArray:
        """Weights (B, C) that sum to 1 over the channels of activations (B, C, h, w)."""
        maps = torch.from_numpy(activations)
        weights = [
            self._scores(image, channels, score).softmax(dim=0)
            for image, channels, score in zip(input_tensor, maps, targets, strict=True)
        ]
        return torch.stack(weights).numpy()

    def _scores(self, image: Tensor, channels: Tensor, score: ClassScore) -> Tensor:
        """(C,) class scores of an image (1, S, S), masked by each of its maps (C, h, w)."""
        return torch.cat(
            [
                score(self.model(image * _unit_masks(some, image.shape[-1])))
                for some in channels.split(MASKED_BATCH_SIZE)
            ]
        )


def _unit_masks(channels: Tensor, size: int) -> Tensor:
    """Masks (n, 1, S, S), each from 0 to 1, of maps (n, h, w), enlarged as in the library."""
    masks = functional.interpolate(
        channels[:, None], size=(size, size), mode="bilinear", align_corners=True
    )
    low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
    return (masks - low) / (high - low + 1e-8)


METHODS: dict[str, type[BaseCAM]] = {
    "gradcam": GradCAM,
    "eigencam": SignedEigenCAM,
    "gradcam_plus_plus": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "scorecam": BatchedScoreCAM,
    "xgradcam": XGradCAM,
    "hirescam": HiResCAM,
}


class Asked(NamedTuple):
    """What is to be explained.

    Attributes:
        images: (N, 1, S, S) in [0, 1].
        classes: (N,) class index whose score is explained.
    """

    images: Tensor
    classes: Tensor

    def at(self, chosen: NDArray[np.bool_]) -> Self:
        """Some of the images, chosen by (N,)."""
        return type(self)(self.images[chosen], self.classes[chosen])

    def batches(self) -> list["Asked"]:
        """The same in parts that are explained at once."""
        parts = (part.split(BATCH_SIZE) for part in self)
        return [Asked(*batch) for batch in zip(*parts, strict=True)]


class Explainer(NamedTuple):
    """A network and how its maps are made.

    Attributes:
        classifier: left as it was found: mode, `requires_grad`, gradients, hooks.
        outputs: what its logits mean.
        methods: keys of METHODS.
        target_layer: name of a module of the backbone.
    """

    classifier: Classifier
    outputs: Outputs
    methods: Sequence[str]
    target_layer: str


def compute_cams(explainer: Explainer, asked: Asked) -> dict[str, FloatArray]:
    """Maps of the evidence for one class per image.

    Returns:
        Per method (N, S, S) in [0, 1], each map from its own minimum (where that is positive, else
        from no evidence) to its own maximum; zeros where nothing speaks for the class.

    Raises:
        UserError: the backbone has no such layer, or the layer gives no maps.
    """
    with _ready_to_explain(explainer.classifier):
        batches = asked.batches()
        maps = [_explain_batch(explainer, b) for b in progress(batches, "maps", len(batches))]
    return {name: np.concatenate([batch[name] for batch in maps]) for name in explainer.methods}


def _explain_batch(explainer: Explainer, batch: Asked) -> dict[str, FloatArray]:
    layer = find_layer(explainer.classifier, explainer.target_layer)
    evidence = collect_evidence(
        explainer.classifier, explainer.target_layer, explainer.outputs, *batch
    )
    activations, gradients = (values.contiguous().numpy() for values in evidence)
    scores = [_class_score(explainer.outputs, wanted) for wanted in batch.classes]
    maps = {}
    for name in explainer.methods:
        method = METHODS[name](explainer.classifier, [layer])
        method.activations_and_grads.release()  # its own hooks: the passes were made above
        cams = method.get_cam_image(
            batch.images, layer, scores, activations, gradients, eigen_smooth=False
        )
        maps[name] = scale_maps(cams, batch.images.shape[-1])
    return maps


def _class_score(outputs: Outputs, wanted: Tensor) -> ClassScore:
    """The scores of one class, (B,) of logits (B, K)."""
    return lambda logits: outputs.class_score(logits, wanted.expand(len(logits)))


def scale_maps(cams: FloatArray, size: int) -> FloatArray:
    """Maps (B, h, w) without what is negative, at (B, size, size), each from 0 to 1 or all 0.

    Scaled before and after resizing, as in pytorch-grad-cam, but without its constant in the
    denominator, which dims maps of small gradients.
    """
    maps = _to_unit_range(torch.from_numpy(cams).relu()[:, None])
    maps = functional.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)
    return _to_unit_range(maps)[:, 0].numpy()


def _to_unit_range(maps: Tensor) -> Tensor:
    """Maps (B, 1, h, w) >= 0 from their minimum to their maximum; constant ones become 0."""
    highest = maps.amax(dim=(2, 3), keepdim=True)
    shifted = maps - maps.amin(dim=(2, 3), keepdim=True)
    span = shifted.amax(dim=(2, 3), keepdim=True)
    return shifted / span.where(span > ROUNDING * highest, torch.tensor(torch.inf))


@contextmanager
def _ready_to_explain(classifier: Classifier) -> Iterator[None]:
    """Eval mode without parameter gradients, and back.

    Gradients flow from the target layer, so a frozen network is explained like any other, and
    none are computed for the weights.
    """
    modes = [(module, module.training) for module in classifier.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in classifier.parameters()]
    classifier.eval().requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training  # one by one: `train` would go by what is frozen now
        for parameter, wants_gradient in wanted:
            parameter.requires_grad_(wants_gradient)
