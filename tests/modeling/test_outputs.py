import json

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stages.config.errors import UserError
from stages.modeling.outputs import Outputs

NAMES = ("covid", "normal")
THREE = ("covid", "pneumonia", "normal")


def one_label(names: tuple[str, ...] = NAMES) -> Outputs:
    return Outputs(names, positive=0, one_logit=False, implies={})


def one_logit(positive: int) -> Outputs:
    return Outputs(NAMES, positive, one_logit=True, implies={})


def covid_is_pneumonia() -> Outputs:
    return Outputs(THREE, positive=0, one_logit=False, implies={"covid": ["pneumonia"]})


def log_probability_of_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) of independent labels (L,) given logits (B, L)."""
    of_each = torch.where(
        labels == 1, functional.logsigmoid(logits), functional.logsigmoid(-logits)
    )
    return of_each.sum(dim=1)


def test_probabilities_of_three_classes_are_the_softmax() -> None:
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log()  # sum 8
    torch.testing.assert_close(
        one_label(THREE).probabilities(logits), torch.tensor([[0.125, 0.25, 0.625]])
    )


@pytest.mark.parametrize(
    ("positive", "expected"), [(0, [[0.75, 0.25]]), (1, [[0.25, 0.75]])], ids=["first", "last"]
)
def test_probabilities_of_one_logit_stand_in_the_order_of_the_classes(
    positive: int, expected: list[list[float]]
) -> None:
    logits = torch.tensor([[3.0]]).log()  # odds 3 : 1 for the positive class
    probabilities = one_logit(positive).probabilities(logits)
    torch.testing.assert_close(probabilities, torch.tensor(expected))


def test_logit_of_an_implied_label_counts_for_both_classes_that_carry_it() -> None:
    # covid carries log 2 + log 3 = log 6, pneumonia log 3, normal log 5; 6 + 3 + 5 = 14.
    logits = torch.tensor([[2.0, 3.0, 5.0]]).log()
    torch.testing.assert_close(
        covid_is_pneumonia().probabilities(logits), torch.tensor([[6.0, 3.0, 5.0]]) / 14
    )


def test_probabilities_of_labels_are_the_posterior_over_the_rows_that_can_be() -> None:
    implies = {"a": ["b", "d"], "b": ["d"]}
    outputs = Outputs(tuple("abcd"), positive=0, one_logit=False, implies=implies)
    logits = 3 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    joint = torch.stack([log_probability_of_labels(logits, row).exp() for row in rows], dim=1)
    expected = joint / joint.sum(dim=1, keepdim=True)
    torch.testing.assert_close(outputs.probabilities(logits), expected)


@pytest.mark.parametrize(
    "outputs",
    [one_label(THREE), one_logit(1), covid_is_pneumonia()],
    ids=["one label", "one logit", "labels"],
)
def test_rows_of_probabilities_sum_to_one_even_when_certain(outputs: Outputs) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [-200.0, 200.0, 0.0], [200.0, -200.0, 200.0]])
    probabilities = outputs.probabilities(logits[:, : outputs.count])
    assert probabilities.shape == (3, len(outputs.class_names))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))


def test_number_of_logits_is_one_or_that_of_the_classes() -> None:
    assert one_logit(0).count == 1
    assert one_label(THREE).count == 3
    assert covid_is_pneumonia().count == 3


def test_patterns_mark_the_own_label_and_those_implied() -> None:
    assert covid_is_pneumonia().patterns.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert one_label(THREE).patterns.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert one_logit(1).patterns.tolist() == [[0], [1]]


def test_label_targets_are_the_labels_that_each_image_carries() -> None:
    targets = torch.tensor([2, 0, 1, 0])
    labels = covid_is_pneumonia().label_targets(targets)
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("positive", [0, 1])
def test_label_of_one_logit_is_the_positive_class(positive: int) -> None:
    labels = one_logit(positive).label_targets(torch.tensor([positive, 1 - positive]))
    assert labels.tolist() == [[1], [0]]


def test_score_of_a_class_is_its_logit() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert one_label().class_score(logits, torch.tensor([1, 0])).tolist() == [2.0, 3.0]


def test_score_of_a_class_that_implies_another_is_its_own_logit_alone() -> None:
    scores = covid_is_pneumonia().class_score(torch.tensor([[1.0, 20.0, 3.0]]), torch.tensor([0]))
    assert scores.tolist() == [1.0]


@pytest.mark.parametrize("positive", [0, 1])
def test_score_with_one_logit_changes_sign_for_the_other_class(positive: int) -> None:
    scores = one_logit(positive).class_score(
        torch.tensor([[2.0], [2.0]]), torch.tensor([positive, 1 - positive])
    )
    assert scores.tolist() == [2.0, -2.0]


def test_outputs_rebuilt_from_json_are_equal() -> None:
    outputs = covid_is_pneumonia()
    fields = json.loads(json.dumps(vars(outputs)))
    rebuilt = Outputs(
        tuple(fields["class_names"]), fields["positive"], fields["one_logit"], fields["implies"]
    )
    assert rebuilt == outputs
    assert rebuilt != one_label(THREE)


def test_one_logit_for_several_labels_is_an_error() -> None:
    with pytest.raises(ValueError, match="one logit cannot stand for several labels"):
        Outputs(THREE, positive=0, one_logit=True, implies={"covid": ["pneumonia"]})


def test_classes_that_imply_each_other_are_an_error() -> None:
    implies = {"covid": ["pneumonia"], "pneumonia": ["covid"]}
    with pytest.raises(UserError, match=r"'covid': .* two classes carry the same labels"):
        Outputs(THREE, positive=0, one_logit=False, implies=implies)
