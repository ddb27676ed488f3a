"""Whether an ONNX file says what the case says: pictures of the case's own view, both ways.

What the file is held against is the way that predictions are made: the rows of the view as `crop`
wrote them, the networks layer by layer in torch, temperatures as `evaluate` applies them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.config.errors import UserError
from stages.dataset.image_set import ImageSet, without_padding
from stages.dataset.predictions import DECIMALS, probability_columns
from stages.dataset.runs import Run
from stages.deployment.onnx_file import run_onnx
from stages.evaluation.calibration import apply_temperature
from stages.evaluation.external_report import Chosen
from stages.modeling.checkpoint import load_classifier, run_folder
from stages.modeling.compute import Hardware
from stages.modeling.predict import TrainedCase, predict_probabilities

if TYPE_CHECKING:
    import onnxruntime

FloatArray = NDArray[np.float64]

IMAGES = 200
TOLERANCE = 1e-4  # of a probability
BATCH = 16  # pictures of one size that are run together
FP32 = Hardware("cpu", "fp32")  # what ONNX has


class Parity(NamedTuple):
    """How far an ONNX file and the case are apart.

    Attributes:
        n_images: pictures that were tried.
        largest: difference of a probability.
        n_other_classes: pictures of which another class is the likeliest.
        n_sizes: different sizes of these pictures.
        recorded: largest difference of a probability between the predictions on record, in the
            precision trained in, and the same networks in fp32; before temperatures.
        precision: of the predictions on record.
    """

    n_images: int
    largest: float
    n_other_classes: int
    n_sizes: int
    recorded: float
    precision: str

    def require(self) -> None:
        """Refuse a file that says something else.

        Raises:
            UserError: a probability differs by TOLERANCE or more, or is no number.
        """
        if not self.largest < TOLERANCE:
            raise UserError(
                f"the ONNX file and torch differ by {self.largest:.2g} in a probability of "
                f"{self.n_images} pictures; allowed: less than {TOLERANCE:g}; nothing is exported"
            )

    def describe(self) -> list[str]:
        """In sentences."""
        return [
            f"Checked on {self.n_images} pictures of the case's own view, of {self.n_sizes} sizes: "
            f"the largest difference of a probability between onnxruntime and torch, both in fp32, "
            f"is {self.largest:.1e}; allowed is less than {TOLERANCE:g}; another class is the "
            f"likeliest in {self.n_other_classes}.",
            f"The figures of this card are of predictions in {self.precision}; the same networks "
            f"in fp32 differ from these by {self.recorded:.1e} in a probability at most.",
        ]


def compare(
    session: "onnxruntime.InferenceSession",
    case: TrainedCase,
    chosen: Chosen,
    view: ImageSet,
    run_table: pd.DataFrame,
) -> Parity:
    """Run up to IMAGES pictures, spread evenly over the rows of the view, both ways.

    Args:
        session: of the file.
        case: that it was made of.
        chosen: its temperatures.
        view: that the case is trained on.
        run_table: its predictions on record, a row per run and image.
    """
    rows = np.unique(np.linspace(0, len(view.manifest) - 1, IMAGES).round().astype(np.int64))
    said = {run.name: _predict(case, run, view.images[rows]) for run in case.table.runs}
    expected = np.mean(
        [apply_temperature(one, chosen.temperatures[name]) for name, one in said.items()], axis=0
    )
    pictures = [_cut_picture(view, row) for row in rows]
    found = _run_all(session, pictures, expected.shape)
    ids = view.manifest["image_id"].iloc[rows].tolist()
    return Parity(
        n_images=len(rows),
        largest=float(np.abs(found - expected).max()),
        n_other_classes=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        n_sizes=len({picture.shape for picture in pictures}),
        recorded=max(
            _from_record(run, said[run.name], run_table, ids, case.outputs.class_names)
            for run in case.table.runs
        ),
        precision=case.precision,
    )


def _predict(case: TrainedCase, run: Run, images: NDArray[np.uint8]) -> FloatArray:
    classifier, _ = load_classifier(run_folder(case.folder, run.name))
    said = predict_probabilities(
        classifier, case.outputs, images, hardware=FP32, mirror=case.mirror
    )
    return said.round(DECIMALS)  # as tables have it


def _from_record(
    run: Run,
    said: FloatArray,
    run_table: pd.DataFrame,
    image_ids: list[str],
    class_names: tuple[str, ...],
) -> float:
    is_own = (run_table["fold"] == str(run.fold)) & (run_table["seed"] == str(run.seed))
    own = run_table[is_own].drop_duplicates("image_id").set_index("image_id")
    recorded = own.loc[image_ids, probability_columns(class_names)].to_numpy(np.float64)
    return float(np.abs(recorded - said).max())


def _cut_picture(view: ImageSet, row: int) -> NDArray[np.uint8]:
    """What the file is given: the prepared picture or, of a view of lungs, the crop of it."""
    facts = view.manifest.iloc[row].to_dict()
    assert view.pictures is not None  # a view has them
    assert view.boxes is not None
    picture = without_padding(view.pictures[row], facts)
    preprocessing = view.info.preprocessing
    assert preprocessing.view is not None
    if preprocessing.view.crop.kind != "lungs":
        return picture
    # boxes.csv has pixels of the file.
    height, width = picture.shape
    box = view.boxes.iloc[row]
    x0, x1 = (round(box[name] * width / facts["width"]) for name in ("x0", "x1"))
    y0, y1 = (round(box[name] * height / facts["height"]) for name in ("y0", "y1"))
    return np.ascontiguousarray(picture[y0:y1, x0:x1])


def _run_all(
    session: "onnxruntime.InferenceSession",
    pictures: list[NDArray[np.uint8]],
    shape: tuple[int, ...],
) -> FloatArray:
    """(N, classes) in the order of the pictures; those of one size run together."""
    found = np.full(shape, np.nan)
    for places in _batches(pictures):
        probabilities, _ = run_onnx(session, np.stack([pictures[place] for place in places]))
        found[places] = probabilities
    return found


def _batches(pictures: list[NDArray[np.uint8]]) -> Iterator[list[int]]:
    """Places of up to BATCH pictures of one size."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        by_size.setdefault(picture.shape, []).append(place)
    for places in by_size.values():
        for start in range(0, len(places), BATCH):
            yield places[start : start + BATCH]
