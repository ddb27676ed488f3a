"""Every file that a stage reads or writes, named once."""

import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DOWNLOADS = ("data", "downloads")


@dataclass(frozen=True)
class Paths:
    """Locations below the root of the repository (or of a test's temporary folder)."""

    root: Path = Path()

    @property
    def check(self) -> Path:
        """Written when params.yaml is in order; every other stage depends on it."""
        return self.root / "data" / "check.json"

    def download(self, name: str) -> Path:
        """Folder of what was downloaded under this name; sources of data sets lie in it."""
        return self.root / "data" / "downloads" / name

    def prepared(self, dataset: str) -> Path:
        """Folder of decoded images, manifest and rejected files."""
        return self.root / "data" / "prepared" / dataset

    def view(self, view: str) -> Path:
        """Folder of cropped images, lung masks and boxes."""
        return self.root / "data" / "views" / view

    def metadata(self, view: str) -> Path:
        """Folder of what is known of the images of a view beside their pixels."""
        return self.root / "data" / "metadata" / view

    def weights(self, name: str) -> Path:
        """Folder of initial weights or of a case's trained model."""
        return self.root / "data" / "weights" / name

    def predictions(self, case: str) -> Path:
        """What a case says of every image: its runs' rows, their test rows averaged if asked."""
        return self.root / "data" / "predictions" / f"{case}.csv"

    def case_predictions(self, case: str) -> Path:
        """Folder of all that a case says: that table, each run's rows, occluded test images."""
        return self.root / "data" / "predictions" / case

    def export(self, case: str) -> Path:
        """Folder of a case made ready to be given away; not an output of a stage."""
        return self.root / "data" / "exports" / case

    def scratch(self, name: str) -> Path:
        """Folder for work in progress; never an output, never in Git."""
        return self.root / "data" / "scratch" / name

    def lock(self, stage: str) -> Path:
        """Held by the process that runs a stage, such as `train@ct-cnn-full`, with its number."""
        return self.scratch("locks") / f"{stage}.lock"

    @property
    def forecast(self) -> Path:
        """What the `dvc repro` that ran last had before it; not an output."""
        return self.scratch("forecast.json")

    def log(self, stage: str) -> Path:
        """What a stage said when `stages.parallel` ran it last; not an output."""
        return self.scratch("logs") / f"{stage}.log"

    def audit(self, view: str) -> Path:
        """How much of the label shortcuts alone give away."""
        return self.root / "metrics" / "audit" / f"{view}.json"

    def audit_predictions(self, view: str) -> Path:
        """What each probe says of each image, out of fold."""
        return self.root / "data" / "audit" / f"{view}.csv"

    def external_predictions(self, name: str) -> Path:
        """Per-image predictions of an external test."""
        return self.root / "data" / "external" / f"{name}.csv"

    def external(self, name: str) -> Path:
        """Figures of an external test, and the drop against the case's own test images."""
        return self.root / "metrics" / "external" / f"{name}.json"

    def time(self, stage: str) -> Path:
        """What the last run of a stage took on this machine; not an output, since it varies."""
        return self.scratch("times") / f"{stage}.json"

    @property
    def times(self) -> Path:
        """All of these as one page, beside the report; not an output either."""
        return self.root / "plots" / "times.html"

    def case_metrics(self, case: str) -> Path:
        """Flat headline figures."""
        return self.root / "metrics" / "cases" / f"{case}.json"

    def case_summary(self, case: str) -> Path:
        """The few of these that `dvc metrics` and `dvc exp show` list."""
        return self.root / "metrics" / "summary" / f"{case}.json"

    def case_report(self, case: str) -> Path:
        """Confusion matrices, classification reports and curve points."""
        return self.root / "metrics" / "reports" / f"{case}.json"

    def cam_scores(self, case: str) -> Path:
        """Where the maps of a case lie."""
        return self.root / "metrics" / "cam" / f"{case}.json"

    def history(self, case: str) -> Path:
        """Folder of a case's learning curves."""
        return self.root / "plots" / "history" / case

    def history_epochs(self, case: str) -> Path:
        """Loss and accuracy per epoch and split."""
        return self.history(case) / "epochs.csv"

    def history_steps(self, case: str) -> Path:
        """Loss per step and split."""
        return self.history(case) / "steps.csv"

    def training_facts(self, case: str) -> Path:
        """What was trained and on what; `report` reads this instead of the model's folder."""
        return self.history(case) / "training.json"

    def cam_sheets(self, case: str) -> Path:
        """Folder of overlays and the contact sheet."""
        return self.root / "plots" / "cam" / case

    @property
    def comparisons(self) -> Path:
        """Paired differences of the comparisons named in params.yaml."""
        return self.root / "metrics" / "comparisons.json"

    @property
    def headlines(self) -> Path:
        """Each case's score beside that of the best shortcut of its view."""
        return self.root / "metrics" / "headlines.json"

    @property
    def searches(self) -> Path:
        """Which candidate each search chose on validation images, and how that one is tested."""
        return self.root / "metrics" / "searches.json"

    @property
    def discussion(self) -> Path:
        """The comparisons in words."""
        return self.root / "plots" / "discussion.md"

    def side_by_side(self, dataset: str) -> Path:
        """The same test images as all cases of a data set see them."""
        return self.root / "plots" / "side_by_side" / f"{dataset}.png"

    def plot(self, name: str) -> Path:
        """A table over all cases, by its name in `build_plot_tables`."""
        return self.root / "plots" / f"{name}.csv"

    @property
    def report(self) -> Path:
        """The one page that says it all."""
        return self.root / "plots" / "report.html"


def download_of(path: str) -> str | None:
    """The `<name>` of data/downloads/<name> where a path of params.yaml lies in one; "" above."""
    parts = PurePosixPath(posixpath.normpath(path)).parts
    if parts[:2] != DOWNLOADS:
        return None
    return parts[2] if len(parts) > 2 else ""
