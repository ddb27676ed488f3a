import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.config.params import CrossEntropy
from stages.modeling import features
from stages.modeling.boundary import split_at_boundary
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware
from stages.modeling.data import Batch, ImageRows, Rows, ordered_loader, train_loader
from stages.modeling.distributed import Team
from stages.modeling.features import FeatureRows, compute_features
from stages.modeling.fit import Lesson, fit
from stages.modeling.freeze import freeze
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from tests.modeling.recipes import recipe_with

SIDE, COUNT = 64, 20
FP32, BF16 = Hardware("cpu", "fp32"), Hardware("cpu", "bf16")
ALONE = Team.of_one(FP32)
OUTPUTS = Outputs(("a", "b"), positive=0, one_logit=False, implies={})


def as_it_is(values: Tensor) -> Tensor:
    return values


class Brighter:
    """An augmentation: each call adds more light."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, images: Tensor) -> Tensor:
        self._calls += 1
        return images + 0.1 * (self._calls - 1)


class Pictures(Rows):
    """Float images in all their views, as activations are."""

    def __init__(self, images: Tensor, targets: np.ndarray) -> None:
        super().__init__(targets)
        self._images = images

    def __getitem__(self, positions: list[int]) -> Batch:
        rows = [position % len(self) for position in positions]
        return Batch(self._images[positions], torch.from_numpy(self.targets[rows]))


def rows() -> ImageRows:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
    targets = np.arange(COUNT, dtype=np.int64) % 2
    return ImageRows(images, targets, np.arange(COUNT))


def views_of(images: ImageRows, views: int) -> Tensor:
    """The views that `Brighter` gives of images that are one batch."""
    plain = images[list(range(COUNT))].images[:, None].float() / 255
    return torch.cat([plain + 0.1 * view for view in range(views)])


def network(level: str) -> Classifier:
    torch.manual_seed(0)
    classifier = build_classifier(
        "resnet10t", size=SIDE, head=[8], outputs=2, dropout=0.2, mean=0.4, std=0.2
    )
    freeze(classifier, level)
    return classifier


def fitted(part: nn.Module, shown: Rows, val: Rows, *, views: int) -> None:
    lesson = Lesson(
        part,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, [10, 10]),
        as_it_is,
        as_it_is,
        train_loader(shown, batch_size=4, sampler="weighted", seed=1, views=views),
        ordered_loader(val, batch_size=COUNT),
        {},
    )
    recipe = recipe_with(optimizer="sgd", lr=1e-2, epochs=3, patience=3, keep="last")
    fit(lesson, recipe, seed=1, hardware=FP32)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("level", ["head", "last:1"])
def test_training_on_kept_activations_is_training_on_the_same_views(
    level: str, views: int, tmp_path: Path
) -> None:
    cached, whole, images = network(level), network(level), rows()
    start = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    halves = split_at_boundary(cached)
    train, val = (
        compute_features(
            halves.frozen,
            images,
            augment=augment,
            views=count,
            hardware=FP32,
            scratch=tmp_path,
            team=ALONE,
        )
        for augment, count in ((Brighter(), views), (as_it_is, 1))
    )
    fitted(halves.trained, train, val, views=views)
    pictures = views_of(images, views)
    fitted(
        whole,
        Pictures(pictures, images.targets),
        Pictures(pictures[:COUNT], images.targets),
        views=views,
    )
    learned = whole.state_dict()
    for name, tensor in cached.state_dict().items():
        torch.testing.assert_close(tensor, learned[name], rtol=1e-3, atol=1e-5, msg=name)
    moved = [name for name in start if not torch.equal(start[name], learned[name])]
    assert len(moved) >= 4


def test_each_view_of_each_image_has_its_own_place(tmp_path: Path) -> None:
    kept = compute_features(
        nn.Identity(),
        rows(),
        augment=Brighter(),
        views=3,
        hardware=FP32,
        scratch=tmp_path,
        team=ALONE,
    )
    images = views_of(rows(), 3)
    positions = [0, 2 * COUNT + 7, COUNT + 19]
    batch = kept[positions]
    assert torch.equal(batch.images, images[positions])
    assert batch.targets.tolist() == [0, 1, 1]


@pytest.mark.parametrize("hardware", [FP32, BF16])
def test_activations_keep_type_and_shape_in_which_they_were_computed(
    hardware: Hardware, tmp_path: Path
) -> None:
    frozen = nn.Conv2d(1, 6, 3, stride=2)
    kept = compute_features(
        frozen, rows(), augment=as_it_is, views=1, hardware=hardware, scratch=tmp_path, team=ALONE
    )
    read = kept[[3, 1]].images
    with torch.inference_mode(), hardware.autocast():
        wanted = frozen(views_of(rows(), 1))[[3, 1]]
    assert read.dtype == wanted.dtype
    torch.testing.assert_close(read, wanted)
    assert read.is_contiguous(memory_format=torch.channels_last)


def test_views_are_drawn_evenly_and_every_image_once(tmp_path: Path) -> None:
    kept = compute_features(
        nn.Flatten(), rows(), augment=as_it_is, views=2, hardware=FP32, scratch=tmp_path, team=ALONE
    )
    loader = train_loader(kept, batch_size=5, sampler="none", seed=0, views=2)
    assert loader.batch_sampler is None  # the sampler gives the batches
    drawn = [list(chain.from_iterable(loader.sampler)) for _ in range(50)]
    assert all(sorted(p % COUNT for p in epoch) == list(range(COUNT)) for epoch in drawn)
    second = sum(position >= COUNT for epoch in drawn for position in epoch)
    assert second == pytest.approx(500, abs=65)  # four standard deviations


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    kept = compute_features(
        nn.Flatten(),
        rows(),
        augment=as_it_is,
        views=1,
        hardware=FP32,
        scratch=tmp_path / "new",
        team=ALONE,
    )
    assert isinstance(kept, FeatureRows)
    assert os.listdir(tmp_path / "new") == []


def test_more_than_half_of_the_free_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 2 * COUNT * SIDE * SIDE * 4
    usage = type("Usage", (), {"free": 2 * taken - 1})
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"cache_views: 40 views take .* allowed: 50%"):
        compute_features(
            nn.Flatten(),
            rows(),
            augment=as_it_is,
            views=2,
            hardware=FP32,
            scratch=tmp_path,
            team=ALONE,
        )
