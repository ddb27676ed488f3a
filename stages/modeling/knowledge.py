"""What weights know: how far they got in the task that they were learned on, against chance."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from stages.modeling.fit import FitResult


class Knowledge(NamedTuple):
    """Accuracy on images of the own task that the weights were not learned from.

    The images that the epoch was chosen by: of one epoch of many the figure is optimistic.

    Attributes:
        task: in words.
        n: number of images.
        accuracy: share decided rightly.
        low: lower end of its exact 95 % interval (Clopper and Pearson 1934).
        high: upper end.
        chance: accuracy of whoever always says the most frequent class.
    """

    task: str
    n: int
    accuracy: float
    low: float
    high: float
    chance: float

    @classmethod
    def of_fit(cls, task: str, result: FitResult, class_counts: Sequence[int]) -> Self:
        """Of the epoch kept, from the accuracy on so many validation images of each class."""
        kept = result.epochs.query("epoch == @result.kept_epoch and split == 'val'")
        return cls.of_accuracy(task, float(kept["accuracy"].item()), class_counts)

    @classmethod
    def of_accuracy(cls, task: str, accuracy: float, class_counts: Sequence[int]) -> Self:
        """With the interval that so many images give."""
        from scipy.special import betaincinv  # SciPy, after the training: nothing waits for it

        n = sum(class_counts)
        n_correct = round(accuracy * n)
        low = betaincinv(n_correct, n - n_correct + 1, 0.025) if n_correct else 0.0
        high = betaincinv(n_correct + 1, n - n_correct, 0.975) if n_correct < n else 1.0
        shares = (n_correct / n, low, high, max(class_counts) / n)
        return cls(task, n, *(round(float(share), 6) for share in shares))

    def to_json(self) -> dict[str, Any]:
        """As meta.json has it, with what follows: whether this is better than chance."""
        return {**self._asdict(), "better_than_chance": self.low > self.chance}
