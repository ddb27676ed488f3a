"""What two cases differ in, in words; which words is decided by the settings, never by names."""

from typing import Any

from stages.reporting.wording import label, setting

# The first of these that differs is what a comparison is called after.
LEADING = (
    "model",
    "view",
    "weights",
    "train",
    "loss",
    "sampler",
    "augment",
    "grouping",
    "held_out",
)
# What makes a published protocol: who is dealt where, and the epoch chosen on the fold scored.
PROTOCOL_FIELDS = ("grouping", "held_out", "augmented_copies", "folds", "keep")
PART_OF_LEAD = {"view": ("view.crop",), "grouping": PROTOCOL_FIELDS, "held_out": PROTOCOL_FIELDS}
OPENINGS = {
    "model": "Model: {first} is {a}, {second} is {b}.",
    "view": "View: {first} sees {a}, {second} sees {b}.",
    "weights": "Transfer: {first} starts from the weights {a}, {second} from {b}.",
    "train": "Freezing: {first} trains {a}, {second} trains {b}.",
    "loss": "Loss: {first} is trained with {a}, {second} with {b}.",
    "sampler": "Sampling: in training, {first} draws {a}, {second} draws {b}.",
    "augment": "Augmentation: {first} is trained with {a}, {second} with {b}.",
}
CROP_OPENING = "Crop: {first} sees {crop_a} ({a}), {second} sees {crop_b} ({b})."
WORDS = {
    ("train", "all"): "every layer",
    ("train", "head"): "only the head",
    ("sampler", "none"): "each image at most once per epoch",
    ("sampler", "weighted"): "all classes equally often",
    ("loss", "ce"): "cross-entropy",
    ("loss", "weighted_ce"): "class-weighted cross-entropy",
    ("loss", "bce"): "binary cross-entropy",
    ("loss", "focal"): "focal loss",
    ("grouping", "group"): "whole patients",
    ("grouping", "none"): "images one by one",
    ("held_out", "both"): "for choice and score at once",
    ("held_out", "test"): "for the score alone",
    ("held_out", "val"): "for the choice alone",
    ("view.crop", "none"): "the whole picture",
    ("view.crop", "center"): "the middle of the picture",
    ("view.crop", "lungs"): "the lungs",
}


def describe_differences(first: str, second: str, differs: dict[str, list[Any]]) -> str:
    """One or two sentences: what is compared, and what else is not equal.

    Args:
        first: name of the first case.
        second: name of the second case.
        differs: field to [of first, of second], as `find_differences` gives it.
    """
    if not differs:
        return f"All settings of {first} and {second} are the same."
    lead = next((field for field in LEADING if field in differs), next(iter(differs)))
    others = {
        field: values
        for field, values in differs.items()
        if field not in (lead, *PART_OF_LEAD.get(lead, ()))
    }
    return f"{_opening(first, second, lead, differs)} {_others(others)}"


def _opening(first: str, second: str, lead: str, differs: dict[str, list[Any]]) -> str:
    a, b = (_say(lead, value) for value in differs[lead])
    if lead == "view" and "view.crop" in differs:
        crop_a, crop_b = (_say("view.crop", value) for value in differs["view.crop"])
        return CROP_OPENING.format(
            first=first, second=second, a=a, b=b, crop_a=crop_a, crop_b=crop_b
        )
    if PART_OF_LEAD.get(lead) == PROTOCOL_FIELDS:
        named = (field for field in PROTOCOL_FIELDS if field in differs)
        said = (f"{label(f)} {' against '.join(_say(f, v) for v in differs[f])}" for f in named)
        return f"Protocol, {first} against {second}: {'; '.join(said)}."
    unnamed = f"Setting: {label(lead)} is {{a}} for {{first}} and {{b}} for {{second}}."
    return OPENINGS.get(lead, unnamed).format(first=first, second=second, a=a, b=b)


def _others(others: dict[str, list[Any]]) -> str:
    """The remaining differences, or that there are none."""
    if not others:
        return "No other setting differs."
    listed = "; ".join(
        f"{label(field)} ({' against '.join(_say(field, value) for value in values)})"
        for field, values in others.items()
    )
    return f"More than that differs: {listed}. The figures cannot tell these apart."


def _say(field: str, value: Any) -> str:
    """A value of params.yaml in words, as far as there are any."""
    if isinstance(value, dict):  # of a kind, with options: a loss or a crop
        kind, *options = value.items()
        said = ", ".join(f"{label(key)} {setting(option)}" for key, option in options)
        return WORDS[field, kind[1]] + (f" ({said})" if said else "")
    if not isinstance(value, str):
        return setting(value)
    if field == "train" and value.startswith("last:"):
        count = value.removeprefix("last:")
        return f"the head and the last {'block' if count == '1' else f'{count} blocks'}"
    return WORDS.get((field, value), value)
