"""A case that is trained and evaluated, read for use outside of its own data set."""

from typing import NamedTuple, Self

from stages.config.errors import UserError
from stages.config.params import LungCrop, View
from stages.config.paths import Paths
from stages.dataset.image_set import ImageSet, load_dataset_info, load_image_set
from stages.dataset.runs import Run
from stages.deployment.decided import load_decided
from stages.evaluation.external_report import Chosen
from stages.evaluation.operating_points import OPERATING_POINTS
from stages.modeling.predict import TrainedCase, load_case


class FinishedCase(NamedTuple):
    """A case that is trained and evaluated.

    Attributes:
        name: its key in params.yaml.
        trained: its models.
        chosen: temperatures and thresholds, by run.
        view: that it was trained on.
    """

    name: str
    trained: TrainedCase
    chosen: Chosen
    view: ImageSet

    @classmethod
    def load(cls, name: str, view: str, paths: Paths) -> Self:
        """Read what the stages wrote.

        Raises:
            UserError: the report is of other runs than the models, or the view is another one than
                they were trained on.
        """
        trained = load_case(paths.weights(name))
        chosen, _ = load_decided(name, [run.name for run in trained.table.runs], paths)
        images = load_image_set(paths.view(view))
        trained.table.on(images.manifest)  # refuses another manifest
        if (
            images.info.preprocessing
            != load_dataset_info(paths.case_predictions(name)).preprocessing
        ):
            raise UserError(
                f"{paths.view(view)}: its images were made in another way than those that {name} "
                f"was trained on; run: dvc repro train@{name}"
            )
        return cls(name, trained, chosen, images)

    @property
    def settings(self) -> View:
        """How a picture becomes a row of the view."""
        view = self.view.info.preprocessing.view
        assert view is not None  # a view has it
        return view

    @property
    def is_cropped_before(self) -> bool:
        """Whether a picture is reduced and cropped before the file sees it."""
        return isinstance(self.settings.crop, LungCrop)

    def thresholds(self, run: Run) -> dict[str, float]:
        """Of one run, by operating point."""
        return {point: self.chosen.thresholds[point][run.name] for point in OPERATING_POINTS}
