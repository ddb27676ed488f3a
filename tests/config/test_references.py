from collections.abc import Callable
from typing import Any

import pytest

from stages.config import references
from stages.config.load import parse_params
from stages.config.references import find_reference_problems
from stages.sources import phantoms

RawParams = dict[str, Any]
Change = Callable[[RawParams], object]


def problems_after(raw: RawParams, change: Change) -> list[str]:
    change(raw)
    return find_reference_problems(parse_params(raw))


def set_in(section: str, entry: str, **values: object) -> Change:
    """Set keys of one entry of a section."""
    return lambda raw: raw[section][entry].update(values)


def add_to(section: str, name: str, like: str, **values: object) -> Change:
    """Add an entry to a section, like another one."""
    return lambda raw: raw[section].update({name: raw[section][like] | values})


def set_class_folders(name: str, folders: list[str]) -> Change:
    return lambda raw: raw["datasets"]["ct"]["classes"].update({name: folders})


ALL_CLASSES = {"covid": ["covid"], "normal": ["normal"], "pneumonia": ["pneumonia"]}
SPLIT = {"train": 0.7, "val": 0.2, "test": 0.2}

SEVERAL_TRAININGS = (
    "cases.lungs-bce.weights: got 'full-ce', a case of several trainings; "
    "allowed: a case with folds 1 and one seed"
)

CONTRADICTIONS: list[tuple[str, Change, str]] = [
    (
        "view of a case",
        set_in("cases", "full-ce", view="whole"),
        "cases.full-ce.view: got 'whole', which is not a view; allowed: full, lungs",
    ),
    (
        "data set of a view",
        lambda raw: (add_to("views", "spare", "full", dataset="mri")(raw),),
        "views.spare.dataset: got 'mri', which is not a data set; allowed: ct",
    ),
    (
        "augmentation of a case",
        set_in("cases", "full-ce", augment="heavy"),
        "cases.full-ce.augment: got 'heavy', which is not an augmentation; allowed: light",
    ),
    (
        "weights of a case",
        set_in("cases", "full-ce", weights="imagenet"),
        "cases.full-ce.weights: got 'imagenet', which is not an entry of weights or a case; "
        "allowed: cnn3-random, full-ce, lungs-bce",
    ),
    (
        "weights for another architecture",
        set_in("cases", "full-ce", model="resnet18"),
        "cases.full-ce.weights: got 'cnn3-random', which is for cnn3; "
        "allowed: weights for resnet18",
    ),
    (
        "case for another architecture as weights",
        lambda raw: (
            add_to("weights", "resnet", "cnn3-random", model="resnet18")(raw),
            add_to("cases", "next", "full-ce", weights="full-ce", model="resnet18")(raw),
        ),
        "cases.next.weights: got 'full-ce', which is for cnn3; allowed: weights for resnet18",
    ),
    (
        "unknown source of weights",
        add_to("weights", "own", "cnn3-random", source="model.pt"),
        "weights.own.source: got 'model.pt', which is not a source of weights; allowed: random, "
        "pretext, timm, a path that ends in .safetensors",
    ),
    (
        "made weights that track something else",
        add_to("weights", "own", "cnn3-random", track="stages"),
        "weights.own.track: got 'stages'; allowed here: 'stages/modeling'",
    ),
    (
        "weights of a file that track something else",
        add_to("weights", "own", "cnn3-random", source="data/raw/own.safetensors"),
        "weights.own.track: got 'stages/modeling'; allowed here: 'data/raw/own.safetensors'",
    ),
    (
        "cnn3 from timm",
        add_to("weights", "own", "cnn3-random", source="timm"),
        "weights.own.model: got 'cnn3'; allowed for source timm: a timm model name",
    ),
    (
        "one name for weights and a case",
        add_to("weights", "full-ce", "cnn3-random"),
        "weights.full-ce: a case has this name too; both write data/weights/full-ce/; rename one",
    ),
    (
        "a seed twice",
        set_in("cases", "full-ce", seeds=[1, 2, 1]),
        "cases.full-ce.seeds: got [1, 2, 1]; allowed: each seed once",
    ),
    (
        "a case of several seeds as weights",
        lambda raw: (
            set_in("cases", "full-ce", seeds=[1, 2])(raw),
            set_in("cases", "lungs-bce", weights="full-ce")(raw),
        ),
        SEVERAL_TRAININGS,
    ),
    (
        "a case of several folds as weights",
        lambda raw: (
            set_in("cases", "full-ce", folds=2)(raw),
            set_in("cases", "lungs-bce", weights="full-ce")(raw),
        ),
        SEVERAL_TRAININGS,
    ),
    (
        "weights that have seen the images that folds test",
        set_in("cases", "lungs-bce", weights="full-ce", folds=2),
        "cases.lungs-bce.weights: got 'full-ce', trained on the images that the folds of this "
        "case test; allowed with folds: an entry of weights, or a case on another data set",
    ),
    (
        "implied by what is no class",
        add_to("datasets", "spare", "ct", implies={"sick": ["covid"]}),
        "datasets.spare.implies: got 'sick', which is not a class; allowed: normal, covid",
    ),
    (
        "implied class that is none",
        add_to("datasets", "spare", "ct", implies={"covid": ["sick"]}),
        "datasets.spare.implies.covid: got 'sick', which is not another class; allowed: normal",
    ),
    (
        "class that implies itself",
        add_to("datasets", "spare", "ct", implies={"covid": ["covid"]}),
        "datasets.spare.implies.covid: got 'covid', which is not another class; allowed: normal",
    ),
    (
        "case of a comparison",
        lambda raw: raw["comparisons"].update(crop=["full-ce", "gone"]),
        "comparisons.crop: got 'gone', which is not a case; allowed: full-ce, lungs-bce",
    ),
    (
        "comparison of a case with itself",
        lambda raw: raw["comparisons"].update(crop=["full-ce", "full-ce"]),
        "comparisons.crop: got 'full-ce' twice; allowed: two different cases",
    ),
    (
        "layer of a model with a tag",
        lambda raw: raw["cam"]["target_layers"].update({"resnet18.a1_in1k": "layer4"}),
        "cam.target_layers: got 'resnet18.a1_in1k'; allowed: 'resnet18', the architecture without "
        "the tag of its weights",
    ),
    (
        "positive class",
        set_in("datasets", "ct", positive="sick"),
        "datasets.ct.positive: got 'sick', which is not a class; allowed: normal, covid",
    ),
    (
        "shares of the splits",
        set_in("datasets", "ct", split=SPLIT),
        "datasets.ct.split: train + val + test is 1.1; allowed: a sum of 1",
    ),
    (
        "folder of two classes",
        set_class_folders("covid", ["covid", "normal"]),
        "datasets.ct.classes.covid: folder 'normal' is already in classes.normal; "
        "allowed: each folder once",
    ),
    (
        "folder twice in a class",
        set_class_folders("covid", ["covid", "covid"]),
        "datasets.ct.classes.covid: folder 'covid' is already in classes.covid; "
        "allowed: each folder once",
    ),
    (
        "folder of a class that is ignored",
        set_in("datasets", "ct", ignore=["covid"]),
        "datasets.ct.classes.covid: folder 'covid' is already in ignore; allowed: each folder once",
    ),
    (
        "unknown phantom",
        set_in("datasets", "ct", source="phantom:mri"),
        "datasets.ct.source: got 'phantom:mri', which is not a built-in phantom; "
        "allowed: phantom:ct, phantom:ct_b, phantom:xray, phantom:xray3",
    ),
    (
        "classes that a phantom has not",
        set_in("datasets", "ct", source="phantom:xray"),
        "datasets.ct.classes: got normal, covid; allowed for phantom:xray: exactly "
        "infected, normal",
    ),
    (
        "phantoms that track something else",
        set_in("datasets", "ct", track="data"),
        "datasets.ct.track: got 'data'; allowed for phantoms: 'stages/phantoms'",
    ),
    (
        "a folder that is not tracked",
        set_in("datasets", "ct", source="data/raw/ct"),
        "datasets.ct.track: got 'stages/phantoms'; allowed: 'data/raw/ct', the same as "
        "source, so that DVC sees when the files change",
    ),
    (
        "classes of a cohort",
        lambda raw: raw["phantoms"]["xray"].update(patients={"infected": 3, "sick": 3}),
        "phantoms.xray.patients: got the classes infected, sick; allowed: exactly infected, normal",
    ),
    (
        "markers of a cohort",
        lambda raw: raw["phantoms"]["xray"].update(marker_share={"infected": 0.5}),
        "phantoms.xray.marker_share: got the classes infected; allowed: exactly infected, normal",
    ),
]


@pytest.mark.parametrize(
    ("change", "said"),
    [(change, said) for _, change, said in CONTRADICTIONS],
    ids=[what for what, _, _ in CONTRADICTIONS],
)
def test_a_contradiction_is_explained_in_one_line(
    tiny_params: RawParams, change: Change, said: str
) -> None:
    assert problems_after(tiny_params, change) == [said]


def test_parameters_without_a_contradiction_have_no_problem(tiny_params: RawParams) -> None:
    assert problems_after(tiny_params, lambda raw: None) == []


def test_a_timm_tag_does_not_make_another_architecture(tiny_params: RawParams) -> None:
    tiny_params["weights"]["r"] = {
        "source": "timm",
        "track": "stages/modeling",
        "model": "resnet18.a1_in1k",
    }
    add = add_to("cases", "tagged", "full-ce", model="resnet18", weights="r")
    assert problems_after(tiny_params, add) == []


def test_a_case_may_start_from_the_model_of_another_case(tiny_params: RawParams) -> None:
    add = add_to("cases", "second", "full-ce", weights="lungs-bce")
    assert problems_after(tiny_params, add) == []


def with_three_classes(raw: RawParams) -> None:
    """A second data set, of three classes, with a view of its own."""
    add_to("datasets", "xray3", "ct", source="phantom:xray3", classes=ALL_CLASSES)(raw)
    add_to("views", "three", "full", dataset="xray3")(raw)


def test_one_logit_is_refused_for_three_classes(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add = add_to("cases", "third", "lungs-bce", view="three")
    assert problems_after(tiny_params, add) == [
        "cases.third.loss.name: got 'bce' for 3 classes; allowed here: ce, weighted_ce, focal (bce "
        "has one logit and needs two classes)"
    ]


@pytest.mark.parametrize("loss", ["ce", "weighted_ce"])
def test_a_softmax_loss_is_refused_where_classes_imply_others(
    tiny_params: RawParams, loss: str
) -> None:
    set_in("datasets", "ct", implies={"covid": ["normal"]})(tiny_params)
    change = set_in("cases", "full-ce", loss={"name": loss, "label_smoothing": 0.0})
    assert problems_after(tiny_params, change) == [
        f"cases.full-ce.loss.name: got '{loss}' for a data set in which classes imply others; "
        "allowed here: bce, focal"
    ]


@pytest.mark.parametrize(
    "loss",
    [{"name": "bce", "label_smoothing": 0.0}, {"name": "focal", "gamma": 2.0, "alpha": 0.25}],
)
def test_a_sigmoid_loss_is_taken_for_three_classes_that_imply_others(
    tiny_params: RawParams, loss: RawParams
) -> None:
    with_three_classes(tiny_params)
    tiny_params["datasets"]["xray3"]["implies"] = {"covid": ["pneumonia"]}
    add = add_to("cases", "third", "full-ce", view="three", loss=loss)
    assert problems_after(tiny_params, add) == []


def test_two_classes_with_the_same_labels_are_refused(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    both = {"covid": ["pneumonia"], "pneumonia": ["covid"]}
    assert problems_after(tiny_params, set_in("datasets", "xray3", implies=both)) == [
        "datasets.xray3.implies: got covid and pneumonia with the same labels; "
        "allowed: labels that tell every class from the others"
    ]


@pytest.mark.parametrize("end", ["_low", "_high", "_p_value"])
def test_a_class_is_not_named_like_a_figure(tiny_params: RawParams, end: str) -> None:
    settings = {"source": "folder", "track": "folder", "positive": f"covid{end}"}
    classes = {"normal": ["normal"], f"covid{end}": ["covid"]}
    add = add_to("datasets", "own", "ct", classes=classes, **settings)
    assert problems_after(tiny_params, add) == [
        f"datasets.own.classes: got 'covid{end}'; allowed: a name that does not end in "
        "_low, _high, _p_value, as names of figures do"
    ]


def with_folds_on_a_chain(raw: RawParams, *, first_view: str) -> list[str]:
    """Problems of a case with folds that starts from a case that starts from a third case."""
    with_three_classes(raw)
    add_to("cases", "first", "full-ce", view=first_view)(raw)
    add_to("cases", "second", "full-ce", view="three", weights="first")(raw)
    return problems_after(raw, add_to("cases", "last", "full-ce", weights="second", folds=2))


def test_folds_refuse_a_chain_of_cases_that_has_seen_their_images(tiny_params: RawParams) -> None:
    assert with_folds_on_a_chain(tiny_params, first_view="lungs") == [
        "cases.last.weights: got 'second', trained on the images that the folds of this case "
        "test; allowed with folds: an entry of weights, or a case on another data set"
    ]


def test_folds_take_a_chain_of_cases_on_another_data_set(tiny_params: RawParams) -> None:
    assert with_folds_on_a_chain(tiny_params, first_view="three") == []


def test_cases_that_start_from_each_other_do_not_hang_the_check(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add_to("cases", "one", "full-ce", view="three", weights="two")(tiny_params)
    add_to("cases", "two", "full-ce", view="three", weights="one")(tiny_params)
    add = add_to("cases", "last", "full-ce", weights="one", folds=2)
    assert problems_after(tiny_params, add) == []  # DVC refuses the cycle


def test_cases_on_two_data_sets_cannot_be_compared(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add_to("cases", "third", "full-ce", view="three")(tiny_params)
    change: Change = lambda raw: raw["comparisons"].update(crop=["third", "full-ce"])  # noqa: E731
    assert problems_after(tiny_params, change) == [
        "comparisons.crop: got cases on ct and xray3; allowed: two cases on the same data set"
    ]


def test_all_contradictions_are_listed_at_once(tiny_params: RawParams) -> None:
    set_in("datasets", "ct", positive="sick")(tiny_params)
    found = problems_after(tiny_params, set_in("cases", "full-ce", view="whole"))
    assert [problem.partition(":")[0] for problem in found] == [
        "datasets.ct.positive",
        "cases.full-ce.view",
    ]


def test_the_classes_of_phantoms_are_those_that_are_drawn() -> None:
    assert references.PHANTOM_CLASSES == phantoms.PHANTOM_CLASSES


def abroad(**changes: object) -> Change:
    """An external test of lungs-bce on a second data set of the same kind, with some changes."""
    classes = {"covid": "covid", "normal": "normal"}
    settings: dict[str, object] = {"case": "lungs-bce", "view": "there", "classes": classes}

    def change(raw: RawParams) -> None:
        fields = {"size_px", "crop", "fit", "dataset"} & set(changes)
        raw["datasets"]["ct-b"] = raw["datasets"]["ct"] | {"source": "phantom:ct_b"}
        raw["views"]["there"] = raw["views"]["lungs"] | {"dataset": "ct-b"}
        raw["views"]["there"] |= {field: changes[field] for field in fields}
        rest = {field: value for field, value in changes.items() if field not in fields}
        raw["external"] = {"elsewhere": settings | rest}

    return change


def test_a_view_of_another_data_set_is_an_external_test(tiny_params: RawParams) -> None:
    assert problems_after(tiny_params, abroad()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"case": "lungs"}, "case: got 'lungs', which is not a case; allowed: full-ce, lungs-bce"),
        ({"view": "x"}, "view: got 'x', which is not a view; allowed: full, lungs, there"),
        ({"dataset": "ct"}, "view: got 'there', of the data set that lungs-bce is trained on; "),
        (
            {"size_px": 96},
            "view: got 'there', whose size is not that of lungs, the view of lungs-bce",
        ),
        ({"crop": {"mode": "none"}}, "view: got 'there', whose crop is not that of lungs"),
        ({"fit": "stretch"}, "view: got 'there', whose fit is not that of lungs"),
        (
            {"classes": {"covid": "covid", "normal": "normal", "mild": "normal"}},
            "classes: got 'mild', which is not a class of that data set; allowed: normal, covid",
        ),
        (
            {"classes": {"covid": "covid", "normal": "healthy"}},
            "classes.normal: got 'healthy', which is not a class of the case",
        ),
        (
            {"classes": {"normal": "normal"}},
            "classes: got normal; allowed: the positive class covid and at least one other",
        ),
    ],
)
def test_an_external_test_that_cannot_be_is_explained(
    tiny_params: RawParams, changes: dict[str, object], said: str
) -> None:
    [problem] = problems_after(tiny_params, abroad(**changes))
    assert problem.startswith(f"external.elsewhere.{said}")
