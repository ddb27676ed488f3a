from typing import Any

import pytest

from stages.reporting.differences import describe_differences

FOCAL = {"kind": "focal", "gamma": 2.0, "alpha": None}
CE = {"kind": "ce", "label_smoothing": 0.1}
LUNGS = {"kind": "lungs", "margin": 0.05, "fallback_fraction": 0.8}


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"model": ["vgg16", "resnet18"]}, "Model: a is vgg16, b is resnet18."),
        (
            {"view": ["near", "far"], "view.crop": [LUNGS, {"kind": "none"}]},
            "Crop: a sees the lungs (margin 0.05, fallback fraction 0.8) (near), "
            "b sees the whole picture (far).",
        ),
        ({"view": ["near", "far"]}, "View: a sees near, b sees far."),
        (
            {"weights": ["ct-big", "random"]},
            "Transfer: a starts from the weights ct-big, b from random.",
        ),
        ({"train": ["head", "all"]}, "Freezing: a trains only the head, b trains every layer."),
        (
            {"train": ["last:2", "all"]},
            "Freezing: a trains the head and the last 2 blocks, b trains every layer.",
        ),
        (
            {"loss": [FOCAL, CE]},
            "Loss: a is trained with focal loss (gamma 2.0, alpha none), b with cross-entropy "
            "(label smoothing 0.1).",
        ),
        (
            {"sampler": ["weighted", "none"]},
            "Sampling: in training, a draws all classes equally often, b draws each image at "
            "most once per epoch.",
        ),
        ({"augment": ["strong", "none"]}, "Augmentation: a is trained with strong, b with none."),
        ({"weight_decay": [0.1, 0.0]}, "Setting: weight decay is 0.1 for a and 0.0 for b."),
        ({"ensemble": [True, False]}, "Setting: ensemble is yes for a and no for b."),
        ({"head": [[512], []]}, "Setting: head is 512 for a and none for b."),
    ],
)
def test_the_opening_is_chosen_by_the_field_that_differs(
    differs: dict[str, list[Any]], said: str
) -> None:
    assert describe_differences("a", "b", differs) == f"{said} No other setting differs."


def test_every_further_difference_is_listed() -> None:
    differs: dict[str, list[Any]] = {
        "lr": [0.1, 0.2],
        "weights": ["x", "y"],
        "seeds": [[1], [1, 2]],
    }
    assert describe_differences("a", "b", differs) == (
        "Transfer: a starts from the weights x, b from y. More than that differs: "
        "lr (0.1 against 0.2); seeds (1 against 1, 2). The figures cannot tell these apart."
    )


@pytest.mark.parametrize(
    ("first", "second", "opening"),
    [("weights", "model", "Model:"), ("loss", "weights", "Transfer:"), ("lr", "loss", "Loss:")],
)
def test_what_brings_other_changes_with_it_opens(first: str, second: str, opening: str) -> None:
    """Another model needs other weights, for one; where the fields stand plays no part."""
    values = {"loss": [FOCAL, CE]}
    differs: dict[str, list[Any]] = {f: values.get(f, ["x", "y"]) for f in (first, second)}
    assert describe_differences("a", "b", differs).startswith(opening)


def test_what_else_two_views_differ_in_is_listed() -> None:
    differs: dict[str, list[Any]] = {
        "view": ["near", "far"],
        "view.crop": [{"kind": "center", "fraction": 0.5}, {"kind": "none"}],
        "view.fit": ["stretch", "letterbox"],
    }
    text = describe_differences("a", "b", differs)
    assert text.startswith("Crop: a sees the middle of the picture (fraction 0.5) (near), ")
    assert "More than that differs: view.fit (stretch against letterbox)." in text


def test_equal_settings_are_said_to_be_equal() -> None:
    assert describe_differences("a", "b", {}) == "All settings of a and b are the same."


def test_names_of_cases_play_no_part() -> None:
    text = describe_differences("focal", "transfer", {"train": ["head", "all"]})
    assert text.startswith("Freezing: focal trains only the head")
