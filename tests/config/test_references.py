from collections.abc import Callable
from typing import Any

import pytest

from stages.config import source_references
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.references import find_reference_problems
from stages.phantoms.cohort import PHANTOM_CLASSES

RawParams = dict[str, Any]
Change = Callable[[RawParams], object]


def problems_after(raw: RawParams, change: Change) -> list[str]:
    change(raw)
    return find_reference_problems(parse_params(raw))


def set_in(section: str, entry: str, **values: object) -> Change:
    """Set keys of one entry of a section."""
    return lambda raw: raw[section][entry].update(values)


def file_source(path: str, scaling: str) -> RawParams:
    return {"kind": "file", "path": path, "scaling": {"kind": scaling}}


def add_to(section: str, name: str, like: str, **values: object) -> Change:
    """Add an entry to a section, like another one."""
    return lambda raw: raw[section].update({name: raw[section][like] | values})


def search_over(*cases: str) -> Change:
    return lambda raw: raw["searches"].update(spare={"cases": list(cases), "by": "auroc"})


def set_in_cohort(**values: object) -> Change:
    """Set keys of the cohort of the data set."""
    return lambda raw: raw["datasets"]["ct"]["cohort"].update(values)


def set_class_folders(name: str, folders: list[str]) -> Change:
    return lambda raw: raw["datasets"]["ct"]["classes"].update({name: folders})


def metadata_of(*columns: str) -> RawParams:
    return METADATA | {"columns": dict.fromkeys(columns, "category")}


INITIAL = "stages/modeling/initial.py"
ALL_CLASSES = {"covid": ["covid"], "normal": ["normal"], "pneumonia": ["pneumonia"]}
SPLIT = {"train": 0.7, "val": 0.2, "test": 0.2}

FILES_OF_TRUTH = {"kind": "files", "path": "t", "lungs": None, "lung_values": []} | {
    "boxes": "b.csv",
    "findings": [],
    "max_unmatched": 0.1,
}
FILES = {"source": {"kind": "folder", "path": "/data/x"}, "cohort": None}
BY_TABLE = {"kind": "table", "patients_per_class": False}
TABLE: dict[str, Any] = {
    **{"path": "m.csv", "file": "name", "label": None, "patient": None},
    **{"split": None, "fold": None},
}
METADATA: dict[str, Any] = {"table": "m.csv", "file": "name", "columns": {"age": "number"}}
SEVERAL_TRAININGS = (
    "cases.lungs-bce.weights: got 'full-ce', a case of several trainings; "
    "allowed: a case with folds 1 and one seed"
)

CONTRADICTIONS: list[tuple[str, Change, str]] = [
    (
        "window of grey values",
        set_in("datasets", "ct", grey={"kind": "window", "low": 400, "high": -1000}),
        "datasets.ct.grey: got a low of 400; allowed: under high, -1000",
    ),
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
        "view of more pixels than are stored",
        set_in("views", "full", size_px=97),
        "views.full.size_px: got 97, more pixels than datasets.ct.size_px keeps of a picture; "
        "allowed: at most 96",
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
        "recipe of a case",
        set_in("cases", "full-ce", recipe="long"),
        "cases.full-ce.recipe: got 'long', which is not a recipe; allowed: short",
    ),
    (
        "protocol of a case",
        set_in("cases", "full-ce", protocol="twice"),
        "cases.full-ce.protocol: got 'twice', which is not a protocol; allowed: once",
    ),
    (
        "recipe of the pretext task",
        lambda raw: raw["pretext"].update(recipe="long"),
        "pretext.recipe: got 'long', which is not a recipe; allowed: short",
    ),
    (
        "kept activations of the pretext task",
        lambda raw: (
            add_to("recipes", "kept", "short", cache_views=1)(raw),
            raw["pretext"].update(recipe="kept"),
        ),
        "pretext.recipe: got 'kept', whose cache_views is not 0, but pretext trains the whole "
        "network; allowed: a recipe with cache_views: 0",
    ),
    (
        "kept activations of a case without frozen layers",
        lambda raw: (
            add_to("recipes", "kept", "short", cache_views=3)(raw),
            set_in("cases", "full-ce", recipe="kept")(raw),
        ),
        "cases.full-ce.recipe: got 'kept', whose cache_views is 3, with train: all, where nothing "
        "is frozen; allowed: a recipe with cache_views: 0, or train: head or last-<n>",
    ),
    (
        "first epochs of the head alone where no other trains more",
        lambda raw: (
            add_to("recipes", "probed", "short", epochs=3, head_epochs=2)(raw),
            set_in("cases", "full-ce", recipe="probed", train="head")(raw),
        ),
        "cases.full-ce.recipe: got 'probed', whose head_epochs is 2, with train: head, where no "
        "more than the head is to train; allowed: a recipe with head_epochs: 0, or train: all or "
        "last-<n>",
    ),
    (
        "several devices for the pretext task",
        lambda raw: (
            add_to("recipes", "shared", "short", devices=2)(raw),
            raw["pretext"].update(recipe="shared"),
        ),
        "pretext.recipe: got 'shared', which asks for several devices, but a pretext task is "
        "learned by one; allowed: a recipe with devices: 1 and num_nodes: 1",
    ),
    (
        "more devices than images of a batch",
        add_to("recipes", "shared", "short", batch_size=5, devices=2, num_nodes=3),
        "recipes.shared.batch_size: got 5, of all devices together, with devices: 2 and num_nodes: "
        "3; allowed: at least 6, an image for each of them; or fewer devices",
    ),
    (
        "mixed images of which activations are kept",
        add_to("recipes", "mixed", "short", mixup=0.2, cache_views=1),
        "recipes.mixed.mixup: got 0.2 with cache_views: 1, whose images are no more there to be "
        "mixed; allowed: 0, or cache_views: 0",
    ),
    (
        "no epoch but those of the head",
        set_in("recipes", "short", epochs=2, head_epochs=2),
        "recipes.short.head_epochs: got 2 of 2 epochs, so that the head alone would train; "
        "allowed: 0 to 1",
    ),
    (
        "augmentation of the pretext task",
        lambda raw: raw["pretext"].update(augment="heavy"),
        "pretext.augment: got 'heavy', which is not an augmentation; allowed: light",
    ),
    (
        "made weights with another path than the code that makes them",
        add_to("weights", "own", "cnn3-random", source={"kind": "random", "path": "stages"}),
        f"weights.own.source.path: got 'stages'; allowed here: {INITIAL!r}, which makes it",
    ),
    (
        "taught weights with another path than the code that draws the task",
        add_to("weights", "own", "cnn3-random", source={"kind": "pretext", "path": INITIAL}),
        f"weights.own.source.path: got {INITIAL!r}; allowed here: 'stages/phantoms', "
        "which makes it",
    ),
    (
        "weights of a file of another format",
        add_to("weights", "own", "cnn3-random", source=file_source("model.h5", "imagenet")),
        "weights.own.source.path: got 'model.h5'; allowed: a file named *.safetensors, *.pth, "
        "*.pt, *.bin; or a folder of model.safetensors and meta.json, with scaling: {kind: meta}",
    ),
    (
        "a scaling from a file beside the one that is watched",
        add_to("weights", "own", "cnn3-random", source=file_source("w/model.safetensors", "meta")),
        "weights.own.source.path: got 'w/model.safetensors' with the scaling of a meta.json; "
        "allowed here: the folder of model.safetensors and meta.json, so that DVC watches both",
    ),
    (
        "cnn3 from timm",
        add_to("weights", "own", "cnn3-random", source={"kind": "timm", "path": INITIAL}),
        "weights.own.model: got 'cnn3'; allowed for weights of timm: a timm model name",
    ),
    (
        "one name for weights and a case",
        add_to("weights", "full-ce", "cnn3-random"),
        "weights.full-ce: a case has this name too; both write data/weights/full-ce/; rename one",
    ),
    (
        "a seed twice",
        set_in("protocols", "once", seeds=[1, 2, 1]),
        "protocols.once.seeds: got [1, 2, 1]; allowed: each seed once",
    ),
    (
        "a case of several seeds as weights",
        lambda raw: (
            add_to("protocols", "twice", "once", seeds=[1, 2])(raw),
            set_in("cases", "full-ce", protocol="twice")(raw),
            set_in("cases", "lungs-bce", weights="full-ce")(raw),
        ),
        SEVERAL_TRAININGS,
    ),
    (
        "a case of several folds as weights",
        lambda raw: (
            add_to("protocols", "folds", "once", folds=2)(raw),
            set_in("cases", "full-ce", protocol="folds")(raw),
            set_in("cases", "lungs-bce", weights="full-ce")(raw),
        ),
        SEVERAL_TRAININGS,
    ),
    (
        "weights that have seen the images that folds test",
        lambda raw: (
            add_to("protocols", "folds", "once", folds=2)(raw),
            set_in("cases", "lungs-bce", weights="full-ce", protocol="folds")(raw),
        ),
        "cases.lungs-bce.weights: got 'full-ce', trained on the images that the folds of this "
        "case test; allowed with folds: an entry of weights, or a case on another data set",
    ),
    (
        "folds that no table gives",
        lambda raw: (
            add_to("protocols", "folds", "once", folds="given")(raw),
            set_in("cases", "full-ce", protocol="folds")(raw),
        ),
        "cases.full-ce.protocol: got 'folds', whose folds are given, on a data set without "
        "table.fold; allowed: a protocol with a number of folds",
    ),
    (
        "given folds without grouping",
        add_to("protocols", "random", "once", folds="given", grouping="none"),
        "protocols.random.grouping: got 'none' with folds given, which are not dealt here; "
        "allowed: group, or a number of folds",
    ),
    (
        "a start from a case whose images were dealt at random",
        lambda raw: (
            add_to("protocols", "random", "once", grouping="none")(raw),
            set_in("cases", "full-ce", protocol="random")(raw),
            set_in("cases", "lungs-bce", weights="full-ce")(raw),
        ),
        "cases.lungs-bce.weights: got 'full-ce', which may have seen the images that this case "
        "tests, as one of the two is of an optimistic protocol; allowed: an entry of weights, or a "
        "case on another data set",
    ),
    (
        "copies that stay with their image",
        add_to("protocols", "copied", "once", augmented_copies=2),
        "protocols.copied.augmented_copies: got 2 with grouping group, which keeps an image and "
        "its copies together; allowed: 0, or grouping: none",
    ),
    (
        "patients of a table that is not there",
        add_to("datasets", "spare", "ct", group=BY_TABLE),
        "datasets.spare.group.kind: got table, but table.patient is no column; allowed: a column, "
        "or another kind",
    ),
    (
        "patients of a table without their column",
        add_to("datasets", "spare", "ct", **FILES, group=BY_TABLE, table=TABLE),
        "datasets.spare.group.kind: got table, but table.patient is no column; allowed: a column, "
        "or another kind",
    ),
    (
        "a column of patients that nobody looks at",
        add_to("datasets", "spare", "ct", **FILES, table=TABLE | {"patient": "who"}),
        "datasets.spare.table.patient: got 'who', which group {kind: none} leaves aside; allowed: "
        "null, or group.kind table",
    ),
    (
        "a table of phantoms",
        add_to("datasets", "spare", "ct", table=TABLE),
        "datasets.spare.table: got a table; allowed for phantoms: null",
    ),
    (
        "metadata of phantoms",
        add_to("datasets", "spare", "ct", metadata=METADATA),
        "datasets.spare.metadata: got a table; allowed for phantoms: null",
    ),
    (
        "a column of metadata named twice",
        add_to("datasets", "spare", "ct", **FILES, metadata=metadata_of("age", " age")),
        "datasets.spare.metadata.columns: got 'age'; allowed: each column once, with a name that "
        "is not image_id",
    ),
    (
        "a column of metadata by which images are named",
        add_to("datasets", "spare", "ct", **FILES, metadata=metadata_of("image_id")),
        "datasets.spare.metadata.columns: got 'image_id'; allowed: each column once, with a name "
        "that is not image_id",
    ),
    (
        "a column of metadata that is the label",
        add_to(
            "datasets",
            "spare",
            "ct",
            **FILES,
            table=TABLE | {"label": "finding"},
            metadata=metadata_of("age", "finding"),
        ),
        "datasets.spare.metadata.columns: got 'finding', which is the label; allowed: columns that "
        "describe an image without naming its class",
    ),
    (
        "files of truth for phantoms",
        add_to("datasets", "spare", "ct", truth=FILES_OF_TRUTH),
        "datasets.spare.truth.kind: got files; allowed for phantoms, which bring theirs: source",
    ),
    (
        "files of truth that name none",
        add_to("datasets", "spare", "ct", **FILES, truth=FILES_OF_TRUTH | {"boxes": None}),
        "datasets.spare.truth: got neither lungs nor boxes; allowed: one or both, or kind: source",
    ),
    (
        "values of masks without masks",
        add_to("datasets", "spare", "ct", **FILES, truth=FILES_OF_TRUTH | {"lung_values": [1]}),
        "datasets.spare.truth.lung_values: got values without lungs; allowed: []",
    ),
    (
        "findings without boxes",
        add_to(
            "datasets",
            "spare",
            "ct",
            **FILES,
            truth=FILES_OF_TRUTH | {"boxes": None, "lungs": "m", "findings": ["Mass"]},
        ),
        "datasets.spare.truth.findings: got findings without boxes; allowed: []",
    ),
    (
        "truth of the source at another path",
        add_to("datasets", "spare", "ct", truth={"kind": "source", "path": "masks"}),
        "datasets.spare.truth.path: got 'masks'; allowed here: 'stages/dataset/truth.py', which "
        "makes it",
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
        "case of a search",
        search_over("full-ce", "gone"),
        "searches.spare.cases: got 'gone', which is not a case; allowed: full-ce, lungs-bce",
    ),
    (
        "case twice in a search",
        search_over("full-ce", "full-ce"),
        "searches.spare.cases: got full-ce more than once; allowed: each case once",
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
        "phantoms without a cohort",
        set_in("datasets", "ct", cohort=None),
        "datasets.ct.cohort: got None; allowed for a source of phantoms: who is to be drawn",
    ),
    (
        "phantoms with another path than the code that draws them",
        set_in("datasets", "ct", source={"kind": "phantom", "path": "data"}),
        "datasets.ct.source.path: got 'data'; allowed here: 'stages/phantoms', which makes it",
    ),
    (
        "patients of a cohort",
        set_in_cohort(patients={"covid": 3, "sick": 3}),
        "datasets.ct.cohort.patients: got the classes covid, sick; allowed for phantoms of kind "
        "ct: exactly covid, normal",
    ),
    (
        "markers of a cohort",
        set_in_cohort(marker_share={"covid": 0.5}),
        "datasets.ct.cohort.marker_share: got the classes covid; allowed for phantoms of kind ct: "
        "exactly covid, normal",
    ),
    (
        "classes that phantoms have not",
        add_to("datasets", "spare", "ct", classes=ALL_CLASSES),
        "datasets.spare.classes: got the classes covid, normal, pneumonia; allowed for phantoms "
        "of kind ct: exactly covid, normal",
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
    source = {"kind": "timm", "path": INITIAL}
    tiny_params["weights"]["r"] = {"model": "resnet18.a1_in1k", "source": source}
    add = add_to("cases", "tagged", "full-ce", model="resnet18", weights="r")
    assert problems_after(tiny_params, add) == []


def test_a_case_may_start_from_the_model_of_another_case(tiny_params: RawParams) -> None:
    add = add_to("cases", "second", "full-ce", weights="lungs-bce")
    assert problems_after(tiny_params, add) == []


def with_three_classes(raw: RawParams) -> None:
    """A second data set, of three classes, with a view of its own."""
    few = dict.fromkeys(ALL_CLASSES, 3)
    cohort = {"kind": "xray3", "patients": few, "images_per_patient": 1}
    cohort["marker_share"] = dict.fromkeys(ALL_CLASSES, 0.5)
    add_to("datasets", "xray3", "ct", cohort=cohort, classes=ALL_CLASSES)(raw)
    add_to("views", "three", "full", dataset="xray3")(raw)


def test_one_logit_is_refused_for_three_classes(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add = add_to("cases", "third", "lungs-bce", view="three")
    assert problems_after(tiny_params, add) == [
        "cases.third.loss.kind: got 'bce' for 3 classes; allowed here: ce, weighted_ce, focal (bce "
        "has one logit and needs two classes)"
    ]


@pytest.mark.parametrize("loss", ["ce", "weighted_ce"])
def test_a_softmax_loss_is_refused_where_classes_imply_others(
    tiny_params: RawParams, loss: str
) -> None:
    set_in("datasets", "ct", implies={"covid": ["normal"]})(tiny_params)
    change = set_in("cases", "full-ce", loss={"kind": loss, "label_smoothing": 0.0})
    assert problems_after(tiny_params, change) == [
        f"cases.full-ce.loss.kind: got '{loss}' for a data set in which classes imply others; "
        "allowed here: bce, focal"
    ]


@pytest.mark.parametrize(
    "loss",
    [{"kind": "bce", "label_smoothing": 0.0}, {"kind": "focal", "gamma": 2.0, "alpha": 0.25}],
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


@pytest.mark.parametrize("name", ["covid_low", "covid_high", "covid_p_value", "macro"])
def test_a_class_may_be_named_as_it_likes(tiny_params: RawParams, name: str) -> None:
    settings = {"source": {"kind": "folder", "path": "/data/own"}, "positive": name}
    classes = {"normal": ["normal"], name: ["covid"]}
    add = add_to("datasets", "own", "ct", classes=classes, **settings)
    assert problems_after(tiny_params, add) == []


def test_a_folder_may_keep_the_cohort_of_the_phantoms_that_it_replaces(
    tiny_params: RawParams,
) -> None:
    folder = {"kind": "folder", "path": "/data/ct"}
    assert problems_after(tiny_params, set_in("datasets", "ct", source=folder)) == []


def with_folds_on_a_chain(raw: RawParams, *, first_view: str) -> list[str]:
    """Problems of a case with folds that starts from a case that starts from a third case."""
    with_three_classes(raw)
    add_to("cases", "first", "full-ce", view=first_view)(raw)
    add_to("cases", "second", "full-ce", view="three", weights="first")(raw)
    add_to("protocols", "folds", "once", folds=2)(raw)
    add = add_to("cases", "last", "full-ce", weights="second", protocol="folds")
    return problems_after(raw, add)


def test_folds_refuse_a_chain_of_cases_that_has_seen_their_images(tiny_params: RawParams) -> None:
    assert with_folds_on_a_chain(tiny_params, first_view="lungs") == [
        "cases.last.weights: got 'second', trained on the images that the folds of this case "
        "test; allowed with folds: an entry of weights, or a case on another data set"
    ]


def test_folds_take_a_chain_of_cases_on_another_data_set(tiny_params: RawParams) -> None:
    assert with_folds_on_a_chain(tiny_params, first_view="three") == []


def test_a_circle_of_cases_that_start_from_each_other_is_named_once(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add_to("cases", "one", "full-ce", view="three", weights="two")(tiny_params)
    add_to("cases", "two", "full-ce", view="three", weights="one")(tiny_params)
    add_to("protocols", "folds", "once", folds=2)(tiny_params)
    add = add_to("cases", "last", "full-ce", weights="one", protocol="folds")
    assert problems_after(tiny_params, add) == [
        "cases.one.weights: got 'two', which starts from one itself (one, two and again one); "
        "allowed: an entry of weights, or a case that needs no model of this one"
    ]


def test_a_case_does_not_start_from_itself(tiny_params: RawParams) -> None:
    assert problems_after(tiny_params, set_in("cases", "full-ce", weights="full-ce")) == [
        "cases.full-ce.weights: got 'full-ce', which starts from full-ce itself; allowed: an entry "
        "of weights, or a case that needs no model of this one"
    ]


def test_lists_that_name_columns_have_each_entry_once(tiny_params: RawParams) -> None:
    tiny_params["cam"]["methods"] = ["gradcam", "eigencam", "gradcam"]
    tiny_params["evaluate"]["prevalences"] = [0.1, 0.5, 0.1000000001]
    assert find_reference_problems(parse_params(tiny_params)) == [
        "cam.methods: got gradcam twice; allowed: each once, to six digits",
        "evaluate.prevalences: got 0.1 twice; allowed: each once, to six digits",
    ]


def test_cases_on_two_data_sets_cannot_be_compared(tiny_params: RawParams) -> None:
    with_three_classes(tiny_params)
    add_to("cases", "third", "full-ce", view="three")(tiny_params)
    change: Change = lambda raw: raw["comparisons"].update(crop=["third", "full-ce"])  # noqa: E731
    assert problems_after(tiny_params, change) == [
        "comparisons.crop: got cases on ct and xray3; allowed: two cases on the same data set"
    ]


def test_a_search_is_over_cases_that_are_validated_on_the_same_images(
    tiny_params: RawParams,
) -> None:
    with_three_classes(tiny_params)
    add_to("cases", "third", "full-ce", view="three")(tiny_params)
    add_to("protocols", "folds", "once", folds=2)(tiny_params)
    add_to("cases", "folded", "full-ce", protocol="folds")(tiny_params)
    add_to("protocols", "seeds", "once", seeds=[1, 2], ensemble=True)(tiny_params)
    add_to("cases", "seeded", "full-ce", protocol="seeds")(tiny_params)
    assert problems_after(tiny_params, search_over("third", "full-ce")) == [
        "searches.spare.cases: got cases on ct and xray3; allowed: cases on the same data set, "
        "which are validated on the same images"
    ]
    assert problems_after(tiny_params, search_over("folded", "full-ce")) == [
        "searches.spare.cases: got protocols that differ in folds, held_out or grouping; allowed: "
        "cases that are validated on the same images"
    ]
    assert problems_after(tiny_params, search_over("seeded", "full-ce")) == []


def test_a_search_takes_no_case_that_is_chosen_by_its_test_images(tiny_params: RawParams) -> None:
    add_to("protocols", "published", "once", held_out="both")(tiny_params)
    for case in tiny_params["cases"].values():
        case["protocol"] = "published"
    found = problems_after(tiny_params, search_over("full-ce", "lungs-bce"))
    assert len(found) == 2
    assert found[0].startswith(
        "searches.spare.cases: got full-ce, whose protocol 'published' is optimistic; allowed: "
    )


def test_all_contradictions_are_listed_at_once(tiny_params: RawParams) -> None:
    set_in("datasets", "ct", positive="sick")(tiny_params)
    found = problems_after(tiny_params, set_in("cases", "full-ce", view="whole"))
    assert [problem.partition(":")[0] for problem in found] == [
        "datasets.ct.positive",
        "cases.full-ce.view",
    ]


def test_the_classes_of_phantoms_are_those_that_are_drawn() -> None:
    assert source_references.PHANTOM_CLASSES == PHANTOM_CLASSES


def abroad(**changes: object) -> Change:
    """An external test of lungs-bce on a second data set of the same kind, with some changes."""
    classes = {"covid": "covid", "normal": "normal"}
    settings: dict[str, object] = {"case": "lungs-bce", "view": "there", "classes": classes}

    def change(raw: RawParams) -> None:
        fields = {"size_px", "crop", "fit", "dataset"} & set(changes)
        cohort = raw["datasets"]["ct"]["cohort"] | {"kind": "ct_b"}
        raw["datasets"]["ct-b"] = raw["datasets"]["ct"] | {"cohort": cohort}
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
            "view: got 'there', whose size_px is not that of lungs, the view of lungs-bce",
        ),
        ({"crop": {"kind": "none"}}, "view: got 'there', whose crop is not that of lungs"),
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


def problems(raw: RawParams) -> list[str]:
    return find_reference_problems(parse_params(raw))


def test_costs_and_orders_name_a_data_set_and_each_of_its_classes(tiny_params: RawParams) -> None:
    tiny_params["evaluate"]["costs"] = {
        "ct": {"covid": {"covid": 1, "normal": 2}, "flu": {}},
        "mri": {},
    }
    tiny_params["evaluate"]["ordered"] = {"ct": ["normal", "normal"], "mri": []}
    assert problems(tiny_params) == [
        "evaluate.costs.ct: got covid, flu; allowed: exactly its classes, normal, covid",
        "evaluate.costs.ct.covid: got covid, normal; allowed: exactly the other classes, normal; "
        "a right decision costs 0",
        "evaluate.costs.mri: got 'mri', which is not a data set; allowed: ct",
        "evaluate.ordered.ct: got normal, normal; allowed: each class once, normal, covid",
        "evaluate.ordered.mri: got 'mri', which is not a data set; allowed: ct",
    ]


def test_of_the_costs_one_at_least_is_above_0(tiny_params: RawParams) -> None:
    costs = {"covid": {"normal": 0}, "normal": {"covid": 0}}
    tiny_params["evaluate"]["costs"] = {"ct": costs}
    assert problems(tiny_params) == [
        "evaluate.costs.ct: got no cost above 0; allowed: at least one error that costs something",
    ]
    costs["covid"]["normal"] = 3
    tiny_params["evaluate"]["ordered"] = {"ct": ["covid", "normal"]}
    assert problems(tiny_params) == []


REMOTE = {"address": "https://a.org/set.zip", "file": None, "sha256": None, "unpack": False}


def set_downloads(*files: RawParams) -> Change:
    named = {f"f{number}": REMOTE | file for number, file in enumerate(files)}
    return lambda raw: raw.update({"downloads": {"x": named}})


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"address": "http://a.org:8080/set.zip", "sha256": "0" * 64},
        {"address": "https://[::1]/set.zip"},
        {"address": "kaggle:owner/some-set_1/versions/3"},
        {"address": "gdrive:1-HQQciKYfwAO3oH7ci6zhg45DduvkpnK", "file": "set (1).zip"},
    ],
)
def test_addresses_that_can_be_asked(tiny_params: RawParams, file: RawParams) -> None:
    assert problems_after(tiny_params, set_downloads(file)) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            [{"address": "http://a.org/set.zip"}],
            "downloads.x.f0.address: got 'http://a.org/set.zip'",
        ),
        ([{"address": "https://me:secret@a.org/set.zip"}], "which Git would keep"),
        ([{"address": "https://:80/set.zip"}], "names no server"),
        ([{"address": "https://a.org:99999/set.zip"}], "names no server"),
        ([{"address": "https://[::1/set.zip"}], "names no server"),
        ([{"address": "kaggle:o/s", "sha256": "0" * 64}], "downloads.x.f0.sha256: got"),
        ([{"address": "kaggle:o/s", "file": "a.zip"}], "downloads.x.f0.file: got 'a.zip'"),
        ([{"file": "a.zip"}, {"file": "a.zip"}], "downloads.x: got 'a.zip' as the name of 2 files"),
    ],
)
def test_addresses_that_cannot_be_asked(
    tiny_params: RawParams, files: list[RawParams], said: str
) -> None:
    problems = problems_after(tiny_params, set_downloads(*files))
    assert len(problems) == 1
    assert said in problems[0]
    assert "secret" not in problems[0]


@pytest.mark.parametrize(
    "file",
    [
        {"address": "ftp://a.org/set.zip"},
        {"address": "file:///etc/passwd"},
        {"address": "kaggle:owner"},
        {"address": "kaggle:owner/../slug"},
        {"address": "kaggle:../slug"},
        {"address": "kaggle:owner/slug/versions/0"},
        {"address": "gdrive:a b"},
        {"address": "https://a.org/a b"},
        {"address": ""},
        {"file": "../a.zip"},
        {"file": ".hidden"},
        {"file": "-rf"},
        {"file": "a/b.zip"},
        {"file": "a\nb.zip"},
        {"sha256": "0" * 63},
        {"sha256": "0" * 63 + "G"},
        {"unpack": "yes"},
    ],
)
def test_addresses_names_and_hashes_that_are_none(tiny_params: RawParams, file: RawParams) -> None:
    set_downloads(file)(tiny_params)
    with pytest.raises(UserError, match=r"params\.yaml: downloads\.x\.f0\."):
        parse_params(tiny_params)


def set_source(path: str) -> Change:
    source = {"kind": "folder", "path": path}
    return lambda raw: raw["datasets"]["ct"].update({"source": source, "cohort": None})


def test_a_source_may_lie_in_a_download(tiny_params: RawParams) -> None:
    set_downloads({})(tiny_params)
    assert problems_after(tiny_params, set_source("./data/downloads/x/folder")) == []


@pytest.mark.parametrize(
    "path", ["data/downloads/y", "data/downloads", "data/prepared/../downloads/y/z"]
)
def test_a_source_in_no_download_is_none(tiny_params: RawParams, path: str) -> None:
    set_downloads({})(tiny_params)
    (problem,) = problems_after(tiny_params, set_source(path))
    assert problem.startswith(f"datasets.ct.source.path: got {path!r}")
    assert "allowed in data/downloads: data/downloads/x/...;" in problem


def test_truth_and_weights_in_no_download_are_none(tiny_params: RawParams) -> None:
    def change(raw: RawParams) -> None:
        set_source("/data/x")(raw)
        raw["datasets"]["ct"]["truth"] = FILES_OF_TRUTH | {"path": "data/downloads/t"}
        source = file_source("data/downloads/w/a.pth", "imagenet")
        raw["weights"]["cnn3-random"]["source"] = source

    starts = [problem.partition(":")[0] for problem in problems_after(tiny_params, change)]
    assert starts == ["datasets.ct.truth.path", "weights.cnn3-random.source.path"]
