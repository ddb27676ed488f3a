"""Make initial weights a tracked artefact: random, learned, or timm's, a package's, a file's.

Reads:  weights.<name>, and the file where it names one, or the package that has its model
Writes: data/weights/<name>/ (model.safetensors, meta.json)
"""

import shutil
from pathlib import Path

from stages.config.command import run_stage
from stages.config.errors import UserError
from stages.config.params import Params, Weights, WeightsSource
from stages.config.paths import Paths
from stages.modeling.checkpoint import describe_parameters, save_model
from stages.modeling.classifier import BACKBONE
from stages.modeling.compute import choose_hardware, keep_freed_memory, use_threads
from stages.modeling.initial import InitialWeights, file_weights, random_weights, timm_weights
from stages.modeling.packages import package_weights


def make_weights(params: Params, name: str, paths: Paths) -> None:
    """Write the initial weights of one entry; every tensor's name starts with `backbone.`."""
    keep_freed_memory()
    use_threads(params.compute.threads)
    entry = params.initial_weights(name)
    scratch = paths.scratch(f"weights-{name}")
    try:
        initial = _make(params, entry, scratch)
    except UserError as error:
        raise UserError(f"params.yaml: weights.{name}: {error}") from None
    state = {f"{BACKBONE}{key}": tensor for key, tensor in initial.backbone.state_dict().items()}
    meta = {
        "model": entry.model,
        "started_from": _origin(entry.source),
        "mean": initial.mean,
        "std": initial.std,
        **initial.facts,
        "parameters": {
            f"{BACKBONE}{key}": facts
            for key, facts in describe_parameters(initial.backbone).items()
        },
    }
    save_model(paths.weights(name), state, meta)
    shutil.rmtree(scratch, ignore_errors=True)


def _make(params: Params, entry: Weights, scratch: Path) -> InitialWeights:
    match entry.source.kind:
        case "random":
            return random_weights(entry.model, seed=params.seed)
        case "timm":
            return timm_weights(entry.model)
        case "package":
            return package_weights(entry.model)
        case "file":
            return file_weights(entry.model, entry.source)
        case "pretext":
            from stages.modeling.pretext import learn_pretext_weights  # imports Fabric: 1 s

            return learn_pretext_weights(
                entry.model,
                params.pretext,
                params.recipe(params.pretext.recipe),
                params.augmentation(params.pretext.augment),
                seed=params.seed,
                hardware=choose_hardware(params.compute),
                scratch=scratch,
            )


def _origin(source: WeightsSource) -> str:
    """What meta.json says: the kind of source, or the file."""
    return source.path if source.kind == "file" else source.kind


if __name__ == "__main__":
    run_stage(make_weights, __doc__, section="weights")
