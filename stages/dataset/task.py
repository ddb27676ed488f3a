"""What is to be told apart."""

from typing import NamedTuple


class Task(NamedTuple):
    """Classes, in the order of the columns of every array of probabilities.

    Attributes:
        class_names: K distinct names, K at least 2.
        positive: index of the positive class.
    """

    class_names: tuple[str, ...]
    positive: int

    @property
    def positive_name(self) -> str:
        """Name of the positive class."""
        return self.class_names[self.positive]
