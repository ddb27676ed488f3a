"""One training of a case: initial weights, what is frozen, the fit, and the facts of it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stages.config.params import Augmentation, Case, Protocol, Recipe
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run
from stages.modeling.augment import Augmenter
from stages.modeling.blocks import block_depths
from stages.modeling.checkpoint import (
    count_parameters,
    describe_parameters,
    library_versions,
    load_meta,
    load_state,
)
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware, describe_device
from stages.modeling.convergence import (
    ended_in_divergence,
    naming_recipe,
    require_finite_weights,
)
from stages.modeling.data import (
    EVAL_BATCH_SIZE,
    ImageRows,
    class_counts,
    ordered_loader,
    to_unit_range,
    train_loader,
)
from stages.modeling.distributed import Team
from stages.modeling.fit import FitResult, Lesson, fit, log_start
from stages.modeling.freeze import FrozenSnapshot, freeze, trained_blocks
from stages.modeling.inputs import Inputs, behind_boundary
from stages.modeling.knowledge import Knowledge
from stages.modeling.loading import load_backbone
from stages.modeling.losses import build_loss
from stages.modeling.operations import Operations, count_operations
from stages.modeling.optimizer import require_enough_steps
from stages.modeling.outputs import Outputs
from stages.modeling.resume import Checkpoints

logger = logging.getLogger(__name__)


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
    plan: Plan,
    view: ImageSet,
    run: Run,
    *,
    initial: Path,
    hardware: Hardware,
    scratch: Path,
    team: Team | None = None,
) -> TrainedRun:
    """Train on the rows of one run.

    Args:
        plan: what to train, and how.
        view: the images.
        run: which rows train and validate, and the seed.
        initial: folder of the initial weights.
        hardware: device and precision.
        scratch: folder of checkpoints, which a killed training goes on from, and of activations
            that are kept while it trains; the caller's to remove.
        team: the processes that share the training; None: this one alone.

    Raises:
        UserError: a tensor does not fit, a block does not exist, activations cannot be kept, the
            schedule needs more steps, the training diverged, or what was to train did not.
        RuntimeError: a frozen tensor moved, or gradients reached only a part.
    """
    team = team or Team.of_one(hardware)
    _log_start(plan, view, run, hardware)
    outputs = _outputs(plan.case, view)
    classifier, meta = _initial_classifier(plan, view, outputs, run, initial)
    freeze(classifier, plan.case.train)
    inputs = _inputs(plan, classifier, view, run, hardware=hardware, scratch=scratch, team=team)
    depths = block_depths(classifier)  # before what trains is cut off
    lesson = _lesson(plan, inputs, outputs, _train_counts(view, run), depths, run.seed)
    size, keeps = int(view.images.shape[1]), plan.recipe.cache_views > 0
    operations = count_operations(classifier, size, keeps=keeps)
    with naming_recipe(plan.case.recipe):
        result, unchanged = _learn(
            classifier, lesson, plan, seed=run.seed, hardware=hardware, scratch=scratch, team=team
        )
    meta["unchanged_though_trained"] = unchanged
    meta |= _facts(plan, classifier, result, hardware, run)
    meta["knows"] = _knowledge(outputs, result, view, run)
    meta["flop"] = _flop(operations, plan.recipe, result, run)
    return TrainedRun(classifier, outputs, meta, result)


def training_facts(trained: TrainedRun, view: ImageSet, run: Run) -> dict[str, Any]:
    """What the report says of a training, without its tensors."""
    names = view.info.class_names
    return {
        "started_from": trained.meta["started_from"],
        "start_knows": trained.meta["start_knows"],
        "start_licence": trained.meta["licence"],
        "start_origin": trained.meta["origin"],
        "parameters": {kind: trained.meta["counts"][kind] for kind in ("trained", "frozen")},
        "blocks_trained": trained.meta["blocks_trained"],
        "class_counts": {
            "train": _by_class(names, _train_counts(view, run)),
            "drawn_per_epoch": _by_class(names, trained.result.drawn),
        },
        "kept_epoch": trained.result.kept_epoch,
        "diverged": ended_in_divergence(trained.result.epochs),
        **{key: trained.meta[key] for key in ("epochs_run", "flop", "device", "precision")},
        "threads": torch.get_num_threads(),  # sums are cut into as many parts, and rounded so
        "versions": library_versions(),
    }


def _outputs(case: Case, view: ImageSet) -> Outputs:
    info = view.info
    return Outputs.of_case(case.loss.kind, info.class_names, info.positive_index, info.implies)


def _initial_classifier(
    plan: Plan, view: ImageSet, outputs: Outputs, run: Run, initial: Path
) -> tuple[Classifier, dict[str, Any]]:
    """The network with the case's initial backbone and a new head, and the facts to rebuild it."""
    case, start = plan.case, load_meta(initial)
    shape = {
        "model": case.model,
        "size": int(view.images.shape[1]),
        "head": list(case.head),
        "dropout": case.dropout,
        "mean": start["mean"],
        "std": start["std"],
    }
    torch.manual_seed(run.seed)  # the new head
    classifier = build_classifier(**shape, outputs=outputs.count, drop_path=plan.recipe.drop_path)
    state = load_state(initial / "model.safetensors")
    left_out = load_backbone(classifier.backbone, state, str(initial))
    facts = {
        **shape,
        "class_names": list(outputs.class_names),
        "positive": outputs.positive,
        "one_logit": outputs.one_logit,
        "implies": {name: list(others) for name, others in outputs.implies.items()},
        "started_from": case.weights,
        "start_knows": start.get("knows"),  # of random weights nothing, of timm's it is not said
        # Other people's weights stay theirs, however many cases start from each other.
        "licence": start.get("licence"),
        "origin": start.get("origin"),
        "tensors_left_out": left_out,
    }
    return classifier, facts


def _learn(
    classifier: Classifier,
    lesson: Lesson,
    plan: Plan,
    *,
    seed: int,
    hardware: Hardware,
    scratch: Path,
    team: Team,
) -> tuple[FitResult, list[str]]:
    """Train, and prove that what was to train did and the rest did not; see `FrozenSnapshot`."""
    recipe = plan.recipe
    _log_what_trains(classifier)
    require_enough_steps(recipe, recipe.epochs * len(lesson.train))
    before = FrozenSnapshot(classifier)
    checkpoints = Checkpoints(scratch, [plan.case, plan.augmentation])
    result = fit(lesson, recipe, seed=seed, hardware=hardware, checkpoints=checkpoints, team=team)
    require_finite_weights(classifier, recipe, result.steps)
    if ended_in_divergence(result.epochs):
        logger.warning("training diverged after epoch %d, which is kept", result.kept_epoch)
    n_steps = int(result.steps["step"].max())
    return result, before.verify(classifier, recipe, n_steps)


def _log_start(plan: Plan, view: ImageSet, run: Run, hardware: Hardware) -> None:
    """The first words, before anything takes its time."""
    who = f"{run.name}, {plan.case.model}" if run.name else plan.case.model
    n_images = {split: len(run.rows(split)) for split in ("train", "val")}
    log_start(who, n_images, plan.recipe, hardware)


def _log_what_trains(classifier: Classifier) -> None:
    counts = count_parameters(classifier)
    logger.info(
        "trains %s of %s parameters: %s",
        f"{counts['trained']:,}",
        f"{counts['trained'] + counts['frozen']:,}",
        ", ".join(trained_blocks(classifier)),
    )


def _inputs(
    plan: Plan,
    classifier: Classifier,
    view: ImageSet,
    run: Run,
    *,
    hardware: Hardware,
    scratch: Path,
    team: Team,
) -> Inputs:
    train, val = (
        ImageRows(view.images, view.targets, run.rows(split)) for split in ("train", "val")
    )
    augment = Augmenter(plan.augmentation, torch.Generator().manual_seed(run.seed))
    images = Inputs(classifier, to_unit_range, augment, train, val)
    views = plan.recipe.cache_views
    if not views:
        return images
    return behind_boundary(
        images, classifier, views=views, hardware=hardware, scratch=scratch, team=team
    )


def _lesson(
    plan: Plan,
    inputs: Inputs,
    outputs: Outputs,
    train_counts: Sequence[int],
    depths: Mapping[str, int],
    seed: int,
) -> Lesson:
    train = train_loader(
        inputs.train,
        batch_size=plan.recipe.batch_size,
        sampler=plan.case.sampler,
        seed=seed,
        views=max(1, plan.recipe.cache_views),
    )
    return Lesson(
        inputs.network,
        outputs,
        build_loss(plan.case.loss, outputs, train_counts),
        inputs.to_input,
        inputs.augment,
        train,
        ordered_loader(inputs.val, batch_size=EVAL_BATCH_SIZE),
        depths,
    )


def _facts(
    plan: Plan, classifier: Classifier, result: FitResult, hardware: Hardware, run: Run
) -> dict[str, Any]:
    return {
        "fold": run.fold,
        "seed": run.seed,
        "ensemble": plan.protocol.ensemble,
        "mirror": plan.protocol.mirror,
        "kept": plan.recipe.keep,
        "kept_epoch": result.kept_epoch,
        "epochs_run": int(result.epochs["epoch"].max()) + 1,
        "device": describe_device(hardware.device),
        "precision": hardware.precision,
        "devices": plan.recipe.devices,
        "num_nodes": plan.recipe.num_nodes,
        "train": plan.case.train,
        "cache_views": plan.recipe.cache_views,
        "blocks_trained": trained_blocks(classifier),
        "counts": count_parameters(classifier),
        "parameters": describe_parameters(classifier),
    }


def _flop(
    operations: Operations | None, recipe: Recipe, result: FitResult, run: Run
) -> dict[str, int | None]:
    """Floating-point operations of an image's forward pass and of the whole training."""
    if operations is None:
        return {"per_image": None, "training": None}
    n_train, n_val = (len(run.rows(split)) for split in ("train", "val"))
    training = operations.of_training(
        drawn=round(sum(result.drawn)),  # each epoch draws as many
        validated=n_val,
        epochs=int(result.epochs["epoch"].max()) + 1,
        head_epochs=recipe.head_epochs,
        kept=recipe.cache_views * n_train + n_val,
    )
    return {"per_image": operations.forward, "training": training}


def _knowledge(outputs: Outputs, result: FitResult, view: ImageSet, run: Run) -> dict[str, Any]:
    """What another case that starts from this one may know, by the validation images."""
    counts = class_counts(view.targets[run.rows("val")], len(outputs.class_names))
    task = f"{', '.join(outputs.class_names)} of {view.info.dataset}"
    return Knowledge.of_fit(task, result, counts).to_json()


def _train_counts(view: ImageSet, run: Run) -> list[int]:
    return class_counts(view.targets[run.rows("train")], len(view.info.class_names))


def _by_class(names: Sequence[str], counts: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, counts, strict=True))
