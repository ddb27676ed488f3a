"""Checks across the sections of params.yaml: what one entry says about another."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from stages.config.params import (
    Case,
    Dataset,
    External,
    FileWeights,
    Params,
    Protocol,
    Recipe,
    Search,
    View,
    Weights,
)
from stages.config.source_references import (
    PHANTOM_CODE,
    find_source_problems,
    path_problems,
    unknown,
)

# Networks that are built here; all others are timm's. `darkcovidnet2` is the published network of
# two classes, which has two last maps where that of three has three.
OWN_NETWORKS = ("cnn3", "darkcovidnet", "darkcovidnet2")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# What DVC watches where something is made by code: the code.
WEIGHTS_CODE = {
    "random": "stages/modeling/initial.py",
    "timm": "stages/modeling/initial.py",
    "package": "stages/modeling/packages.py",
    "pretext": PHANTOM_CODE,
}


def find_reference_problems(params: Params) -> list[str]:
    """One line per contradiction: full key path, what was got, what is allowed."""
    return list(
        itertools.chain(
            find_source_problems(params),
            _view_problems(params),
            _pretext_problems(params),
            *(_weights_problems(f"weights.{n}", w) for n, w in params.weights.items()),
            _shared_name_problems(params),
            *(_recipe_problems(f"recipes.{n}", r) for n, r in params.recipes.items()),
            *(_protocol_problems(f"protocols.{n}", p) for n, p in params.protocols.items()),
            *(_case_problems(params, f"cases.{n}", c) for n, c in params.cases.items()),
            _circle_problems(params),
            _comparison_problems(params),
            *(_search_problems(params, f"searches.{n}", s) for n, s in params.searches.items()),
            *(_external_problems(params, f"external.{n}", e) for n, e in params.external.items()),
            _cost_problems(params),
            _order_problems(params),
            _cam_problems(params),
            _repetition_problems(params),
        )
    )


def architecture(model: str) -> str:
    """The architecture of a model name, without the `.tag` of timm's weights."""
    return model.partition(".")[0]


def keeps_fc(model: str) -> bool:
    """Whether this is a VGG that keeps its two old FC layers: `vgg16_fc`, not a name of timm's."""
    return re.fullmatch(r"vgg\d+(_bn)?_fc", architecture(model)) is not None


def timm_name(model: str) -> str:
    """The name by which timm knows a network, with its tag."""
    return model.replace("_fc", "", 1) if keeps_fc(model) else model


def _view_problems(params: Params) -> Iterator[str]:
    for name, view in params.views.items():
        if view.dataset not in params.datasets:
            yield unknown(f"views.{name}.dataset", view.dataset, "a data set", params.datasets)
            continue
        stored = params.datasets[view.dataset].size_px
        if view.size_px > stored:
            yield (
                f"views.{name}.size_px: got {view.size_px}, more pixels than datasets."
                f"{view.dataset}.size_px keeps of a picture; allowed: at most {stored}"
            )


def _pretext_problems(params: Params) -> Iterator[str]:
    task = params.pretext
    if task.augment not in params.augmentations:
        known = params.augmentations
        yield unknown("pretext.augment", task.augment, "an augmentation", known)
    if task.recipe not in params.recipes:
        yield unknown("pretext.recipe", task.recipe, "a recipe", params.recipes)
    elif params.recipes[task.recipe].cache_views:
        yield (
            f"pretext.recipe: got {task.recipe!r}, whose cache_views is not 0, but pretext trains "
            "the whole network; allowed: a recipe with cache_views: 0"
        )
    elif params.recipes[task.recipe].processes > 1:
        yield (
            f"pretext.recipe: got {task.recipe!r}, which asks for several devices, but a pretext "
            "task is learned by one; allowed: a recipe with devices: 1 and num_nodes: 1"
        )


def _weights_problems(where: str, weights: Weights) -> Iterator[str]:
    source = weights.source
    if source.kind == "file":
        yield from _file_problems(f"{where}.source", source)
        return
    yield from path_problems(f"{where}.source", source.path, WEIGHTS_CODE[source.kind])
    if source.kind == "timm" and weights.model in OWN_NETWORKS:
        yield (
            f"{where}.model: got {weights.model!r}; allowed for weights of timm: a timm model name"
        )


def _file_problems(where: str, source: FileWeights) -> Iterator[str]:
    """A scaling that is read from a file needs a path by which DVC watches that file too."""
    is_file = source.path.endswith(WEIGHTS_SUFFIXES)
    if source.scaling.kind == "meta" and is_file:
        yield (
            f"{where}.path: got {source.path!r} with the scaling of a meta.json; allowed here: the "
            "folder of model.safetensors and meta.json, so that DVC watches both"
        )
    if source.scaling.kind != "meta" and not is_file:
        yield (
            f"{where}.path: got {source.path!r}; allowed: a file named "
            f"{', '.join(f'*{suffix}' for suffix in WEIGHTS_SUFFIXES)}; or a folder of "
            "model.safetensors and meta.json, with scaling: {kind: meta}"
        )


def _shared_name_problems(params: Params) -> Iterator[str]:
    for name in params.weights.keys() & params.cases.keys():
        where = f"data/weights/{name}/"
        yield f"weights.{name}: a case has this name too; both write {where}; rename one"


def _case_problems(params: Params, where: str, case: Case) -> Iterator[str]:
    for key, what, known in (
        ("view", "a view", params.views),
        ("augment", "an augmentation", params.augmentations),
        ("recipe", "a recipe", params.recipes),
        ("protocol", "a protocol", params.protocols),
    ):
        if getattr(case, key) not in known:
            yield unknown(f"{where}.{key}", getattr(case, key), what, known)
    yield from _case_weights_problems(params, where, case)
    view = params.views.get(case.view)
    dataset = params.datasets.get(view.dataset) if view else None
    if dataset:
        yield from _loss_problems(where, case, dataset)
        yield from _fold_problems(params, where, case, dataset)
    recipe = params.recipes.get(case.recipe)
    if recipe:
        yield from _level_problems(where, case, recipe)


def _level_problems(where: str, case: Case, recipe: Recipe) -> Iterator[str]:
    """What of a recipe means nothing for the part of a network that a case trains."""
    if recipe.cache_views and case.train == "all":
        yield (
            f"{where}.recipe: got {case.recipe!r}, whose cache_views is {recipe.cache_views}, with "
            "train: all, where nothing is frozen; allowed: a recipe with cache_views: 0, or "
            "train: head or last-<n>"
        )
    if recipe.head_epochs and case.train == "head":
        yield (
            f"{where}.recipe: got {case.recipe!r}, whose head_epochs is {recipe.head_epochs}, with "
            "train: head, where no more than the head is to train; allowed: a recipe with "
            "head_epochs: 0, or train: all or last-<n>"
        )


def _recipe_problems(where: str, recipe: Recipe) -> Iterator[str]:
    if recipe.head_epochs >= recipe.epochs:
        yield (
            f"{where}.head_epochs: got {recipe.head_epochs} of {recipe.epochs} epochs, so that the "
            f"head alone would train; allowed: 0 to {recipe.epochs - 1}"
        )
    if recipe.mixup and recipe.cache_views:
        yield (
            f"{where}.mixup: got {recipe.mixup:g} with cache_views: {recipe.cache_views}, whose "
            "images are no more there to be mixed; allowed: 0, or cache_views: 0"
        )
    if recipe.processes > recipe.batch_size:
        yield (
            f"{where}.batch_size: got {recipe.batch_size}, of all devices together, with devices: "
            f"{recipe.devices} and num_nodes: {recipe.num_nodes}; allowed: at least "
            f"{recipe.processes}, an image for each of them; or fewer devices"
        )


def _protocol_problems(where: str, protocol: Protocol) -> Iterator[str]:
    if len(set(protocol.seeds)) < len(protocol.seeds):
        yield f"{where}.seeds: got {protocol.seeds}; allowed: each seed once"
    if protocol.folds == "given" and protocol.grouping == "none":
        yield (
            f"{where}.grouping: got 'none' with folds given, which are not dealt here; allowed: "
            "group, or a number of folds"
        )
    if protocol.augmented_copies and protocol.grouping == "group":
        yield (
            f"{where}.augmented_copies: got {protocol.augmented_copies} with grouping group, which "
            "keeps an image and its copies together; allowed: 0, or grouping: none"
        )


def _fold_problems(params: Params, where: str, case: Case, dataset: Dataset) -> Iterator[str]:
    protocol = params.protocols.get(case.protocol)
    has_folds = dataset.table is not None and dataset.table.fold is not None
    if protocol is not None and protocol.folds == "given" and not has_folds:
        yield (
            f"{where}.protocol: got {case.protocol!r}, whose folds are given, on a data set "
            "without table.fold; allowed: a protocol with a number of folds"
        )


def _loss_problems(where: str, case: Case, dataset: Dataset) -> Iterator[str]:
    got = f"{where}.loss.kind: got {case.loss.kind!r}"
    if dataset.implies and case.loss.kind not in ("bce", "focal"):
        yield f"{got} for a data set in which classes imply others; allowed here: bce, focal"
    if not dataset.implies and case.loss.kind == "bce" and len(dataset.classes) != 2:
        yield (
            f"{got} for {len(dataset.classes)} classes; allowed here: ce, weighted_ce, focal "
            "(bce has one logit and needs two classes)"
        )


def _case_weights_problems(params: Params, where: str, case: Case) -> Iterator[str]:
    if case.weights in params.weights:
        model = params.weights[case.weights].model
    elif case.weights in params.cases:
        model = params.cases[case.weights].model
        if not _is_one_run(params, params.cases[case.weights]):
            yield (
                f"{where}.weights: got {case.weights!r}, a case of several trainings; "
                "allowed: a case with folds 1 and one seed"
            )
    else:
        known = [*params.weights, *params.cases]
        yield unknown(f"{where}.weights", case.weights, "an entry of weights or a case", known)
        return
    seen = _starts_on_same_images(params, case)
    if seen and _has_folds(params, case):
        yield (
            f"{where}.weights: got {case.weights!r}, trained on the images that the folds of this "
            "case test; allowed with folds: an entry of weights, or a case on another data set"
        )
    elif seen and any(_is_optimistic(params, other) for other in [case, *seen]):
        yield (
            f"{where}.weights: got {case.weights!r}, which may have seen the images that this case "
            "tests, as one of the two is of an optimistic protocol; allowed: an entry of weights, "
            "or a case on another data set"
        )
    if architecture(model) != architecture(case.model):
        yield (
            f"{where}.weights: got {case.weights!r}, which is for {model}; "
            f"allowed: weights for {case.model}"
        )


def _circle_problems(params: Params) -> Iterator[str]:
    """Cases that start from each other, of which none can be the first; each circle once."""
    told = set[str]()
    for name, case in params.cases.items():
        chain, start = [name], case.weights
        while start in params.cases and start not in chain:
            chain.append(start)
            start = params.cases[start].weights
        if start == name and name not in told:
            told.update(chain)
            way = f" ({', '.join(chain)} and again {name})" if len(chain) > 1 else ""
            yield (
                f"cases.{name}.weights: got {case.weights!r}, which starts from {name} itself"
                f"{way}; allowed: an entry of weights, or a case that needs no model of this one"
            )


def _is_one_run(params: Params, case: Case) -> bool:
    """Whether the case is a single training; True where its protocol is unknown, said elsewhere."""
    protocol = params.protocols.get(case.protocol)
    return protocol is None or protocol.is_one_run


def _has_folds(params: Params, case: Case) -> bool:
    protocol = params.protocols.get(case.protocol)
    return protocol is not None and protocol.has_folds


def _is_optimistic(params: Params, case: Case) -> bool:
    protocol = params.protocols.get(case.protocol)
    return protocol is not None and protocol.is_optimistic


def _starts_on_same_images(params: Params, case: Case) -> list[Case]:
    """The cases that this one starts from, directly or not, that have seen the same data set."""
    own, seen = _dataset_of(params, case), dict[str, Case]()
    start = case.weights
    while start in params.cases and start not in seen:
        seen[start] = params.cases[start]
        start = params.cases[start].weights
    return [other for other in seen.values() if _dataset_of(params, other) == own]


def _dataset_of(params: Params, case: Case) -> str | None:
    return params.views[case.view].dataset if case.view in params.views else None


def _comparison_problems(params: Params) -> Iterator[str]:
    for name, pair in params.comparisons.items():
        where = f"comparisons.{name}"
        for case in pair:
            if case not in params.cases:
                yield unknown(where, case, "a case", params.cases)
        if len(set(pair)) < len(pair):
            yield f"{where}: got {pair[0]!r} twice; allowed: two different cases"
        datasets = _datasets_of(params, pair)
        if len(datasets) > 1:
            yield (
                f"{where}: got cases on {' and '.join(datasets)}; "
                "allowed: two cases on the same data set"
            )


def _datasets_of(params: Params, cases: Iterable[str]) -> list[str]:
    """The data sets that these cases are on, as far as the names are right."""
    known = (params.cases[case] for case in cases if case in params.cases)
    return sorted({name for case in known if (name := _dataset_of(params, case))})


def _search_problems(params: Params, where: str, search: Search) -> Iterator[str]:
    for case in search.cases:
        if case not in params.cases:
            yield unknown(f"{where}.cases", case, "a case", params.cases)
    twice = [case for case, count in Counter(search.cases).items() if count > 1]
    if twice:
        yield f"{where}.cases: got {', '.join(twice)} more than once; allowed: each case once"
    datasets = _datasets_of(params, search.cases)
    if len(datasets) > 1:
        yield (
            f"{where}.cases: got cases on {' and '.join(datasets)}; allowed: cases on the same "
            "data set, which are validated on the same images"
        )
    protocols = {
        case: params.protocols[name]
        for case in search.cases
        if case in params.cases and (name := params.cases[case].protocol) in params.protocols
    }
    for case, protocol in protocols.items():
        if protocol.is_optimistic:
            yield (
                f"{where}.cases: got {case}, whose protocol {params.cases[case].protocol!r} is "
                "optimistic; allowed: protocols of grouping group and held_out test or val, where "
                "what is chosen on validation images has not seen the test images"
            )
    if len({(p.folds, p.held_out, p.grouping) for p in protocols.values()}) > 1:
        yield (
            f"{where}.cases: got protocols that differ in folds, held_out or grouping; allowed: "
            "cases that are validated on the same images"
        )


def _external_problems(params: Params, where: str, entry: External) -> Iterator[str]:
    if entry.case not in params.cases:
        yield unknown(f"{where}.case", entry.case, "a case", params.cases)
        return
    if entry.view not in params.views:
        yield unknown(f"{where}.view", entry.view, "a view", params.views)
        return
    case, view = params.cases[entry.case], params.views[entry.view]
    own = params.views.get(case.view)
    datasets = [params.datasets.get(v.dataset) if v else None for v in (own, view)]
    if own is None or None in datasets:
        return  # said where the view is defined
    home, abroad = (dataset for dataset in datasets if dataset)
    yield from _external_view_problems(where, entry, case, own, view)
    if home.modality != abroad.modality:
        yield f"{where}.view: got images of {abroad.modality}; allowed: {home.modality}"
    yield from _external_class_problems(where, entry, home, abroad)


def _external_view_problems(
    where: str, entry: External, case: Case, own: View, view: View
) -> Iterator[str]:
    """A model must see other images the way it saw its own."""
    if view.dataset == own.dataset:
        yield (
            f"{where}.view: got {entry.view!r}, of the data set that {entry.case} is trained on; "
            "allowed: a view of another data set"
        )
    for field in ("crop", "size_px", "fit"):
        if getattr(view, field) != getattr(own, field):
            yield (
                f"{where}.view: got {entry.view!r}, whose {field} is not that of {case.view}, the "
                f"view of {entry.case}; allowed: a view of the same crop, size_px and fit"
            )


def _external_class_problems(
    where: str, entry: External, home: Dataset, abroad: Dataset
) -> Iterator[str]:
    for theirs, ours in entry.classes.items():
        if theirs not in abroad.classes:
            yield unknown(f"{where}.classes", theirs, "a class of that data set", abroad.classes)
        if ours not in home.classes:
            yield unknown(f"{where}.classes.{theirs}", ours, "a class of the case", home.classes)
    mapped = set(entry.classes.values())
    if home.positive not in mapped or len(mapped) < 2:
        yield (
            f"{where}.classes: got {', '.join(sorted(mapped))}; allowed: the positive class "
            f"{home.positive} and at least one other"
        )


def _cost_problems(params: Params) -> Iterator[str]:
    """Each class has a cost of being taken for each other one, and not all of these are 0."""
    for dataset, costs in params.evaluate.costs.items():
        where = f"evaluate.costs.{dataset}"
        if dataset not in params.datasets:
            yield unknown(where, dataset, "a data set", params.datasets)
            continue
        names = list(params.datasets[dataset].classes)
        if set(costs) != set(names):
            yield f"{where}: got {_listed(costs)}; allowed: exactly its classes, {_listed(names)}"
        for true, of_decisions in costs.items():
            others = [name for name in names if name != true]
            if true in names and set(of_decisions) != set(others):
                yield (
                    f"{where}.{true}: got {_listed(of_decisions)}; allowed: exactly the other "
                    f"classes, {_listed(others)}; a right decision costs 0"
                )
        if not any(cost for of_decisions in costs.values() for cost in of_decisions.values()):
            yield f"{where}: got no cost above 0; allowed: at least one error that costs something"


def _order_problems(params: Params) -> Iterator[str]:
    for dataset, order in params.evaluate.ordered.items():
        where = f"evaluate.ordered.{dataset}"
        if dataset not in params.datasets:
            yield unknown(where, dataset, "a data set", params.datasets)
            continue
        names = list(params.datasets[dataset].classes)
        if sorted(order) != sorted(names):
            yield f"{where}: got {_listed(order)}; allowed: each class once, {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _cam_problems(params: Params) -> Iterator[str]:
    for model in params.cam.target_layers:
        if architecture(model) != model:
            yield (
                f"cam.target_layers: got {model!r}; allowed: {architecture(model)!r}, "
                "the architecture without the tag of its weights"
            )


def _repetition_problems(params: Params) -> Iterator[str]:
    """Lists of which each entry names its own columns."""
    for where, got in (
        ("cam.methods", params.cam.methods),
        ("evaluate.prevalences", [f"{share:g}" for share in params.evaluate.prevalences]),
    ):
        twice = [entry for number, entry in enumerate(got) if entry in got[:number]]
        if twice:
            yield f"{where}: got {twice[0]} twice; allowed: each once, to six digits"
