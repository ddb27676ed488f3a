"""One training of a case: initial weights, what is frozen, the fit, and the facts of it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stages.config.params import Augmentation, Case, Protocol, Recipe
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run
from stages.modeling.augment import Augmenter
from stages.modeling.boundary import split_at_boundary
from stages.modeling.checkpoint import (
    count_parameters,
    describe_parameters,
    library_versions,
    load_meta,
    load_state,
)
from stages.modeling.classifier import Classifier, build_classifier, load_backbone
from stages.modeling.compute import Hardware, describe_device
from stages.modeling.data import (
    EVAL_BATCH_SIZE,
    ImageRows,
    Rows,
    class_counts,
    ordered_loader,
    to_unit_range,
    train_loader,
)
from stages.modeling.features import compute_features
from stages.modeling.fit import FitResult, Lesson, fit
from stages.modeling.freeze import FrozenSnapshot, freeze, trained_blocks
from stages.modeling.knowledge import Knowledge
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs


class Plan(NamedTuple):
    """What params.yaml says of a case, with the entries that it names."""

    case: Case
    recipe: Recipe
    augmentation: Augmentation
    protocol: Protocol


class TrainedRun(NamedTuple):
    """A trained network, what its logits mean, its meta.json and its learning curves."""

    classifier: Classifier
    outputs: Outputs
    meta: dict[str, Any]
    result: FitResult


def train_run(
    plan: Plan, view: ImageSet, run: Run, *, initial: Path, hardware: Hardware, scratch: Path
) -> TrainedRun:
    """Train on the rows of one run.

    Args:
        plan: what to train, and how.
        view: the images.
        run: which rows train and validate, and the seed.
        initial: folder of the initial weights.
        hardware: device and precision.
        scratch: folder for activations that are kept while it trains.

    Raises:
        UserError: a tensor does not fit, a block does not exist, activations cannot be kept, or
            the training diverged.
        RuntimeError: a frozen tensor moved, or a trained one did not.
    """
    outputs = _outputs(plan.case, view)
    classifier, meta = _initial_classifier(plan.case, view, outputs, run, initial)
    freeze(classifier, plan.case.train)
    before = FrozenSnapshot(classifier)
    shown = _images(plan, classifier, view, run)
    if plan.recipe.cache_views:
        shown = _activations(shown, classifier, plan.recipe.cache_views, hardware, scratch)
    lesson = _lesson(plan, shown, outputs, _train_counts(view, run), run.seed)
    result = fit(lesson, plan.recipe, seed=run.seed, hardware=hardware)
    meta["unchanged_though_trained"] = before.verify(classifier)
    meta |= _facts(plan, classifier, result, hardware, run)
    meta["knows"] = _knowledge(outputs, result, view, run)
    return TrainedRun(classifier, outputs, meta, result)


def training_facts(trained: TrainedRun, view: ImageSet, run: Run) -> dict[str, Any]:
    """What the report says of a training, without its tensors."""
    names = view.info.class_names
    return {
        "started_from": trained.meta["started_from"],
        "start_knows": trained.meta["start_knows"],
        "parameters": {kind: trained.meta["counts"][kind] for kind in ("trained", "frozen")},
        "blocks_trained": trained.meta["blocks_trained"],
        "class_counts": {
            "train": _by_class(names, _train_counts(view, run)),
            "drawn_per_epoch": _by_class(names, trained.result.drawn),
        },
        "kept_epoch": trained.result.kept_epoch,
        **{key: trained.meta[key] for key in ("epochs_run", "device", "precision")},
        "versions": library_versions(),
    }


def _outputs(case: Case, view: ImageSet) -> Outputs:
    info = view.info
    one_logit = case.loss.kind == "bce" and not info.implies
    return Outputs(tuple(info.class_names), info.positive_index, one_logit, info.implies)


def _initial_classifier(
    case: Case, view: ImageSet, outputs: Outputs, run: Run, initial: Path
) -> tuple[Classifier, dict[str, Any]]:
    """The network with the case's initial backbone and a new head, and the facts to rebuild it."""
    start = load_meta(initial)
    shape = {
        "model": case.model,
        "size": int(view.images.shape[1]),
        "head": list(case.head),
        "dropout": case.dropout,
        "mean": start["mean"],
        "std": start["std"],
    }
    torch.manual_seed(run.seed)  # the new head
    classifier = build_classifier(**shape, outputs=outputs.count)
    state = load_state(initial / "model.safetensors")
    left_out = load_backbone(classifier.backbone, state, str(initial))
    facts = {
        **shape,
        "class_names": list(outputs.class_names),
        "positive": outputs.positive,
        "one_logit": outputs.one_logit,
        "implies": {name: list(others) for name, others in outputs.implies.items()},
        "started_from": case.weights,
        "start_knows": start.get("knows"),  # random weights, timm's: not measured here
        "tensors_left_out": left_out,
    }
    return classifier, facts


class _Shown(NamedTuple):
    """What a network is given to learn from; see `Lesson`."""

    network: nn.Module
    to_input: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    train: Rows
    val: Rows


def _images(plan: Plan, classifier: Classifier, view: ImageSet, run: Run) -> _Shown:
    """The whole network and the images, augmented anew in each epoch."""
    train, val = (
        ImageRows(view.images, view.targets, run.rows(split)) for split in ("train", "val")
    )
    augment = Augmenter(plan.augmentation, torch.Generator().manual_seed(run.seed))
    return _Shown(classifier, to_unit_range, augment, train, val)


def _activations(
    images: _Shown, classifier: Classifier, views: int, hardware: Hardware, scratch: Path
) -> _Shown:
    """What of the network trains, and what the frozen part makes of the images."""
    halves = split_at_boundary(classifier)
    compute = partial(compute_features, halves.frozen, hardware=hardware, scratch=scratch)
    train = compute(images.train, augment=images.augment, views=views)
    val = compute(images.val, augment=_as_it_is, views=1)
    return _Shown(halves.trained, _as_it_is, _as_it_is, train, val)


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _lesson(
    plan: Plan, shown: _Shown, outputs: Outputs, train_counts: Sequence[int], seed: int
) -> Lesson:
    train = train_loader(
        shown.train,
        batch_size=plan.recipe.batch_size,
        sampler=plan.case.sampler,
        seed=seed,
        views=max(1, plan.recipe.cache_views),
    )
    return Lesson(
        shown.network,
        outputs,
        build_loss(plan.case.loss, outputs, train_counts),
        shown.to_input,
        shown.augment,
        train,
        ordered_loader(shown.val, batch_size=EVAL_BATCH_SIZE),
    )


def _facts(
    plan: Plan, classifier: Classifier, result: FitResult, hardware: Hardware, run: Run
) -> dict[str, Any]:
    return {
        "fold": run.fold,
        "seed": run.seed,
        "ensemble": plan.protocol.ensemble,
        "kept": plan.recipe.keep,
        "kept_epoch": result.kept_epoch,
        "epochs_run": int(result.epochs["epoch"].max()) + 1,
        "device": describe_device(hardware.device),
        "precision": hardware.precision,
        "train": plan.case.train,
        "cache_views": plan.recipe.cache_views,
        "blocks_trained": trained_blocks(classifier),
        "counts": count_parameters(classifier),
        "parameters": describe_parameters(classifier),
    }


def _knowledge(outputs: Outputs, result: FitResult, view: ImageSet, run: Run) -> dict[str, Any]:
    """What another case that starts from this one may know, by the validation images."""
    counts = class_counts(view.targets[run.rows("val")], len(outputs.class_names))
    task = f"{', '.join(outputs.class_names)} of {view.info.dataset}"
    return Knowledge.of_fit(task, result, counts).to_json()


def _train_counts(view: ImageSet, run: Run) -> list[int]:
    return class_counts(view.targets[run.rows("train")], len(view.info.class_names))


def _by_class(names: Sequence[str], counts: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, counts, strict=True))
