"""One function over many images: in this process, or in a pool of as many as there are cores."""

from collections.abc import Callable, Iterable, Iterator
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
