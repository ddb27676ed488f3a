"""Grad-CAM and EigenCAM of 20 images: `compute_cams` v pytorch-grad-cam, one image at a time.

The library's EigenCAM has an arbitrary sign. It is timed as it is; for the difference its component
gets the sign of the product, since what is negative is clipped.
"""

import argparse
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, GradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from stages.explain.layers import find_layer
from stages.explain.methods import Asked, Explainer, compute_cams
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.initial import GREY_MEAN, GREY_STD
from stages.modeling.outputs import Outputs
from tests.benchmarks import measure

FloatArray = NDArray[np.float32]
OUTPUTS = Outputs(("normal", "covid"), positive=1, one_logit=False, implies={})


class SignedLibraryEigenCAM(EigenCAM):
    """The library's component with the sign of gradient times activation."""

    def __init__(self, model: nn.Module, target_layers: list[nn.Module]) -> None:
        BaseCAM.__init__(self, model, target_layers, uses_gradients=True)

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: list[Callable[[Tensor], Tensor]],
        activations: FloatArray,
        grads: FloatArray,
        eigen_smooth: bool,
    ) -> FloatArray:
        """Component (B, h, w)."""
        found: FloatArray = super().get_cam_image(
            input_tensor, target_layer, targets, activations, grads, eigen_smooth
        )
        evidence = (grads * activations).sum(axis=1)
        agreement = (found * evidence).sum(axis=(1, 2), keepdims=True)
        return np.where(agreement < 0, -found, found)


LIBRARY: Mapping[str, type[BaseCAM]] = {"gradcam": GradCAM, "eigencam": EigenCAM}
COMPARED: Mapping[str, type[BaseCAM]] = {"gradcam": GradCAM, "eigencam": SignedLibraryEigenCAM}


def main() -> None:
    """Explain the same images both ways in turn, print the ratio and the largest difference."""
    args = _parse()
    torch.manual_seed(0)
    classifier = build_classifier(
        args.model, size=args.px, head=[], outputs=2, dropout=0.0, mean=GREY_MEAN, std=GREY_STD
    ).eval()
    asked = Asked(torch.rand(args.images, 1, args.px, args.px), torch.arange(args.images) % 2)
    explainer = Explainer(classifier, OUTPUTS, args.methods, args.layer)
    library = {name: LIBRARY[name] for name in args.methods}
    sides = {
        "pytorch-grad-cam": measure.timed(lambda: _by_library(library, classifier, asked, args)),
        "product": measure.timed(lambda: compute_cams(explainer, asked)),
    }
    one = Asked(asked.images[:1], asked.classes[:1])  # a warm-up of the kernels
    _by_library(library, classifier, one, args)
    compute_cams(explainer, one)
    costs = measure.interleave(sides, args.rounds)
    title = f"{', '.join(args.methods)} of {args.images} images, {args.model}, {args.px} px"
    measure.show(title, costs, unit="call")
    compared = {name: COMPARED[name] for name in args.methods}
    _print_differences(
        compute_cams(explainer, asked), _by_library(compared, classifier, asked, args)
    )


def _parse() -> argparse.Namespace:
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--model", default="resnet18", help="a timm architecture")
    parser.add_argument("--layer", default="layer4", help="module that the maps are taken from")
    parser.add_argument("--methods", nargs="+", choices=list(LIBRARY), default=list(LIBRARY))
    parser.add_argument("--images", type=int, default=20, help="images, one map each")
    parser.add_argument("--px", type=int, default=224, help="side of an image")
    return parser.parse_args()


def _by_library(
    methods: Mapping[str, type[BaseCAM]],
    classifier: Classifier,
    asked: Asked,
    args: argparse.Namespace,
) -> dict[str, FloatArray]:
    """Maps (N, S, S) per method, a call of the library per image."""
    layer = find_layer(classifier, args.layer)
    maps = {}
    for name, method in methods.items():
        with method(classifier, [layer]) as cam:
            maps[name] = np.concatenate(
                [
                    cam(image[None], [ClassifierOutputTarget(int(wanted))])
                    for image, wanted in zip(asked.images, asked.classes, strict=True)
                ]
            )
    return maps


def _print_differences(ours: Mapping[str, FloatArray], library: Mapping[str, FloatArray]) -> None:
    for name, maps in ours.items():
        difference = float(np.abs(maps - library[name]).max())
        print(f"largest difference of {name}: {difference:.1e} (maps go from 0 to 1)")


if __name__ == "__main__":
    main()
