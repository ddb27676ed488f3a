"""Train one case and keep the model of the epoch with the lowest validation loss.

Reads:  data/views/<view>/, data/weights/<initial weights>/
Writes: data/weights/<case>/ (model.safetensors, meta.json), plots/history/<case>/
"""

import logging
from pathlib import Path
from typing import Any

import torch

from stages.config.command import run_stage
from stages.config.params import Case, Params
from stages.config.paths import Paths
from stages.imaging.image_set import ImageSet, load_image_set
from stages.modeling.augment import Augmenter
from stages.modeling.checkpoint import describe_parameters, load_meta, load_state, save_model
from stages.modeling.classifier import Classifier, build_classifier, load_backbone
from stages.modeling.compute import Hardware, choose_hardware, describe_device
from stages.modeling.data import ImageRows, ordered_loader, train_loader
from stages.modeling.fit import FitResult, FitSettings, TrainingModule, fit
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs

logger = logging.getLogger(__name__)


def train_case(params: Params, name: str, paths: Paths) -> None:
    """Fit the model of one case; write its checkpoint and learning curves."""
    case = params.case(name)
    view = load_image_set(paths.view(case.view))
    hardware = choose_hardware(params.compute)
    outputs = Outputs(
        tuple(view.info.class_names), view.info.positive_index, one_logit=case.loss.name == "bce"
    )
    classifier, meta = _initial_classifier(case, view, outputs, paths)
    module = _training_module(params, case, classifier, outputs)
    result = _fit(module, case, view, hardware, paths.scratch(f"train-{name}"))
    meta |= _training_facts(result, classifier, hardware, case)
    save_model(paths.weights(name), classifier.state_dict(), meta)
    _save_history(result, name, paths)
    logger.info("kept epoch %d of %d", result.best_epoch, meta["epochs_run"])


def _initial_classifier(
    case: Case, view: ImageSet, outputs: Outputs, paths: Paths
) -> tuple[Classifier, dict[str, Any]]:
    """The network with the case's initial backbone and a new head, and the facts to rebuild it."""
    folder = paths.weights(case.weights)
    start = load_meta(folder)
    shape = {
        "model": case.model,
        "size": int(view.images.shape[1]),
        "head": list(case.head),
        "dropout": case.dropout,
        "mean": start["mean"],
        "std": start["std"],
    }
    torch.manual_seed(case.seed)  # the new head
    classifier = build_classifier(**shape, outputs=outputs.count)
    state = load_state(folder / "model.safetensors")
    left_out = load_backbone(classifier.backbone, state, str(folder))
    facts = {
        **shape,
        "class_names": list(outputs.class_names),
        "positive": outputs.positive,
        "one_logit": outputs.one_logit,
        "started_from": case.weights,
        "tensors_left_out": left_out,
    }
    return classifier, facts


def _training_module(
    params: Params, case: Case, classifier: Classifier, outputs: Outputs
) -> TrainingModule:
    settings = FitSettings(
        optimizer=case.optimizer,
        lr=case.lr,
        weight_decay=case.weight_decay,
        schedule=case.schedule,
        epochs=case.epochs,
        patience=case.patience,
        seed=case.seed,
    )
    generator = torch.Generator().manual_seed(case.seed)
    augmenter = Augmenter(params.augmentations[case.augment], generator)
    loss_fn = build_loss(case.loss, positive=outputs.positive)
    return TrainingModule(classifier, loss_fn, outputs, augmenter, settings)


def _fit(
    module: TrainingModule, case: Case, view: ImageSet, hardware: Hardware, scratch: Path
) -> FitResult:
    train = ImageRows(view.images, view.targets, view.rows("train"))
    val = ImageRows(view.images, view.targets, view.rows("val"))
    return fit(
        module,
        train_loader(train, batch_size=case.batch_size, sampler=case.sampler, seed=case.seed),
        ordered_loader(val, batch_size=case.batch_size),
        hardware=hardware,
        scratch=scratch,
    )


def _training_facts(
    result: FitResult, classifier: Classifier, hardware: Hardware, case: Case
) -> dict[str, Any]:
    return {
        "seed": case.seed,
        "best_epoch": result.best_epoch,
        "epochs_run": int(result.epochs["epoch"].max()) + 1,
        "device": describe_device(hardware.device),
        "precision": hardware.precision,
        "parameters": describe_parameters(classifier),
    }


def _save_history(result: FitResult, name: str, paths: Paths) -> None:
    epochs, steps = paths.history_epochs(name), paths.history_steps(name)
    epochs.parent.mkdir(parents=True, exist_ok=True)
    result.epochs.to_csv(epochs, index=False)
    result.steps.to_csv(steps, index=False)


if __name__ == "__main__":
    run_stage(train_case, __doc__, section="cases")
