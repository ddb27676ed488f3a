import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.metrics.road import (
    ROADLeastRelevantFirstAverage,
    ROADMostRelevantFirstAverage,
)
from torch import Tensor, nn

from stages.explain.methods import Asked
from stages.explain.sanity import REMOVED_PERCENT, Judge, compute_road, randomise
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.outputs import Outputs

SIDE = 16
META = {
    "model": "test_resnet",
    "size": 64,
    "head": [],
    "dropout": 0.0,
    "mean": 0.5,
    "std": 0.25,
    "class_names": ["dark", "bright"],
    "positive": 1,
    "one_logit": False,
    "implies": {},
}
OUTPUTS = Outputs(("dark", "bright"), positive=1, one_logit=False, implies={})


class LooksAtCorner(nn.Module):
    """Reads the mean of the upper left quarter, and nothing else."""

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : SIDE // 2, : SIDE // 2].mean(dim=(2, 3))


def corner_classifier() -> Classifier:
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-10.0], [10.0]]))
        head.bias.copy_(torch.tensor([4.0, -4.0]))
    return Classifier(LooksAtCorner(), head, mean=0.0, std=1.0).eval()


def bright_blob(count: int = 2) -> Tensor:
    """Images that are dark but for a small bright square inside the corner that is looked at."""
    images = torch.full((count, 1, SIDE, SIDE), 0.1)
    images[..., 1:6, 1:6] = 0.9
    return images


def map_of(rows: slice, columns: slice, count: int = 2) -> NDArray[np.float32]:
    maps = np.zeros((count, SIDE, SIDE), np.float32)
    maps[:, rows, columns] = 1
    return maps


def road(maps: NDArray[np.float32], seed: int = 0) -> dict[str, NDArray[np.float64]]:
    ones = torch.ones(len(maps), dtype=torch.int64)
    asked = Asked(bright_blob(len(maps)), ones)
    return compute_road(Judge(corner_classifier(), OUTPUTS, "fp32"), asked, maps, seed=seed)


def test_removing_what_a_right_map_marks_costs_more_than_removing_the_rest() -> None:
    found = road(map_of(slice(1, 6), slice(1, 6)))
    assert (found["most_relevant_first"] < found["least_relevant_first"] - 0.2).all()


def test_a_map_of_another_place_is_told_from_a_right_one() -> None:
    right, wrong = (
        road(map_of(slice(1, 6), slice(1, 6))),
        road(map_of(slice(10, 15), slice(10, 15))),
    )
    assert (right["most_relevant_first"] < wrong["most_relevant_first"]).all()
    assert (right["least_relevant_first"] > wrong["least_relevant_first"]).all()


def test_map_that_is_zero_almost_everywhere_gives_numbers() -> None:
    # At a percentile of zero the library alone would remove every pixel and divide by none.
    for changes in road(map_of(slice(1, 2), slice(1, 2))).values():
        assert np.isfinite(changes).all()
        assert (np.abs(changes) <= 1).all()


def test_road_is_the_same_for_the_same_seed() -> None:
    maps = map_of(slice(1, 6), slice(1, 6))
    first, again, other = (road(maps, seed=seed) for seed in (0, 0, 1))
    for name, changes in first.items():
        np.testing.assert_array_equal(changes, again[name])
        assert (changes != other[name]).any()


def test_road_leaves_the_generator_of_torch_alone() -> None:
    judge = Judge(corner_classifier(), OUTPUTS, "fp32")
    asked = Asked(bright_blob(), torch.ones(2, dtype=torch.int64))
    before = torch.random.get_rng_state()
    compute_road(judge, asked, map_of(slice(1, 6), slice(1, 6)), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_road_is_that_of_the_library() -> None:
    rng = np.random.default_rng(3)
    images = torch.from_numpy(rng.random((3, 1, SIDE, SIDE), np.float32))
    maps = rng.permuted(np.linspace(0, 1, 3 * SIDE**2, dtype=np.float32)).reshape(3, SIDE, SIDE)
    wanted = [1, 0, 1]
    targets = [lambda logits, k=k: logits.softmax(dim=0)[k] for k in wanted]
    judge = Judge(corner_classifier(), OUTPUTS, "fp32")
    found = compute_road(judge, Asked(images, torch.tensor(wanted)), maps, seed=7)
    for name, library in {
        "most_relevant_first": ROADMostRelevantFirstAverage,
        "least_relevant_first": ROADLeastRelevantFirstAverage,
    }.items():
        torch.manual_seed(7)
        ranks = np.argsort(np.argsort(maps.reshape(3, -1))).reshape(maps.shape) / (SIDE**2 - 1)
        expected = library(REMOVED_PERCENT)(
            images, ranks.astype(np.float32), targets, judge.classifier
        )
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_probabilities_in_bf16_are_those_in_fp32_to_its_rounding() -> None:
    images, ones = bright_blob(), torch.ones(2, dtype=torch.int64)
    exact, rounded = (
        Judge(corner_classifier(), OUTPUTS, precision).probabilities(images, ones)
        for precision in ("fp32", "bf16")
    )
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert (rounded != exact).any()


def trained_classifier() -> Classifier:
    torch.manual_seed(5)
    return build_classifier(
        "test_resnet", size=64, head=[], outputs=2, dropout=0.0, mean=0.5, std=0.25
    ).eval()


def parameters_of(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def are_equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_random_head_stands_on_the_trained_backbone_and_all_is_new_otherwise() -> None:
    trained = trained_classifier()
    networks = randomise(trained, META, seed=0)
    assert list(networks) == ["head", "all"]
    assert networks["head"].backbone is trained.backbone
    for network in networks.values():
        assert not are_equal(parameters_of(network.head), parameters_of(trained.head))
    new, old = (dict(n.backbone.named_parameters()) for n in (networks["all"], trained))
    convolutions = [name for name, parameter in old.items() if parameter.ndim == 4]
    assert convolutions
    assert not any(torch.equal(new[name], old[name]) for name in convolutions)


def test_the_trained_network_keeps_its_weights_and_the_generator_its_state() -> None:
    trained = trained_classifier()
    before = parameters_of(trained)
    torch.manual_seed(1)
    randomise(trained, META, seed=0)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert are_equal(before, parameters_of(trained))


@pytest.mark.parametrize("part", ["head", "all"])
def test_random_weights_are_those_of_the_seed(part: str) -> None:
    weights = [
        parameters_of(randomise(trained_classifier(), META, seed=seed)[part].head)
        for seed in (0, 0, 1)
    ]
    assert are_equal(weights[0], weights[1])
    assert not are_equal(weights[0], weights[2])
