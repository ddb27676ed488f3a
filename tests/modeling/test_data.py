import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.modeling.data import (
    Batch,
    ImageRows,
    class_balancing_weights,
    class_counts,
    ordered_loader,
    to_unit_range,
    train_loader,
)


def numbered(count: int, rows: NDArray[np.int64] | None = None) -> ImageRows:
    """Images of 1 px whose grey value is their row, with class row % 2."""
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1)
    targets = np.arange(count, dtype=np.int64) % 2
    return ImageRows(images, targets, np.arange(count) if rows is None else rows)


def unequal(count: int) -> ImageRows:
    """Nine of ten images are of class 0."""
    targets = (np.arange(count) % 10 == 0).astype(np.int64)
    return ImageRows(np.zeros((count, 1, 1), np.uint8), targets, np.arange(count))


def of_classes(*sizes: int) -> ImageRows:
    """Images of 1 px numbered from 0, class after class of these sizes."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    images = np.arange(len(targets), dtype=np.uint8).reshape(-1, 1, 1)
    return ImageRows(images, targets, np.arange(len(targets)))


def numbers(batch: Batch) -> list[int]:
    return batch.images.flatten().tolist()


def test_rows_are_those_asked_for_with_their_own_targets() -> None:
    images = numbered(10, rows=np.array([7, 2, 4]))
    batch = images[[0, 2, 1]]
    assert len(images) == 3
    assert numbers(batch) == [7, 4, 2]
    assert batch.targets.tolist() == [1, 0, 0]
    assert batch.images.dtype == torch.uint8
    assert batch.targets.dtype == torch.int64


def test_ordered_loader_gives_every_image_once_in_order() -> None:
    batches = [numbers(batch) for batch in ordered_loader(numbered(7), batch_size=3)]
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]


def test_train_loader_gives_full_batches_of_different_images() -> None:
    batches = [
        numbers(batch) for batch in train_loader(numbered(11), batch_size=4, sampler="none", seed=0)
    ]
    assert [len(batch) for batch in batches] == [4, 4]
    assert len({number for batch in batches for number in batch}) == 8


def test_images_left_out_of_full_batches_are_others_each_epoch() -> None:
    loader = train_loader(numbered(11), batch_size=4, sampler="none", seed=0)
    left_out = [set(range(11)) - {n for batch in loader for n in numbers(batch)} for _ in range(20)]
    assert all(len(rest) == 3 for rest in left_out)
    assert set.union(*left_out) == set(range(11))


def test_fewer_images_than_a_batch_make_one_batch() -> None:
    loader = train_loader(numbered(3), batch_size=4, sampler="none", seed=0)
    assert [sorted(numbers(batch)) for batch in loader] == [[0, 1, 2]]


@pytest.mark.parametrize("sampler", ["none", "weighted"])
def test_same_seed_gives_the_same_order_and_another_seed_another(sampler: str) -> None:
    first, again, other = (
        [numbers(b) for b in train_loader(numbered(40), batch_size=8, sampler=sampler, seed=seed)]
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_weights_are_one_over_the_size_of_the_class() -> None:
    assert class_balancing_weights(np.array([0, 0, 2, 0, 0, 2])) == [
        0.25,
        0.25,
        0.5,
        0.25,
        0.25,
        0.5,
    ]


def test_weighted_sampler_draws_a_class_of_one_tenth_half_of_the_time() -> None:
    loader = train_loader(unequal(1000), batch_size=100, sampler="weighted", seed=0)
    drawn = sum(int(batch.targets.sum()) for batch in loader)
    assert abs(drawn - 500) < 80  # five standard deviations of 1000 draws of 1/2: 5 * 15.8


def test_weighted_sampler_draws_classes_evenly_and_the_images_of_a_class_evenly() -> None:
    sizes = (140, 40, 20)
    loader = train_loader(of_classes(*sizes), batch_size=20, sampler="weighted", seed=0)
    drawn = np.array([n for _ in range(30) for batch in loader for n in numbers(batch)])
    assert len(drawn) == 6000
    per_class = np.histogram(drawn, bins=np.cumsum((0, *sizes)))[0]
    # 6000 draws of 1/3: 2000, and five standard deviations of 36.5.
    assert (abs(per_class - 2000) < 183).all()
    per_image = np.bincount(drawn, minlength=200)
    expected = 2000 / np.repeat(sizes, sizes)
    assert (abs(per_image - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("batch_size", [4, 10])
def test_plain_sampler_draws_no_image_twice_in_an_epoch(batch_size: int) -> None:
    loader = train_loader(of_classes(35, 15), batch_size=batch_size, sampler="none", seed=0)
    for _ in range(5):
        drawn = [number for batch in loader for number in numbers(batch)]
        assert len(set(drawn)) == len(drawn) == 50 // batch_size * batch_size


def test_weighted_sampler_repeats_images_of_the_small_class_in_an_epoch() -> None:
    loader = train_loader(of_classes(45, 5), batch_size=10, sampler="weighted", seed=0)
    drawn = np.bincount([number for batch in loader for number in numbers(batch)], minlength=50)
    assert drawn.sum() == 50
    assert drawn[45:].max() > 1


def test_class_counts_are_in_class_order_and_name_empty_classes() -> None:
    assert class_counts(np.array([2, 0, 2, 2]), n_classes=4) == [1, 0, 3, 0]


def test_plain_sampler_leaves_classes_as_they_are() -> None:
    loader = train_loader(unequal(1000), batch_size=100, sampler="none", seed=0)
    assert sum(int(batch.targets.sum()) for batch in loader) == 100


def test_bytes_become_one_channel_between_zero_and_one() -> None:
    images = to_unit_range(torch.tensor([[[0, 51], [255, 102]]], dtype=torch.uint8))
    torch.testing.assert_close(images, torch.tensor([[[[0.0, 0.2], [1.0, 0.4]]]]))
