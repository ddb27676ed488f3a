"""All that a case is as one network: from grey pictures to calibrated probabilities."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages.dataset.predictions import DECIMALS
from stages.deployment.resampling import ToView
from stages.evaluation.calibration import PROBABILITY_FLOOR
from stages.modeling.outputs import Outputs

IN_TABLES = 10**DECIMALS


class RunNetwork(NamedTuple):
    """One trained model of a case.

    Attributes:
        name: of the run; "" names an only one.
        network: from images (B, 1, S, S) in [0, 1] to logits; in eval mode.
        temperature: that its logits are divided by.
        thresholds: by operating point, on its probabilities before that temperature.
    """

    name: str
    network: nn.Module
    temperature: float
    thresholds: Sequence[float]


class CaseNetwork(nn.Module):
    """The models of a case, with what comes before and behind them.

    Args:
        to_view: of pictures; see `ToView`.
        runs: the models, of which the mean is given.
        outputs: what their logits mean.
        mirror: whether each says the mean of a picture and its mirror.
    """

    def __init__(
        self, to_view: ToView, runs: Sequence[RunNetwork], outputs: Outputs, *, mirror: bool
    ) -> None:
        super().__init__()
        self.to_view = to_view
        self.networks = nn.ModuleList(run.network for run in runs)
        self.temperatures = [run.temperature for run in runs]
        self.thresholds = [list(run.thresholds) for run in runs]
        self.outputs = outputs
        self.mirror = mirror

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What is said of pictures (B, H, W) uint8; see `judge`."""
        return self.judge(self.to_view(pictures))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What is said of images (B, 1, S, S) in [0, 1].

        Returns:
            (B, classes) probabilities, rows sum to 1, the mean over the models, each with its
            temperature; and (B, points), the share of the models whose own probability of the
            positive class, without temperature, reaches their own threshold.
        """
        said = [_as_in_tables(self._say(network, images)) for network in self.networks]
        calibrated = [
            _calibrate(probabilities, temperature)
            for probabilities, temperature in zip(said, self.temperatures, strict=True)
        ]
        calls = [
            _call(probabilities[:, self.outputs.positive], thresholds)
            for probabilities, thresholds in zip(said, self.thresholds, strict=True)
        ]
        return _mean(calibrated), _mean(calls)

    def _say(self, network: nn.Module, images: Tensor) -> Tensor:
        probabilities = self.outputs.probabilities(network(images))
        if not self.mirror:
            return probabilities
        return (probabilities + self.outputs.probabilities(network(images.flip(-1)))) / 2


def _as_in_tables(probabilities: Tensor) -> Tensor:
    """In float64, of so many decimals: what temperatures and thresholds were chosen on."""
    return (probabilities.double() * IN_TABLES).round() / IN_TABLES


def _calibrate(probabilities: Tensor, temperature: float) -> Tensor:
    """As `apply_temperature`, of which this is the tensor's version."""
    return (probabilities.clamp(min=PROBABILITY_FLOOR).log() / temperature).softmax(dim=1)


def _call(scores: Tensor, thresholds: Sequence[float]) -> Tensor:
    """(B, points) 1.0 where a probability (B,) reaches a threshold."""
    least = torch.tensor(list(thresholds), dtype=torch.float64)
    return (scores.unsqueeze(1) >= least).double()


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(dim=0).float()
