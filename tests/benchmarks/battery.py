"""Shortcut probes: how often they find a planted marker, and how often they find what is not there.

Cohorts of phantoms are drawn with a marker on half of the ill and a twentieth of the healthy,
without any, and without any and with the labels dealt to the patients at random. A probe tells
where its p-value is below 0.05; the report, where that of one is after Holm's adjustment. Lesions
are in the lungs alone, so that what is told of a cohort without a marker is a false alarm, but not
of the thumbnail, which shows the lungs and which the report leaves out.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from stages.config.params import Cohort, Crop, LungCrop, NoCrop
from stages.dataset.image_set import DatasetInfo, ImageSet
from stages.dataset.split import deal_folds
from stages.evaluation.shortcuts import PROBES, SHOWS_DISEASE, Shown, p_values
from stages.evaluation.statistics.paired_tests import adjust_holm
from stages.evaluation.statistics.permutation import Permutations
from stages.imaging.cropping import crop_image
from stages.phantoms.cohort import PHANTOM_CLASSES, CohortImage, plan_cohort
from stages.phantoms.picture import Phantom
from tests.benchmarks import measure
from tests.dataset.sample import PREPARED

FOLDS = 5
LEVEL = 0.05
MARKED, HEALTHY = 0.5, 0.05  # shares with a marker
VIEWS: dict[str, tuple[Crop, str]] = {
    "full": (NoCrop(kind="none"), "letterbox"),
    "lungs": (LungCrop(kind="lungs", margin=0.05, fallback_fraction=0.8), "stretch"),
}
SHORTCUTS = [name for name, probe in PROBES.items() if probe.kind == "shortcut"]
REPORT = "the report"
CONDITIONS = ("marker", "no marker", "labels dealt")
Told = dict[tuple[str, str], list[bool]]  # probe and condition to whether it told, by cohort


class Drawn(NamedTuple):
    """A cohort with and without its markers, image by image."""

    plan: list[CohortImage]
    clean: list[Phantom]
    marked: list[Phantom]


def main() -> None:
    """Draw cohorts, run the probes and print a table per kind and view."""
    args = _parse()
    watch = measure.Stopwatch()
    for kind in args.kinds:
        told: dict[str, Told] = {view: defaultdict(list) for view in args.views}
        for number in range(max(args.cohorts, args.marked)):
            seed = args.first + number
            drawn = _draw(kind, args, seed, with_marker=number < args.marked)
            for view, found in told.items():
                for condition, images in _conditions(drawn, kind, view, args, number):
                    _record(found, condition, _probe(images, args.permutations, seed))
        for view, found in told.items():
            print(f"\n{kind}, {view}, {args.patients} patients of each class, {args.px} px")
            _show(found)
    print(f"\n{watch.cost().cpu_seconds:.0f} CPU seconds; {measure.describe_run()}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kinds", nargs="+", default=["xray"], choices=list(PHANTOM_CLASSES))
    parser.add_argument("--views", nargs="+", default=["full"], choices=list(VIEWS))
    parser.add_argument("--patients", type=int, default=60, help="of each class, an image of each")
    parser.add_argument("--cohorts", type=int, default=3, help="without a marker")
    parser.add_argument("--marked", type=int, default=3, help="cohorts with a marker")
    parser.add_argument("--first", type=int, default=0, help="seed of the first cohort")
    parser.add_argument("--px", type=int, default=64, help="side of the pictures and of the views")
    parser.add_argument("--permutations", type=int, default=199, help="deals of the labels")
    return parser.parse_args()


def _draw(kind: str, args: argparse.Namespace, seed: int, *, with_marker: bool) -> Drawn:
    classes = PHANTOM_CLASSES[kind]
    cohort = Cohort.model_validate(
        {
            "kind": kind,
            "patients": dict.fromkeys(classes, args.patients),
            "images_per_patient": 1,
            "marker_share": {name: HEALTHY if name == "normal" else MARKED for name in classes},
        }
    )
    plan = plan_cohort(cohort, size_px=args.px, seed=seed)
    clean = [replace(image, marker_share=0.0).draw() for image in plan]
    marked = [
        image.draw() if with_marker and image.has_marker else drawn
        for image, drawn in zip(plan, clean, strict=True)
    ]
    return Drawn(plan, clean, marked)


def _conditions(
    drawn: Drawn, kind: str, view: str, args: argparse.Namespace, number: int
) -> Iterator[tuple[str, ImageSet]]:
    if number < args.marked:
        yield CONDITIONS[0], _make_view(drawn.plan, drawn.marked, kind, view)
    if number < args.cohorts:
        clean = _make_view(drawn.plan, drawn.clean, kind, view)
        yield CONDITIONS[1], clean
        dealt = np.random.default_rng(args.first + number).permutation(clean.manifest["label"])
        yield CONDITIONS[2], replace(clean, manifest=clean.manifest.assign(label=dealt))


def _make_view(
    plan: Sequence[CohortImage], drawn: Sequence[Phantom], kind: str, view: str
) -> ImageSet:
    crop, fit = VIEWS[view]
    modality, size_px = "xray" if kind.startswith("xray") else "ct", plan[0].size_px
    rows = [
        crop_image(one.image, None, 0, crop=crop, modality=modality, size_px=size_px, fit=fit)
        for one in drawn
    ]
    manifest = pd.DataFrame(
        {
            "image_id": [image.patient_id for image in plan],
            "group_id": [image.patient_id for image in plan],
            "label": [image.label for image in plan],
            "width": [one.image.shape[1] for one in drawn],
            "height": [one.image.shape[0] for one in drawn],
            "file_bytes": [len(one.to_png()) for one in drawn],
            "mode": "L",
            "format": "PNG",
        }
    )
    return ImageSet(
        info=_describe(kind, modality, len(plan)),
        manifest=manifest,
        images=np.stack([row.image for row in rows]),
        truth=None,
        lung_masks=np.stack([row.lung_mask for row in rows]),
        boxes=pd.DataFrame(
            [row.view_box for row in rows], columns=["view_x0", "view_y0", "view_x1", "view_y1"]
        ),
    )


def _describe(kind: str, modality: str, n: int) -> DatasetInfo:
    classes = list(PHANTOM_CLASSES[kind])
    return DatasetInfo(
        dataset=kind,
        source="phantoms",
        is_phantom=True,
        modality=modality,
        class_names=classes,
        positive=classes[0],
        n_files=n,
        n_rejected=0,
        n_left_out=0,
        leakage=[],
        implies={},
        suspicious={},
        preprocessing=PREPARED,
    )


def _probe(view: ImageSet, draws: int, seed: int) -> dict[str, bool]:
    """Whether each probe, and the report, tells the positive class from the rest."""
    labels, groups = (view.manifest[column].to_numpy(str) for column in ("label", "group_id"))
    fold_of = deal_folds(labels, groups, FOLDS, seed=seed)
    of_positive = view.info.positive_index
    shown = Shown(view)
    found = {
        name: p_values(PROBES[name].features(shown), view, fold_of, Permutations(draws, seed))
        for name in SHORTCUTS
    }
    plain = {name: values.by_class[of_positive] for name, values in found.items()}
    family = {name: p_value for name, p_value in plain.items() if name not in SHOWS_DISEASE}
    adjusted = [p_value for p_value in adjust_holm(family).values() if p_value is not None]
    return {name: p < LEVEL for name, p in plain.items()} | {REPORT: min(adjusted) < LEVEL}


def _record(told: Told, condition: str, found: Mapping[str, bool]) -> None:
    for probe, has_told in found.items():
        told[probe, condition].append(has_told)


def _show(told: Told) -> None:
    print(f"{'told by':<12}" + "".join(f"{condition:>26}" for condition in CONDITIONS))
    for probe in (*SHORTCUTS, REPORT):
        cells = (_share(told.get((probe, condition), [])) for condition in CONDITIONS)
        print(f"{probe:<12}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


def _share(told: Sequence[bool]) -> str:
    """With Wilson's 95 % interval."""
    if not told:
        return "-"
    low, high = proportion_confint(sum(told), len(told), method="wilson")
    return f"{sum(told)}/{len(told)} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
