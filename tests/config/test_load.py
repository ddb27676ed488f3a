import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config.errors import UserError
from stages.config.load import load_params, parse_params

RawParams = dict[str, Any]
REMOVED = object()
REPOSITORY = Path(__file__).parents[2]

CASE = "cases/full-ce"
GROUPS = "null, {pattern: …} or {table: …, file: …, group: …}"
METHODS = (
    "'gradcam', 'eigencam', 'gradcam_plus_plus', 'layercam', 'scorecam', 'xgradcam' or 'hirescam'"
)


def changed(raw: RawParams, path: str, value: object) -> RawParams:
    """A copy with one key set or removed; numbers in the path are numbers in the file."""
    raw = copy.deepcopy(raw)
    *head, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    here: Any = raw
    for key in head:
        here = here[key]
    if value is REMOVED:
        del here[last]
    else:
        here[last] = value
    return raw


def dotted(path: str) -> str:
    return path.replace("/", ".")


def message_of(raw: object) -> str:
    with pytest.raises(UserError) as caught:
        parse_params(raw)
    return str(caught.value)


def test_the_parameters_of_the_repository_are_in_order() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert params.cases
    assert params.seed == 42


UNKNOWN_KEYS = [
    ("sed", 1, "got 1 for an unknown key (did you mean 'seed'?); allowed keys: audit, "),
    (f"{CASE}/modle", "x", "got 'x' for an unknown key (did you mean 'model'?); allowed keys: a"),
    (f"{CASE}/loss/gama", 2, "got 2 for an unknown key; allowed keys: label_smoothing, name"),
    (
        "views/lungs/crop/margn",
        0.1,
        "got 0.1 for an unknown key (did you mean 'margin'?); "
        "allowed keys: fallback_fraction, margin, mode",
    ),
    ("views/full/size", 80, "got 80 for an unknown key (did you mean 'size_px'?); allowed keys: c"),
    ("views/full/crop/fraction", 0.5, "got 0.5 for an unknown key; allowed keys: mode"),
    # The value is the tag of another crop, which must not be taken for this one's.
    (
        "views/lungs/crop/note",
        "center",
        "got 'center' for an unknown key; allowed keys: fallback_fraction, margin, mode",
    ),
]

LEVELS = "allowed: text that matches ^(all|head|last:[1-9][0-9]*)$"
WRONG_VALUES = [
    ("views/full/crop", "lungs", "got 'lungs'; allowed: a mapping of keys to values"),
    (f"{CASE}/optimizer", "rmsprop", "got 'rmsprop'; allowed: 'sgd', 'adam' or 'adamw'"),
    (f"{CASE}/epochs", "ten", "got 'ten'; allowed: a valid integer"),
    (f"{CASE}/epochs", 2.5, "got 2.5; allowed: a valid integer"),
    (f"{CASE}/epochs", True, "got True; allowed: a valid integer"),
    (f"{CASE}/epochs", 0, "got 0; allowed: greater than or equal to 1"),
    (f"{CASE}/dropout", 1.0, "got 1.0; allowed: less than 1"),
    (f"{CASE}/lr", True, "got True; allowed: a valid number"),
    (f"{CASE}/lr", "fast", "got 'fast'; allowed: a valid number"),
    (f"{CASE}/lr", None, "got None; allowed: a valid number"),
    (f"{CASE}/lr", float("nan"), "got nan; allowed: a finite number"),
    (f"{CASE}/lr", "inf", "got 'inf'; allowed: a finite number"),
    (f"{CASE}/lr", 10**400, f"got 1{'0' * 79}...; allowed: a valid number"),
    (f"{CASE}/train", "last:0", f"got 'last:0'; {LEVELS}"),
    (f"{CASE}/train", "last:01", f"got 'last:01'; {LEVELS}"),
    (f"{CASE}/train", "some", f"got 'some'; {LEVELS}"),
    (f"{CASE}/train", "heads", f"got 'heads'; {LEVELS}"),
    (f"{CASE}/sampler", "balanced", "got 'balanced'; allowed: 'none' or 'weighted'"),
    (f"{CASE}/keep", "first", "got 'first'; allowed: 'best' or 'last'"),
    (f"{CASE}/ema", 1.0, "got 1.0; allowed: less than 1"),
    (f"{CASE}/ema", -0.1, "got -0.1; allowed: greater than or equal to 0"),
    (f"{CASE}/folds", 0, "got 0; allowed: greater than or equal to 1"),
    (f"{CASE}/folds", 51, "got 51; allowed: less than or equal to 50"),
    (f"{CASE}/held_out", "train", "got 'train'; allowed: 'test' or 'val'"),
    (f"{CASE}/seeds", [], "got []; allowed: at least 1 entries"),
    (f"{CASE}/seeds", 1, "got 1; allowed: a valid list"),
    (f"{CASE}/seeds/0", -1, "got -1; allowed: greater than or equal to 0"),
    (f"{CASE}/ensemble", "yes", "got 'yes'; allowed: a valid boolean"),
    (f"{CASE}/head", 512, "got 512; allowed: a valid list"),
    (f"{CASE}/head/0", 0, "got 0; allowed: greater than or equal to 1"),
    (CASE, "resnet18", "got 'resnet18'; allowed: a mapping of keys to values"),
    ("comparisons/crop", ["full-ce"], "got ['full-ce']; allowed: at least 2 entries"),
    ("comparisons/crop", ["a", "b", "c"], "got ['a', 'b', 'c']; allowed: at most 2 entries"),
    ("cases", {}, "got {}; allowed: at least 1 entries"),
    ("datasets/ct/allow_leakage", "yes", "got 'yes'; allowed: a valid boolean"),
    ("datasets/ct/group", 3, f"got 3; allowed: {GROUPS}"),
    ("datasets/ct/group", {"by": "name"}, f"got {{'by': 'name'}}; allowed: {GROUPS}"),
    ("datasets/ct/size_px", 8, "got 8; allowed: greater than or equal to 32"),
    ("datasets/ct/near_duplicates", "no", "got 'no'; allowed: a valid boolean"),
    ("evaluate/prevalences/1", 1.0, "got 1.0; allowed: less than 1"),
    ("cam/methods/1", "guided", f"got 'guided'; allowed: {METHODS}"),
]


@pytest.mark.parametrize(("path", "value", "said"), UNKNOWN_KEYS)
def test_an_unknown_key_is_named_with_the_keys_that_are_allowed(
    tiny_params: RawParams, path: str, value: object, said: str
) -> None:
    message = message_of(changed(tiny_params, path, value))
    assert message.startswith(f"params.yaml: {dotted(path)}: {said}")
    assert "\n" not in message


def test_an_unknown_key_of_a_loss_is_compared_with_the_keys_of_that_loss(
    tiny_params: RawParams,
) -> None:
    loss = {"name": "focal", "gamma": 2, "alpha": None, "gama": 2}
    raw = changed(tiny_params, f"{CASE}/loss", loss)
    assert message_of(raw) == (
        "params.yaml: cases.full-ce.loss.gama: got 2 for an unknown key (did you mean 'gamma'?); "
        "allowed keys: alpha, gamma, name"
    )


@pytest.mark.parametrize(("path", "value", "said"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_what_is_allowed(
    tiny_params: RawParams, path: str, value: object, said: str
) -> None:
    message = message_of(changed(tiny_params, path, value))
    assert message == f"params.yaml: {dotted(path)}: {said}"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            f"{CASE}/loss/name",
            "bse",
            "got 'bse'; allowed: 'ce', 'weighted_ce', 'bce', 'focal'",
        ),
        ("views/full/crop/mode", "lung", "got 'lung'; allowed: 'none', 'center', 'lungs'"),
    ],
)
def test_an_unknown_tag_of_a_union_is_named_with_the_tags_that_are_allowed(
    tiny_params: RawParams, path: str, value: str, said: str
) -> None:
    message = message_of(changed(tiny_params, path, value))
    assert message == f"params.yaml: {dotted(path)}: {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet.18", "got 'resnet.18'; allowed: text that matches ^[a-z0-9_-]+$"),
        ("ResNet", "got 'ResNet'; allowed: text that matches ^[a-z0-9_-]+$"),
        (7, "got 7; allowed: a valid string"),
    ],
)
def test_a_name_that_dvc_cannot_address_is_refused(
    tiny_params: RawParams, name: str | int, said: str
) -> None:
    tiny_params["cases"][name] = tiny_params["cases"]["full-ce"]
    assert message_of(tiny_params) == f"params.yaml: cases.{name}: {said}"


def test_a_missing_key_is_named(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, f"{CASE}/lr", REMOVED))
    assert message == "params.yaml: cases.full-ce.lr: is missing; every value must be written out"


def test_a_missing_tag_of_a_union_is_named(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, f"{CASE}/loss/name", REMOVED))
    assert message == (
        "params.yaml: cases.full-ce.loss.name: is missing; got {'label_smoothing': 0.0}"
    )


def test_every_wrong_key_has_its_own_line(tiny_params: RawParams) -> None:
    raw = changed(changed(tiny_params, f"{CASE}/epochs", 0), "seed", -1)
    assert message_of(raw).split("\n") == [
        "params.yaml: seed: got -1; allowed: greater than or equal to 0",
        "params.yaml: cases.full-ce.epochs: got 0; allowed: greater than or equal to 1",
    ]


@pytest.mark.parametrize("content", [None, [], "text"])
def test_a_file_that_is_no_mapping_is_refused(content: object) -> None:
    said = f"params.yaml: the file: got {content!r}; allowed: a mapping of keys to values"
    assert message_of(content) == said


def test_a_number_written_1e_3_is_text_for_yaml_and_a_number_here(tiny_params: RawParams) -> None:
    read = yaml.safe_load("1e-3")
    assert isinstance(read, str)
    params = parse_params(changed(tiny_params, f"{CASE}/lr", read))
    assert params.case("full-ce").lr == 0.001


def test_a_whole_number_is_taken_where_a_fraction_is_allowed(tiny_params: RawParams) -> None:
    params = parse_params(changed(tiny_params, f"{CASE}/dropout", 0))
    assert params.case("full-ce").dropout == 0.0


@pytest.mark.parametrize(
    ("alpha", "said"),
    [(0, "got 0; allowed: greater than 0"), (1, "got 1; allowed: less than 1")],
)
def test_alpha_of_the_focal_loss_leaves_a_weight_to_both_sides(
    tiny_params: RawParams, alpha: int, said: str
) -> None:
    loss = {"name": "focal", "gamma": 2, "alpha": alpha}
    message = message_of(changed(tiny_params, f"{CASE}/loss", loss))
    assert message == f"params.yaml: cases.full-ce.loss.alpha: {said}"


@pytest.mark.parametrize("level", ["all", "head", "last:1", "last:12"])
def test_a_level_of_training_is_all_the_head_or_a_number_of_blocks(
    tiny_params: RawParams, level: str
) -> None:
    params = parse_params(changed(tiny_params, f"{CASE}/train", level))
    assert params.case("full-ce").train == level


@pytest.mark.parametrize(
    ("folds", "seeds", "is_one_run"),
    [(1, [1], True), (2, [1], False), (1, [1, 2], False), (2, [1, 2], False)],
)
def test_a_case_is_one_run_with_one_fold_and_one_seed(
    tiny_params: RawParams, folds: int, seeds: list[int], is_one_run: bool
) -> None:
    raw = changed(changed(tiny_params, f"{CASE}/folds", folds), f"{CASE}/seeds", seeds)
    assert parse_params(raw).case("full-ce").is_one_run == is_one_run


def test_an_unknown_entry_lists_the_known_ones(tiny_params: RawParams) -> None:
    params = parse_params(tiny_params)
    with pytest.raises(UserError, match=r"cases: no entry named 'x'; there are: full-ce, lungs-b"):
        params.case("x")
    with pytest.raises(UserError, match=r"views: no entry named 'x'; there are: full, lungs$"):
        params.view("x")
    with pytest.raises(UserError, match=r"datasets: no entry named 'x'; there are: ct$"):
        params.dataset("x")
    with pytest.raises(UserError, match=r"weights: no entry named 'x'; there are: cnn3-random$"):
        params.initial_weights("x")


def test_parameters_cannot_be_changed(tiny_params: RawParams) -> None:
    params = parse_params(tiny_params)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 3


def file_with(folder: Path, text: str | bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


UNREADABLE = [
    ("a: 1\nb: 2\na: 3\n", r"params\.yaml: line 3: key 'a' is given twice; keep one$"),
    ("a:\n  b: 1\n  b: 1\n", r"params\.yaml: line 3: key 'b' is given twice; keep one$"),
    ("seed: 1\n? [a]\n: 2\n", r"params\.yaml: line 2: got the key \['a'\]; allowed: text$"),
    ("a: [1\n", r"params\.yaml: is not valid YAML: while parsing a flow sequence .* line 1"),
    ("a: 1\n---\nb: 1\n", r"params\.yaml: is not valid YAML: expected a single document"),
    ("a: !!python/object:x.y z\n", r"params\.yaml: is not valid YAML: could not determine"),
    (b"a: \xff\n", r"params\.yaml: is not UTF-8 text: .*; save it as UTF-8$"),
]


@pytest.mark.parametrize(("text", "said"), UNREADABLE)
def test_a_file_that_cannot_be_parsed_is_explained_in_one_line(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_params(file_with(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: no such file; run from the root"):
        load_params(tmp_path / "params.yaml")


def test_a_merge_key_brings_in_the_keys_of_another_entry(
    tmp_path: Path, tiny_params: RawParams
) -> None:
    tiny_params["cases"]["lungs-bce"] = "MERGED"
    text = yaml.safe_dump(tiny_params).replace("full-ce:", "full-ce: &base")
    text = text.replace("MERGED", "{<<: *base, view: lungs}")
    params = load_params(file_with(tmp_path, text))
    assert params.case("lungs-bce").view == "lungs"
    assert params.case("full-ce").view == "full"
    assert params.case("lungs-bce").loss == params.case("full-ce").loss
