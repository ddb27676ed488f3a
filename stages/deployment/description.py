"""What is said of an exported case: in the ONNX file, and for its card."""

import hashlib
import json
from pathlib import Path

from stages.config.params import CenterCrop
from stages.deployment.finished_case import FinishedCase
from stages.deployment.onnx_file import INPUT, MODEL, OUTPUTS, WEIGHTS_BESIDE, describe_versions
from stages.evaluation.operating_points import OPERATING_POINTS
from stages.modeling.checkpoint import load_meta, run_folder

# Run in the folder of the export, beside a picture.
CODE = f"""
import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{MODEL}")
picture = np.asarray(Image.open("picture.png").convert("L"))
probabilities, calls = session.run(None, {{"{INPUT}": picture[np.newaxis]}})
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
print(dict(zip(class_names, probabilities[0].tolist())))
"""


def list_properties(case: FinishedCase) -> dict[str, str]:
    """What stands in the file beside the network: text, or JSON of what is none."""
    trained, info = case.trained, case.view.info
    runs = trained.table.runs
    meta = load_meta(run_folder(trained.folder, runs[0].name))
    told = {
        "class_names": list(trained.outputs.class_names),
        "operating_points": list(OPERATING_POINTS),
        "thresholds": {run.name: case.thresholds(run) for run in runs},
        "temperatures": {run.name: case.chosen.temperatures[run.name] for run in runs},
        "preprocessing": info.preprocessing.model_dump(),
        "mirror": trained.mirror,
        "versions": describe_versions(),
    }
    return {
        "case": case.name,
        "positive": trained.outputs.class_names[trained.outputs.positive],
        "model": meta["model"],
        "inputs": " ".join(describe_inputs(case)),
        "outputs": " ".join(describe_outputs(case)),
        "images": "phantoms: drawings, no patients" if info.is_phantom else "files",
        "initial_weights": meta["started_from"],
        "initial_weights_origin": meta["origin"] or "none of other people",
        "initial_weights_licence": meta["licence"] or "none stated",
        "warning": "not a medical device: no diagnosis, no triage, no decision on a person",
        **{name: json.dumps(value) for name, value in told.items()},
    }


def describe_inputs(case: FinishedCase) -> list[str]:
    """What the file is given, and what it does itself."""
    settings, picture_px = case.settings, case.view.info.preprocessing.picture_px
    whole = (
        f"Input `{INPUT}`: uint8 (batch, height, width), all three free; grey, 0 is black; upright;"
        " pictures of a batch have one size."
    )
    if case.is_cropped_before:
        what = (
            f"They are crops around the lungs, cut out of pictures reduced to a longest side of "
            f"{picture_px} px, as the stages `prepare` and `crop` make them; `python -m "
            f"stages.predict {case.name}` does this too. Inside the file: "
        )
    else:
        crop = settings.crop
        middle = (
            f", the middle {crop.fraction:g} of width and height"
            if isinstance(crop, CenterCrop)
            else ""
        )
        what = (
            "They are whole pictures as decoded; of more than 8 bits, what becomes black and white "
            f"is in `preprocessing`. Inside the file: reduction to a longest side of {picture_px} "
            f"px{middle}, "
        )
    return [
        whole,
        f"{what}resizing to {settings.size_px} x {settings.size_px} px ({settings.fit}), to the "
        "byte as Pillow's bilinear filter does it, and the scaling that the network was trained "
        "with.",
    ]


def describe_outputs(case: FinishedCase) -> list[str]:
    """What it says."""
    trained = case.trained
    probabilities, calls = OUTPUTS
    n_runs = len(trained.table.runs)
    mean = f"the mean over {n_runs} models, each" if n_runs > 1 else "of one model,"
    mirror = ", of a picture and its mirror averaged" if trained.mirror else ""
    return [
        f"Output `{probabilities}`: float32 (batch, {len(trained.outputs.class_names)}), in the "
        f"order of `class_names`, {mean} with its temperature inside{mirror}; the decision is the "
        "likeliest class.",
        f"Output `{calls}`: float32 (batch, {len(OPERATING_POINTS)}), in the order of "
        "`operating_points`: the share of the models that call the picture positive there, that "
        "is, whose own probability, before the temperature, reaches its own threshold; 0.5 and "
        "more is a call.",
    ]


def describe_files(folder: Path) -> list[str]:
    """What was written there."""
    import onnx

    model = onnx.load(folder / MODEL, load_external_data=False)
    (opset,) = (entry.version for entry in model.opset_import if not entry.domain)
    files = [path for path in (folder / MODEL, folder / WEIGHTS_BESIDE) if path.exists()]
    said = ", ".join(
        f"{path.name} ({path.stat().st_size / 1e6:.1f} MB, SHA-256 {_hash(path)})" for path in files
    )
    versions = ", ".join(f"{name} {number}" for name, number in describe_versions().items())
    return [
        f"Files: {said}; opset {opset}, IR version {model.ir_version}; written and checked with "
        f"{versions}.",
    ]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
