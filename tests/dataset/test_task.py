import pytest

from stages.config.errors import UserError
from stages.dataset.task import Task


def test_a_task_knows_the_name_of_its_positive_class() -> None:
    assert Task(("normal", "covid"), 1).positive_name == "covid"


@pytest.mark.parametrize(
    ("class_names", "positive", "message"),
    [
        (("a",), 0, r"class_names: got \['a'\]; name at least 2 classes"),
        (("a", "a"), 0, "names must differ"),
        (("a", "b"), 2, r"positive: got 2; choose the index of one of \['a', 'b'\], 0 to 1"),
        (("a", "b"), -1, "positive: got -1"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(
    class_names: tuple[str, ...], positive: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Task(class_names, positive)


def test_classes_may_be_called_as_figures_are() -> None:
    assert Task(("macro", "covid_low", "a_p_value"), 0).positive_name == "macro"
