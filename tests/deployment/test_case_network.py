import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.dataset.task import Task
from stages.deployment.case_network import CaseNetwork, RunNetwork
from stages.deployment.resampling import ToView
from stages.evaluation.calibration import apply_temperature
from stages.evaluation.operating_points import NEVER, apply_threshold
from stages.evaluation.scored import Scored
from stages.modeling.outputs import Outputs

NAMES = ("normal", "pneumonia", "covid")
SIZE = 4
AS_IT_IS = ToView(prepared_px=None, crop_fraction=None, size_px=SIZE, fit="stretch")
PICTURES = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE), dtype=np.uint8)


class LeftLogits(nn.Module):
    """Logits that are multiples of the mean of the left half."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = torch.tensor(factors)

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : SIZE // 2].mean(dim=(1, 2, 3))[:, None] * self.factors


def outputs_of(*, one_logit: bool = False, implies: bool = False) -> Outputs:
    names = NAMES[::2] if one_logit else NAMES
    positive = len(names) - 1
    return Outputs(names, positive, one_logit, {"covid": ["pneumonia"]} if implies else {})


def run_of(network: nn.Module, temperature: float = 1.0, *thresholds: float) -> RunNetwork:
    return RunNetwork("", network, temperature, thresholds or (0.5,))


def say(
    outputs: Outputs, *runs: RunNetwork, mirror: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with torch.inference_mode():
        case = CaseNetwork(AS_IT_IS, runs, outputs, mirror=mirror)
        probabilities, calls = case(torch.from_numpy(PICTURES))
    return probabilities.numpy(), calls.numpy()


def logits_of(network: nn.Module, pictures: NDArray[np.uint8]) -> Tensor:
    found: Tensor = network(torch.from_numpy(pictures.copy()).float()[:, None] / 255)
    return found


@pytest.mark.parametrize(
    ("outputs", "network"),
    [
        (outputs_of(), LeftLogits(3, -8, 5)),
        (outputs_of(one_logit=True), LeftLogits(-4)),
        (outputs_of(implies=True), LeftLogits(3, -8, 5)),
        (outputs_of(), LeftLogits(300, -800, 5)),  # probabilities below the floor
    ],
    ids=["classes", "one logit", "labels", "sure"],
)
@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.5, 10.0])
def test_probabilities_are_those_of_evaluate_with_the_temperature(
    outputs: Outputs, network: nn.Module, temperature: float
) -> None:
    probabilities, _ = say(outputs, run_of(network, temperature))
    plain = outputs.probabilities(logits_of(network, PICTURES)).double().numpy().round(6)
    np.testing.assert_allclose(probabilities, apply_temperature(plain, temperature), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_mirror_is_averaged_before_the_temperature() -> None:
    outputs, network = outputs_of(), LeftLogits(3, -8, 5)
    probabilities, _ = say(outputs, run_of(network, 2.5), mirror=True)
    both = [
        outputs.probabilities(logits_of(network, pictures)).double().numpy()
        for pictures in (PICTURES, PICTURES[:, :, ::-1])
    ]
    expected = apply_temperature(np.mean(both, axis=0).round(6), 2.5)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert not np.allclose(probabilities, apply_temperature(both[0], 2.5), atol=1e-3)


def test_models_are_averaged_each_with_its_own_temperature_and_threshold() -> None:
    outputs = outputs_of()
    runs = [run_of(LeftLogits(3, -8, 5), 2.5, 0.7), run_of(LeftLogits(1, 2, 0.5), 0.5, 0.1)]
    probabilities, calls = say(outputs, *runs)
    alone = [say(outputs, run) for run in runs]
    np.testing.assert_allclose(probabilities, np.mean([one[0] for one in alone], axis=0), atol=1e-6)
    np.testing.assert_array_equal(calls, np.mean([one[1] for one in alone], axis=0))
    assert set(np.unique(calls)) <= {0.0, 0.5, 1.0}


def test_a_picture_is_called_as_evaluate_calls_a_row_of_the_table() -> None:
    outputs, network = outputs_of(), LeftLogits(3, -8, 5)
    plain = outputs.probabilities(logits_of(network, PICTURES)).double().numpy().round(6)
    # Each probability that occurs is a threshold that its own picture just reaches.
    thresholds = [*plain[:, 2].tolist(), 0.0, NEVER]
    _, calls = say(outputs, run_of(network, 3.0, *thresholds))
    scored = Scored(np.zeros(6, np.int64), plain, plain.argmax(axis=1), np.arange(6))
    expected = [
        apply_threshold(scored, threshold, Task(NAMES, 2)).is_called for threshold in thresholds
    ]
    np.testing.assert_array_equal(calls.T, expected)
    assert calls[:, -2].all()
    assert not calls[:, -1].any()
