"""A trained case as files to give away: an ONNX file, held against torch, and the weights.

weights/ is laid out as data/weights/<case>/ is, so that `source: {kind: file, path: .../weights,
scaling: {kind: meta}}` of params.yaml starts another case from it.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from stages.config.params import CenterCrop
from stages.config.paths import Paths
from stages.config.writing import write_json
from stages.dataset.predictions import load_tables
from stages.deployment.case_network import CaseNetwork, RunNetwork
from stages.deployment.description import list_properties
from stages.deployment.finished_case import FinishedCase
from stages.deployment.labelled_weights import copy_with_metadata
from stages.deployment.onnx_file import MODEL, WEIGHTS_BESIDE, open_onnx, write_onnx
from stages.deployment.parity import Parity, compare
from stages.deployment.resampling import ToView
from stages.modeling.checkpoint import load_classifier, load_meta, run_folder
from stages.modeling.fused import fuse

CARD, WEIGHTS = "model_card.md", "weights"
# What an export is; only a folder of nothing else is replaced.
FILES = (MODEL, WEIGHTS_BESIDE, CARD, WEIGHTS)
TENSORS, META = "model.safetensors", "meta.json"


def export_model(case: FinishedCase, folder: Path, paths: Paths) -> Parity:
    """Write MODEL of a case and hold it against torch.

    Raises:
        UserError: the network cannot be exported, or the file says something else.
    """
    write_onnx(deploy(case), folder, list_properties(case))
    recorded = load_tables(paths.case_predictions(case.name)).runs
    parity = compare(open_onnx(folder), case.trained, case.chosen, case.view, recorded)
    parity.require()
    return parity


def export_weights(case: FinishedCase, folder: Path, essentials: Mapping[str, str]) -> None:
    """Write tensors and meta.json of each run below WEIGHTS, with what has to travel with them."""
    for run in case.trained.table.runs:
        source = run_folder(case.trained.folder, run.name)
        target = run_folder(folder / WEIGHTS, run.name)
        target.mkdir(parents=True, exist_ok=True)
        texts = {
            **essentials,
            "run": run.name,
            "temperature": str(case.chosen.temperatures[run.name]),
            "thresholds": json.dumps(case.thresholds(run)),
        }
        copy_with_metadata(source / TENSORS, target / TENSORS, texts)
        write_json(target / META, load_meta(source))


def deploy(case: FinishedCase) -> CaseNetwork:
    """The case as one network, on the CPU."""
    trained, settings = case.trained, case.settings
    crop = settings.crop
    runs = []
    for run in trained.table.runs:
        classifier, _ = load_classifier(run_folder(trained.folder, run.name))
        thresholds = list(case.thresholds(run).values())
        temperature = case.chosen.temperatures[run.name]
        runs.append(RunNetwork(run.name, fuse(classifier), temperature, thresholds))
    picture_px = case.view.info.preprocessing.picture_px
    to_view = ToView(
        prepared_px=None if case.is_cropped_before else picture_px,
        crop_fraction=crop.fraction if isinstance(crop, CenterCrop) else None,
        size_px=settings.size_px,
        fit=settings.fit,
    )
    return CaseNetwork(to_view, runs, trained.outputs, mirror=trained.mirror).eval()
