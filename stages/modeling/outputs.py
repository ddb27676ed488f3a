"""What logits mean: classes, the labels that each class carries, probabilities, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stages.config.errors import UserError


@dataclass(frozen=True)
class Outputs:
    """The logits of a case: one per class, one per label, or one for two classes.

    Attributes:
        class_names: order of the classes everywhere.
        positive: index of the positive class.
        one_logit: one logit, that of the positive class of two (BCE), instead of one per class.
        implies: class -> classes whose label its images carry too, as listed: what an implied
            class implies is not added. Empty where each image has one label.

    Raises:
        ValueError: one logit together with labels that imply others.
        UserError: two classes that carry the same labels.
    """

    class_names: tuple[str, ...]
    positive: int
    one_logit: bool
    implies: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        if not self.implies:
            return
        if self.one_logit:
            raise ValueError(f"one logit cannot stand for several labels; got {self.implies}")
        if len(self.patterns.unique(dim=0)) < len(self.class_names):
            raise UserError(
                f"implies: got {dict(self.implies)}, by which two classes carry the same labels; "
                "allowed: labels that tell every class from the others"
            )

    @classmethod
    def of_case(
        cls,
        loss: str,
        class_names: Sequence[str],
        positive: int,
        implies: Mapping[str, Sequence[str]],
    ) -> Self:
        """What the logits of a case mean: BCE of two classes has one logit for both.

        Args:
            loss: the kind of loss of the case.
            class_names: of its data set.
            positive: index of the positive class.
            implies: of the data set.
        """
        return cls(tuple(class_names), positive, loss == "bce" and not implies, implies)

    @property
    def count(self) -> int:
        """Number of logits."""
        return 1 if self.one_logit else len(self.class_names)

    @property
    def patterns(self) -> Tensor:
        """(classes, count) of 0.0 and 1.0: the labels that an image of each class carries.

        The identity for one label per class; with one logit, 1 for the positive class only.
        """
        size, index = len(self.class_names), self.class_names.index
        labels = torch.eye(size)
        for name, implied in self.implies.items():
            labels[index(name), [index(other) for other in implied]] = 1
        return labels[:, self.positive, None] if self.one_logit else labels

    def label_targets(self, targets: Tensor) -> Tensor:
        """(B, count) of 0.0 and 1.0: the labels of class indices (B,), for sigmoid losses."""
        return self.patterns.to(targets.device)[targets]

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, classes) in class order, rows sum to 1, of logits (B, count).

        Labels with logits z that are independent and known to form one of the rows p of
        `patterns` form row p with a probability proportional to
        prod_k s(z_k)^p_k (1 - s(z_k))^(1 - p_k), s the sigmoid. Over what no row changes,
        prod_k (1 - s(z_k)), that is exp(sum_k p_k z_k): a softmax of the sums of logits. Of one
        logit per class it is the softmax, of one logit the sigmoid.
        """
        # No matrix product: it would round logits to bf16 under autocast.
        return (logits[:, None] * self.patterns.to(logits)).sum(dim=2).softmax(dim=1)

    def class_score(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(B,) evidence for the class named per image: what a class activation map explains.

        The logit of the class or, where classes imply others, of its own label. With one logit,
        evidence against the positive class is evidence for the other.
        """
        if not self.one_logit:
            return logits.gather(1, classes[:, None])[:, 0]
        return torch.where(classes == self.positive, logits[:, 0], -logits[:, 0])
