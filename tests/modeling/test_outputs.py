import pytest
import torch

from stages.modeling.outputs import Outputs

NAMES = ("covid", "normal")


def test_probabilities_of_three_classes_are_the_softmax() -> None:
    # exp(0, log 2, log 5) = 1, 2, 5; sum 8.
    logits = torch.tensor([[0.0, 2.0, 5.0]]).clamp(min=1).log()
    outputs = Outputs(("a", "b", "c"), positive=0, one_logit=False)
    torch.testing.assert_close(outputs.probabilities(logits), torch.tensor([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize(
    ("positive", "expected"), [(0, [[0.75, 0.25]]), (1, [[0.25, 0.75]])], ids=["first", "last"]
)
def test_probabilities_of_one_logit_stand_in_the_order_of_the_classes(
    positive: int, expected: list[list[float]]
) -> None:
    logits = torch.tensor([[3.0]]).log()  # odds 3 : 1 for the positive class
    probabilities = Outputs(NAMES, positive, one_logit=True).probabilities(logits)
    torch.testing.assert_close(probabilities, torch.tensor(expected))


@pytest.mark.parametrize("one_logit", [True, False])
def test_rows_of_probabilities_sum_to_one_even_when_certain(one_logit: bool) -> None:
    outputs = Outputs(NAMES, positive=1, one_logit=one_logit)
    logits = torch.tensor([[0.0, 1.0], [-200.0, 200.0], [200.0, -200.0], [3.0, -1.0]])
    probabilities = outputs.probabilities(logits[:, : outputs.count])
    assert probabilities.shape == (4, 2)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


def test_number_of_logits_is_one_or_that_of_the_classes() -> None:
    assert Outputs(NAMES, 0, one_logit=True).count == 1
    assert Outputs(("a", "b", "c"), 0, one_logit=False).count == 3


def test_score_of_a_class_is_its_logit() -> None:
    outputs = Outputs(NAMES, positive=0, one_logit=False)
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert outputs.class_score(logits, torch.tensor([1, 0])).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("positive", [0, 1])
def test_score_with_one_logit_changes_sign_for_the_other_class(positive: int) -> None:
    outputs = Outputs(NAMES, positive, one_logit=True)
    scores = outputs.class_score(
        torch.tensor([[2.0], [2.0]]), torch.tensor([positive, 1 - positive])
    )
    assert scores.tolist() == [2.0, -2.0]
