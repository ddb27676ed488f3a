"""One training over several processes, each of which takes its share of every batch.

Every process draws whole batches, and all that is random about their images, from generators with
the same seeds; only the network sees no more than the share. What it says of all shares is put
together in every process before the loss is taken, so that each has the loss of the whole batch,
whatever that loss is and however uneven the shares are. Its own logits carry the gradient: those of
all processes, added up, are that of the whole batch. So as many processes as one likes take the
steps of one, to rounding; dropout and stochastic depth apart, which each process draws for itself.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from stages.config.errors import UserError
from stages.modeling.batch_norm import WholeBatchNorm
from stages.modeling.compute import Hardware
from stages.modeling.data import Batch
from stages.modeling.launch import FINDING_UNUSED, one_process

T = TypeVar("T")
MAX_SEED = 2**31  # of params.yaml
UNUSED = "Expected to have finished reduction"  # how DDP begins


class Team(NamedTuple):
    """The processes of a training, as one of them sees it; it may be the only one.

    Attributes:
        fabric: that knows the others.
    """

    fabric: Fabric

    @classmethod
    def of_one(cls, hardware: Hardware) -> Self:
        """No others."""
        return cls(one_process(hardware))

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.fabric.world_size

    @property
    def rank(self) -> int:
        """The number of this one, from 0."""
        return self.fabric.global_rank

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def own_seed(self, seed: int) -> int:
        """A seed for what each process draws for itself; the first one's is that of params.yaml."""
        return seed + MAX_SEED * self.rank

    def share(self, count: int, rank: int | None = None) -> slice:
        """Which of so many images are this process's, or another one's; sizes differ by 1."""
        rank = self.rank if rank is None else rank
        return slice(rank * count // self.size, (rank + 1) * count // self.size)

    def require_share(self, loader: DataLoader[Batch]) -> None:
        """Refuse batches of which a process would get no image.

        Raises:
            UserError: there are fewer training images than processes.
        """
        rows: Any = loader.dataset
        if len(rows) < self.size:
            raise UserError(
                f"devices: got {self.size} processes in all for {len(rows)} training images; "
                f"allowed: up to {len(rows)}"
            )

    def setup_loaders(
        self, train: DataLoader[Batch], val: DataLoader[Batch]
    ) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
        """Loaders whose batches lie on the device: whole ones, the same in every process."""
        loaders: Any = self.fabric.setup_dataloaders(train, val, use_distributed_sampler=False)
        return loaders[0], loaders[1]

    def apply(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """What a network makes of a batch, (B, ...), in every process of the whole of it.

        Each computes its share. Batch normalisation that trains does so by the whole batch.

        Args:
            network: gives a tensor of the same shape for each image.
            inputs: of the whole batch, (B, ...).

        Raises:
            UserError: a parameter that is to train was not used in the step before.
        """
        if self.size == 1:
            outputs: Tensor = network(inputs)
            return outputs
        share = self.share(len(inputs))
        count = share.stop - share.start
        # Who has no image (of a last batch of validation images) looks at the first for the shape.
        shown = inputs[share] if count else inputs[:1]
        with WholeBatchNorm(), _naming_strategy():
            own = network(shown)[:count]
        return self._put_together(own, len(inputs))

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss of the whole batch, added up over the processes."""
        # DDP averages.
        self.fabric.backward(loss * self.size if self.size > 1 else loss)

    def told_by_first(self, value: T) -> T:
        """What the first process has; all others wait for it."""
        return value if self.size == 1 else self.fabric.broadcast(value)

    def of_all(self, value: T) -> list[T]:
        """What each process has, by number."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def _put_together(self, own: Tensor, count: int) -> Tensor:
        """Rows of all processes in their order; this one's keep their gradient."""
        widest = math.ceil(count / self.size)
        padded = own.new_zeros((widest, *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded)
        parts[self.rank] = own
        shares = [self.share(count, rank) for rank in range(self.size)]
        return torch.cat([p[: s.stop - s.start] for p, s in zip(parts, shares, strict=True)])


@contextmanager
def _naming_strategy() -> Iterator[None]:
    """Say in a line what DDP takes a paragraph for."""
    try:
        yield
    except RuntimeError as error:
        if UNUSED not in str(error):
            raise
        raise UserError(
            "strategy: got auto, which waits for a gradient of everything that is to train, but "
            f"the network does not use all of it in every step; give strategy: {FINDING_UNUSED}"
        ) from None
