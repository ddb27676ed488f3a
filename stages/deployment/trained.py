"""A trained case, found by its name and ready to judge pictures that nobody has labelled."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.config.paths import Paths
from stages.dataset.image_set import load_dataset_info
from stages.dataset.predictions import DECIMALS
from stages.deployment.decided import load_decided
from stages.evaluation.calibration import apply_temperature
from stages.modeling.checkpoint import load_classifier, run_folder
from stages.modeling.classifier import Classifier
from stages.modeling.compute import Hardware
from stages.modeling.familiar import Familiar, load_familiar
from stages.modeling.fused import fuse
from stages.modeling.penultimate import Penultimate
from stages.modeling.predict import TrainedCase, load_case, predict_probabilities

logger = logging.getLogger(__name__)


class Member(NamedTuple):
    """One of the models of a case, and what its own validation images decided.

    Attributes:
        classifier: fused.
        temperature: that its probabilities are calibrated by.
        threshold: from which probability on, before that, an image is called positive.
        familiar: which pictures are like those that it was trained on.
    """

    classifier: Classifier
    temperature: float
    threshold: float
    familiar: Familiar


class Judgement(NamedTuple):
    """What a case says of n pictures.

    Attributes:
        probabilities: (n, K), calibrated, the mean of its models; of 6 decimals.
        is_positive: (n,) whether at least half of its models call it positive.
        unlike: (n,) in what it is unlike the training images, by at least half of them.
    """

    probabilities: NDArray[np.float64]
    is_positive: NDArray[np.bool_]
    unlike: list[list[str]]


class DeployedCase:
    """All models of a case in memory.

    Args:
        name: of the case, which is trained.
        point: operating point, one of OPERATING_POINTS.
        paths: of the repository.
        device: cpu or cuda.

    Attributes:
        info: of the view that it was trained on.
        case: its runs, what their logits mean, their precision.

    Raises:
        UserError: a file is missing, or of another training than the others.
    """

    def __init__(self, name: str, point: str, paths: Paths, device: str) -> None:
        self.info = load_dataset_info(paths.case_predictions(name))
        self.case = load_case(paths.weights(name))
        self._hardware = Hardware(device, self.case.precision)
        runs = [run.name for run in self.case.table.runs]
        chosen, is_optimistic = load_decided(name, runs, paths)
        if is_optimistic:
            logger.warning(
                "%s: its protocol is optimistic: its figures, temperature and thresholds are of "
                "images that its training knew",
                name,
            )
        self._members = [
            _load_member(self.case, run, chosen.temperatures[run], chosen.thresholds[point][run])
            for run in runs
        ]

    def judge(self, images: NDArray[np.uint8], sizes: Sequence[tuple[int, int]]) -> Judgement:
        """What all models say together.

        Args:
            images: (n, S, S) rows of the view of the case, at least one.
            sizes: (n,) width and height of their pictures as decoded.
        """
        probabilities, calls, unlike = [], [], []
        for member in self._members:
            features = Penultimate(np.full(len(images), True))
            said = predict_probabilities(
                member.classifier,
                self.case.outputs,
                images,
                hardware=self._hardware,
                mirror=self.case.mirror,
                penultimate=features,
            ).round(DECIMALS)  # as the tables that temperature and threshold were chosen on
            probabilities.append(apply_temperature(said, member.temperature))
            calls.append(said[:, self.case.outputs.positive] >= member.threshold)
            unlike.append(member.familiar.find_unlike(images, sizes, features.values))
        return Judgement(
            np.mean(probabilities, axis=0).round(DECIMALS),
            np.mean(calls, axis=0) >= 0.5,
            _by_half(unlike),
        )


def _load_member(case: TrainedCase, run: str, temperature: float, threshold: float) -> Member:
    folder = run_folder(case.folder, run)
    classifier, _ = load_classifier(folder)
    return Member(fuse(classifier), temperature, threshold, load_familiar(folder))


def _by_half(unlike: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """What at least half of the members say, of each of n pictures, in the order it is first said.

    Args:
        unlike: by member, then by picture.
    """
    by_picture = [
        [kind for of_member in said for kind in of_member] for said in zip(*unlike, strict=True)
    ]
    return [
        [kind for kind in dict.fromkeys(said) if 2 * said.count(kind) >= len(unlike)]
        for said in by_picture
    ]
