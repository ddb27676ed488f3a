"""One function over many images: in this process, or in a pool of as many as there are cores."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

Found = TypeVar("Found")


def map_images(
    function: Callable[..., Found], arguments: Iterable[tuple[Any, ...]], *, use_pool: bool
) -> Iterator[Found]:
    """Results one by one, in the order of the images; few are held at once.

    BLAS gets one thread: its products are of one image, on which more would wait for each other.

    Args:
        function: of one image; for a pool, one that can be pickled.
        arguments: those of each call.
        use_pool: whether other processes are worth their start.
    """
    jobs = (delayed(function)(*given) for given in arguments)
    with threadpool_limits(limits=1, user_api="blas"):
        yield from Parallel(n_jobs=-1 if use_pool else 1, return_as="generator")(jobs)


@contextmanager
def open_pool(
    function: Callable[..., Found], *, use_pool: bool
) -> Iterator[Callable[[Iterable[tuple[Any, ...]]], list[Found]]]:
    """Give what maps one batch of images after the other, as `map_images` does those of a stage.

    Between two batches nothing is computed ahead, so that memory holds the results of one, however
    slowly they are taken.
    """
    with Parallel(n_jobs=-1 if use_pool else 1) as parallel:

        def map_batch(arguments: Iterable[tuple[Any, ...]]) -> list[Found]:
            with threadpool_limits(limits=1, user_api="blas"):
                found: list[Found] = parallel(delayed(function)(*given) for given in arguments)
            return found

        yield map_batch
