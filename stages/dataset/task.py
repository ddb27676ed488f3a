"""What is to be told apart."""

from dataclasses import dataclass

from stages.config.errors import UserError


@dataclass(frozen=True)
class Task:
    """Classes, in the order of the columns of every array of probabilities.

    Attributes:
        class_names: K distinct names, K at least 2.
        positive: index of the positive class.

    Raises:
        UserError: fewer than two classes, a name twice, or no such positive class.
    """

    class_names: tuple[str, ...]
    positive: int

    def __post_init__(self) -> None:
        names = list(self.class_names)
        if len(names) < 2:
            raise UserError(f"class_names: got {names}; name at least 2 classes")
        if len(set(names)) < len(names):
            raise UserError(f"class_names: got {names}; names must differ: rename a class")
        if not 0 <= self.positive < len(names):
            raise UserError(
                f"positive: got {self.positive}; choose the index of one of {names}, "
                f"0 to {len(names) - 1}"
            )

    @property
    def positive_name(self) -> str:
        """Name of the positive class."""
        return self.class_names[self.positive]
