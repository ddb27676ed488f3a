"""What logits mean: classes, probabilities, decisions, and the score of a class."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """The logits of a case.

    Attributes:
        class_names: order of the classes everywhere.
        positive: index of the positive class.
        one_logit: one logit, that of the positive class of two (BCE), instead of one per class.
    """

    class_names: tuple[str, ...]
    positive: int
    one_logit: bool

    @property
    def count(self) -> int:
        """Number of logits."""
        return 1 if self.one_logit else len(self.class_names)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, classes) in class order, rows sum to 1, of logits (B, count)."""
        if not self.one_logit:
            return logits.softmax(dim=1)
        of_positive = logits[:, 0].sigmoid()
        pair = (
            (1 - of_positive, of_positive) if self.positive == 1 else (of_positive, 1 - of_positive)
        )
        return torch.stack(pair, dim=1)

    def class_score(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(B,) evidence for the class named per image: what a class activation map explains.

        With one logit, evidence against the positive class is evidence for the other.
        """
        if not self.one_logit:
            return logits.gather(1, classes[:, None])[:, 0]
        return torch.where(classes == self.positive, logits[:, 0], -logits[:, 0])
