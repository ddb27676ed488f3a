import copy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import modify_yaml

from stages.config.errors import UserError
from stages.config.load import load_params, parse_params
from stages.config.yaml_file import read_yaml

RawParams = dict[str, Any]
REMOVED = object()
REPOSITORY = Path(__file__).parents[2]

CASE = "cases/full-ce"
RECIPE, PROTOCOL = "recipes/short", "protocols/once"
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
    (f"{CASE}/loss/gama", 2, "got 2 for an unknown key; allowed keys: kind, label_smoothing"),
    (
        "study/fundng",
        "none",
        "got 'none' for an unknown key (did you mean 'funding'?); allowed keys: acquisition, a",
    ),
    (
        "views/lungs/crop/margn",
        0.1,
        "got 0.1 for an unknown key (did you mean 'margin'?); "
        "allowed keys: fallback_fraction, kind, margin",
    ),
    ("views/full/size", 80, "got 80 for an unknown key (did you mean 'size_px'?); allowed keys: c"),
    ("views/full/crop/fraction", 0.5, "got 0.5 for an unknown key; allowed keys: kind"),
    # The value is the tag of another crop, which must not be taken for this one's.
    (
        "views/lungs/crop/note",
        "center",
        "got 'center' for an unknown key; allowed keys: fallback_fraction, kind, margin",
    ),
]

LEVELS = "allowed: text that matches ^(all|head|last[-:][1-9][0-9]{0,3})$"
WRONG_VALUES = [
    ("views/full/crop", "lungs", "got 'lungs'; allowed: a mapping of keys to values"),
    (f"{RECIPE}/optimizer", "rmsprop", "got 'rmsprop'; allowed: 'sgd', 'adam' or 'adamw'"),
    (f"{RECIPE}/epochs", "ten", "got 'ten'; allowed: a valid integer"),
    (f"{RECIPE}/epochs", 2.5, "got 2.5; allowed: a valid integer"),
    (f"{RECIPE}/epochs", True, "got True; allowed: a valid integer"),
    (f"{RECIPE}/epochs", 0, "got 0; allowed: greater than or equal to 1"),
    (f"{CASE}/dropout", 1.0, "got 1.0; allowed: less than 1"),
    (f"{RECIPE}/lr", True, "got True; allowed: a valid number"),
    (f"{RECIPE}/lr", 9e-9, "got 9e-09; allowed: greater than or equal to 0.00000001"),
    (f"{RECIPE}/lr", "fast", "got 'fast'; allowed: a valid number"),
    (f"{RECIPE}/lr", None, "got None; allowed: a valid number"),
    (f"{RECIPE}/lr", float("nan"), "got nan; allowed: a finite number"),
    (f"{RECIPE}/lr", "inf", "got 'inf'; allowed: a finite number"),
    (f"{RECIPE}/lr", 10**400, f"got 1{'0' * 79}...; allowed: a valid number"),
    (f"{CASE}/train", "last:0", f"got 'last:0'; {LEVELS}"),
    (f"{CASE}/train", "last:01", f"got 'last:01'; {LEVELS}"),
    (f"{CASE}/train", "last-0", f"got 'last-0'; {LEVELS}"),
    (f"{CASE}/train", "last2", f"got 'last2'; {LEVELS}"),
    (f"{CASE}/train", "some", f"got 'some'; {LEVELS}"),
    (f"{CASE}/train", "heads", f"got 'heads'; {LEVELS}"),
    (f"{CASE}/sampler", "balanced", "got 'balanced'; allowed: 'none' or 'weighted'"),
    (f"{RECIPE}/keep", "first", "got 'first'; allowed: 'best', 'best_accuracy' or 'last'"),
    (f"{RECIPE}/beta2", 1.0, "got 1.0; allowed: less than 1"),
    (f"{RECIPE}/ema", 1.0, "got 1.0; allowed: less than 1"),
    (f"{RECIPE}/ema", -0.1, "got -0.1; allowed: greater than or equal to 0"),
    (f"{PROTOCOL}/folds", 0, "got 0; allowed: a whole number from 1 to 50, or given"),
    (f"{PROTOCOL}/folds", "all", "got 'all'; allowed: a whole number from 1 to 50, or given"),
    (f"{PROTOCOL}/folds", 51, "got 51; allowed: a whole number from 1 to 50, or given"),
    ("compute/threads", 0, "got 0; allowed: a whole number from 1 to 1024, or auto"),
    ("compute/threads", "all", "got 'all'; allowed: a whole number from 1 to 1024, or auto"),
    (f"{PROTOCOL}/held_out", "train", "got 'train'; allowed: 'test', 'val' or 'both'"),
    (f"{PROTOCOL}/grouping", "patient", "got 'patient'; allowed: 'group' or 'none'"),
    (f"{PROTOCOL}/augmented_copies", 21, "got 21; allowed: less than or equal to 20"),
    (f"{PROTOCOL}/seeds", [], "got []; allowed: at least 1 entries"),
    (f"{PROTOCOL}/seeds", 1, "got 1; allowed: a valid list"),
    (f"{PROTOCOL}/seeds/0", -1, "got -1; allowed: greater than or equal to 0"),
    (f"{PROTOCOL}/ensemble", "yes", "got 'yes'; allowed: a valid boolean"),
    (f"{PROTOCOL}/mirror", "left", "got 'left'; allowed: a valid boolean"),
    (f"{CASE}/head", 512, "got 512; allowed: a valid list"),
    (f"{CASE}/head/0", 0, "got 0; allowed: greater than or equal to 1"),
    (CASE, "resnet18", "got 'resnet18'; allowed: a mapping of keys to values"),
    ("comparisons/crop", ["full-ce"], "got ['full-ce']; allowed: at least 2 entries"),
    ("comparisons/crop", ["a", "b", "c"], "got ['a', 'b', 'c']; allowed: at most 2 entries"),
    ("cases", {}, "got {}; allowed: at least 1 entries"),
    ("datasets/ct/allow_leakage", "yes", "got 'yes'; allowed: a valid boolean"),
    (f"{RECIPE}/epochs", 10_001, "got 10001; allowed: less than or equal to 10000"),
    (f"{RECIPE}/layer_decay", 0, "got 0; allowed: greater than or equal to 0.1"),
    (f"{RECIPE}/layer_decay", 1.5, "got 1.5; allowed: less than or equal to 1"),
    (f"{RECIPE}/head_epochs", -1, "got -1; allowed: greater than or equal to 0"),
    (f"{RECIPE}/drop_path", 1, "got 1; allowed: less than 1"),
    (f"{RECIPE}/mixup", -0.1, "got -0.1; allowed: greater than or equal to 0"),
    (f"{RECIPE}/cache_views", 65, "got 65; allowed: less than or equal to 64"),
    (f"{RECIPE}/cache_views", -1, "got -1; allowed: greater than or equal to 0"),
    (f"{RECIPE}/devices", 0, "got 0; allowed: greater than or equal to 1"),
    (f"{RECIPE}/num_nodes", 1025, "got 1025; allowed: less than or equal to 1024"),
    (
        f"{RECIPE}/strategy",
        "fsdp",
        "got 'fsdp'; allowed: 'auto' or 'ddp_find_unused_parameters_true'",
    ),
    (f"{RECIPE}/batch_size", 10**9, "got 1000000000; allowed: less than or equal to 4096"),
    (f"{RECIPE}/patience", 10**9, "got 1000000000; allowed: less than or equal to 10000"),
    (f"{CASE}/train", "last:99999", f"got 'last:99999'; {LEVELS}"),
    (f"{CASE}/head/0", 10**6, "got 1000000; allowed: less than or equal to 100000"),
    ("evaluate/bootstrap_draws", 10**9, "got 1000000000; allowed: less than or equal to 100000"),
    ("cam/positive", 10**9, "got 1000000000; allowed: less than or equal to 10000"),
    ("pretext/images", 10**9, "got 1000000000; allowed: less than or equal to 100000"),
    ("datasets/ct/cohort/patients/covid", 0, "got 0; allowed: greater than or equal to 1"),
    ("datasets/ct/group", 3, "got 3; allowed: a mapping of keys to values"),
    ("datasets/ct/size_px", 8, "got 8; allowed: greater than or equal to 32"),
    ("datasets/ct/near_duplicates", "no", "got 'no'; allowed: a valid boolean"),
    ("evaluate/prevalences/1", 1.0, "got 1.0; allowed: less than 1"),
    ("evaluate/costs", 3, "got 3; allowed: a mapping of keys to values"),
    ("cam/methods/1", "guided", f"got 'guided'; allowed: {METHODS}"),
    ("study/design", "both", "got 'both'; allowed: 'prospective' or 'retrospective'"),
    ("study/funding", " \n", "got ' \\n'; allowed: text, or null where nobody has said it"),
    ("study/funding", ["a"], "got ['a']; allowed: a valid string"),
    ("study/setting", "x" * 1001, f"got '{'x' * 79}...; allowed: at most 1,000 characters"),
    (
        "study/setting",
        2020,
        "got 2020, which YAML reads as a number; allowed: text; put it in quotes, spelt as the "
        "name is: '2020'",
    ),
    ("study", None, "got None; allowed: a mapping of keys to values"),
]


def test_an_error_costs_no_less_than_nothing(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, "evaluate/costs", {"ct": {"covid": {"normal": -1}}}))
    where = "params.yaml: evaluate.costs.ct.covid.normal"
    assert message == f"{where}: got -1; allowed: greater than or equal to 0"


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
    loss = {"kind": "focal", "gamma": 2, "alpha": None, "gama": 2}
    raw = changed(tiny_params, f"{CASE}/loss", loss)
    assert message_of(raw) == (
        "params.yaml: cases.full-ce.loss.gama: got 2 for an unknown key (did you mean 'gamma'?); "
        "allowed keys: alpha, gamma, kind"
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
            f"{CASE}/loss/kind",
            "bse",
            "got 'bse'; allowed: 'ce', 'weighted_ce', 'bce', 'focal'",
        ),
        ("views/full/crop/kind", "lung", "got 'lung'; allowed: 'none', 'center', 'lungs'"),
        ("datasets/ct/source/kind", "zip", "got 'zip'; allowed: 'phantom', 'folder', 'archive'"),
        ("datasets/ct/group/kind", "id", "got 'id'; allowed: 'none', 'pattern', 'table', 'dicom'"),
        (
            "weights/cnn3-random/source/kind",
            "hub",
            "got 'hub'; allowed: 'random', 'pretext', 'timm', 'package', 'file'",
        ),
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
        ("resnet.18", "got 'resnet.18'; allowed: text that matches ^[a-z0-9_][a-z0-9_-]*$"),
        ("-h", "got '-h'; allowed: text that matches ^[a-z0-9_][a-z0-9_-]*$"),
        ("ResNet", "got 'ResNet'; allowed: text that matches ^[a-z0-9_][a-z0-9_-]*$"),
        (
            7,
            "got the key 7, which YAML reads as a number; allowed: text; put it in quotes, spelt "
            "as the name is: '7'",
        ),
    ],
)
def test_a_name_that_dvc_cannot_address_is_refused(
    tiny_params: RawParams, name: str | int, said: str
) -> None:
    tiny_params["cases"][name] = tiny_params["cases"]["full-ce"]
    assert message_of(tiny_params) == f"params.yaml: cases.{name}: {said}"


def test_a_name_too_long_for_a_file_is_refused(tiny_params: RawParams) -> None:
    tiny_params["cases"]["x" * 101] = tiny_params["cases"].pop("full-ce")
    assert message_of(tiny_params) == (
        f"params.yaml: cases.{'x' * 80}...: got '{'x' * 79}...; allowed: at most 100 characters"
    )


def test_text_too_long_for_a_message_is_refused(tiny_params: RawParams) -> None:
    assert message_of(changed(tiny_params, f"{CASE}/model", "x" * 1001)) == (
        f"params.yaml: cases.full-ce.model: got '{'x' * 79}...; allowed: at most 1,000 characters"
    )


def test_what_cannot_be_seen_in_a_key_is_written_out(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, f"{RECIPE}/lr\u200b\u00a0", 1))
    assert message.startswith(
        r"params.yaml: recipes.short.lr\u200b\xa0: got 1 for an unknown key (did you mean 'lr'?)"
    )


def test_a_grey_window_whose_width_overflows_is_refused(tiny_params: RawParams) -> None:
    grey = {"kind": "window", "low": -1e308, "high": 1e308}
    assert message_of(changed(tiny_params, "datasets/ct/grey", grey)).split("\n") == [
        "params.yaml: datasets.ct.grey.low: got -1e+308; allowed: greater than or equal to "
        "-1000000000000",
        "params.yaml: datasets.ct.grey.high: got 1e+308; allowed: less than or equal to "
        "1000000000000",
    ]


def test_of_very_many_problems_the_first_are_shown_and_the_others_counted(
    tiny_params: RawParams,
) -> None:
    lines = message_of(tiny_params | {f"k{number}": 1 for number in range(2100)}).split("\n")
    assert len(lines) == 101
    assert lines[99].startswith("params.yaml: k99: got 1 for an unknown key")
    assert lines[100] == "params.yaml: and 2,000 more problems"


UNQUOTED = [
    ("1", "1, which YAML reads as a number", "'1'"),
    ("1e3", "1000, which YAML reads as a number", "'1000'"),
    ("true", "true, which YAML reads as true or false", "'true'"),
    ("2020-01-01", "2020-01-01, which YAML reads as a date", "'2020-01-01'"),
    ("null", "null, which YAML reads as nothing", "'null'"),
]


@pytest.mark.parametrize(("word", "got", "quoted"), UNQUOTED)
def test_a_folder_name_that_yaml_takes_for_something_else_is_to_be_quoted(
    tiny_params: RawParams, tmp_path: Path, word: str, got: str, quoted: str
) -> None:
    names = "datasets/ct/classes/covid"
    (tmp_path / "names.yaml").write_text(f"[covid, {word}]\n")
    raw = changed(tiny_params, names, read_yaml(tmp_path / "names.yaml"))
    assert message_of(raw) == (
        f"params.yaml: datasets.ct.classes.covid.1: got {got}; allowed: text; put it in quotes, "
        f"spelt as the name is: {quoted}"
    )
    (tmp_path / "names.yaml").write_text(f"[covid, '{word}']\n")
    assert (
        word
        in parse_params(changed(tiny_params, names, read_yaml(tmp_path / "names.yaml")))
        .dataset("ct")
        .classes["covid"]
    )


@pytest.mark.parametrize(
    ("word", "got"), [("1", "1, which"), ("true", "true, which"), ("1e3", "1000, which")]
)
def test_a_class_name_that_yaml_takes_for_something_else_is_to_be_quoted(
    tiny_params: RawParams, tmp_path: Path, word: str, got: str
) -> None:
    (tmp_path / "names.yaml").write_text(f"{{normal: [normal], {word}: [covid]}}\n")
    raw = changed(tiny_params, "datasets/ct/classes", read_yaml(tmp_path / "names.yaml"))
    message = message_of(raw)
    assert message.startswith("params.yaml: datasets.ct.classes")
    assert f": got the key {got} YAML reads as" in message
    assert message.count("\n") == 0


def test_words_that_yaml_1_2_leaves_alone_are_names(tiny_params: RawParams, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("[covid, yes, no, on, 1-2]\n")
    raw = changed(tiny_params, "datasets/ct/classes/covid", read_yaml(tmp_path / "names.yaml"))
    folders = parse_params(raw).dataset("ct").classes["covid"]
    assert folders == ["covid", "yes", "no", "on", "1-2"]


def test_all_that_authors_can_say_may_be_left_to_be_said(tiny_params: RawParams) -> None:
    raw = changed(tiny_params, "study", dict.fromkeys(tiny_params["study"]))
    assert set(parse_params(raw).study.model_dump().values()) == {None}


def test_what_authors_do_not_say_is_written_out_too(tiny_params: RawParams) -> None:
    assert message_of(changed(tiny_params, "study/funding", REMOVED)) == (
        "params.yaml: study.funding: is missing; every value must be written out"
    )


def test_a_missing_key_is_named(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, f"{RECIPE}/lr", REMOVED))
    assert message == "params.yaml: recipes.short.lr: is missing; every value must be written out"


def test_a_missing_tag_of_a_union_is_named(tiny_params: RawParams) -> None:
    message = message_of(changed(tiny_params, f"{CASE}/loss/kind", REMOVED))
    assert message == (
        "params.yaml: cases.full-ce.loss.kind: is missing; got {'label_smoothing': 0.0}"
    )


def test_every_wrong_key_has_its_own_line(tiny_params: RawParams) -> None:
    raw = changed(changed(tiny_params, f"{RECIPE}/epochs", 0), "seed", -1)
    assert message_of(raw).split("\n") == [
        "params.yaml: seed: got -1; allowed: greater than or equal to 0",
        "params.yaml: recipes.short.epochs: got 0; allowed: greater than or equal to 1",
    ]


@pytest.mark.parametrize("content", [None, [], "text"])
def test_a_file_that_is_no_mapping_is_refused(content: object) -> None:
    said = f"params.yaml: the file: got {content!r}; allowed: a mapping of keys to values"
    assert message_of(content) == said


def test_a_number_in_quotes_is_a_number_where_one_is_asked_for(tiny_params: RawParams) -> None:
    params = parse_params(changed(tiny_params, f"{RECIPE}/lr", "1e-3"))
    assert params.recipe("short").lr == 0.001


def test_an_unknown_key_hides_no_other_problem_of_its_section(tiny_params: RawParams) -> None:
    raw = changed(changed(tiny_params, f"{RECIPE}/epoch", 3), f"{RECIPE}/lr", -1)
    assert message_of(raw).split("\n") == [
        "params.yaml: recipes.short.epoch: got 3 for an unknown key (did you mean 'epochs'?); "
        "allowed keys: batch_size, beta2, cache_views, devices, drop_path, ema, epochs, "
        "head_epochs, keep, layer_decay, lr, mixup, num_nodes, optimizer, patience, schedule, "
        "strategy, weight_decay",
        "params.yaml: recipes.short.lr: got -1; allowed: greater than or equal to 0.00000001",
    ]


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
    loss = {"kind": "focal", "gamma": 2, "alpha": alpha}
    message = message_of(changed(tiny_params, f"{CASE}/loss", loss))
    assert message == f"params.yaml: cases.full-ce.loss.alpha: {said}"


def test_the_last_blocks_are_spelt_with_a_dash_or_a_colon(tiny_params: RawParams) -> None:
    levels = [
        parse_params(changed(tiny_params, f"{CASE}/train", level)).case("full-ce").train
        for level in ("last-2", "last:2")
    ]
    assert levels == ["last:2", "last:2"]


def test_what_dvc_writes_for_a_changed_parameter_is_read_again(tmp_path: Path) -> None:
    # `-S` rewrites the whole file: quotes are dropped, lines of the matrix are broken.
    path = tmp_path / "params.yaml"
    path.write_bytes((REPOSITORY / "params.yaml").read_bytes())
    before = load_params(path)
    with modify_yaml(str(path)) as raw:
        raw["recipes"]["cnn"]["lr"] = 0.25
        raw["cases"]["ct-cnn-full"]["train"] = "last-1"
    after = load_params(path)
    assert after.recipe("cnn").lr == 0.25
    assert after.case("ct-cnn-full").train == "last:1"
    assert after.datasets == before.datasets
    assert after.cases["xray-vgg16-last"] == before.cases["xray-vgg16-last"]


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
def test_a_protocol_is_one_run_with_one_fold_and_one_seed(
    tiny_params: RawParams, folds: int, seeds: list[int], is_one_run: bool
) -> None:
    raw = changed(changed(tiny_params, f"{PROTOCOL}/folds", folds), f"{PROTOCOL}/seeds", seeds)
    assert parse_params(raw).protocol("once").is_one_run == is_one_run


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
    with pytest.raises(UserError, match=r"recipes: no entry named 'x'; there are: short$"):
        params.recipe("x")
    with pytest.raises(UserError, match=r"protocols: no entry named 'x'; there are: once$"):
        params.protocol("x")


def test_parameters_cannot_be_changed(tiny_params: RawParams) -> None:
    params = parse_params(tiny_params)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 3
