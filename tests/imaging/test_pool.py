import os
from operator import sub

import pytest
from threadpoolctl import threadpool_info

from stages.imaging.pool import map_images


def blas_threads(_: int) -> list[int]:
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def own_process(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("use_pool", [False, True])
def test_results_come_in_the_order_of_the_images(use_pool: bool) -> None:
    pairs = [(10 * number, number) for number in range(20)]
    assert list(map_images(sub, pairs, use_pool=use_pool)) == [9 * n for n in range(20)]


def test_without_a_pool_no_other_process_is_started() -> None:
    assert set(map_images(own_process, [(1,), (2,)], use_pool=False)) == {os.getpid()}


def test_blas_has_one_thread_while_images_are_worked_on_and_its_own_number_afterwards() -> None:
    before = blas_threads(0)
    (during,) = map_images(blas_threads, [(0,)], use_pool=False)
    assert set(during) == {1}
    assert blas_threads(0) == before
