"""The page of results on real images, from what `real_results collect` kept."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from stages.config.yaml_file import read_yaml
from stages.evaluation.statistics.records import Estimate, Paired
from stages.reporting.shortcuts import probe_label
from stages.reporting.wording import LEAKAGE, as_text, label, p_text, setting
from tests.benchmarks.real_picture import Picture, describe, draw, estimate, figure_text

Json = dict[str, Any]

GIGA, TERA = 1e9, 1e12
NOT_KNOWN = "not known"
METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity")
FILE = "file"  # the probe that sees no pixel
COLUMNS = (
    *("case", "network, weights, trained blocks, loss", *(label(metric) for metric in METRICS)),
    "sensitivity and specificity, threshold of 90 % specificity",
    "AUROC less that of the best shortcut, same images",
    "accuracy less that of the most accurate probe, same images",
    *("test images", "trainings", "min each", "GFLOP per image", "TFLOP in all", "peak MB"),
)


class Study(BaseModel):
    """A section of the page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    about: str
    picture: Picture | None
    cases: list[str]
    comparisons: list[str]
    external: list[str]


def load_studies(path: Path) -> list[Study]:
    """The sections, in the order of the file."""
    content: Any = read_yaml(path)
    return [Study.model_validate(entry) for entry in content]


def build_page(head: str, phantoms: str, studies: Sequence[Study], runs: Sequence[Json]) -> str:
    """The whole page as Markdown.

    Args:
        head: what stands above the first section.
        phantoms: the section of the default run.
        studies: the sections; cases without results are named as not run.
        runs: what was collected; no case is in two of them.
    """
    sections = [head, phantoms, *(_study(study, runs) for study in studies), _machines(runs)]
    return "\n".join(sections)


def _study(study: Study, runs: Sequence[Json]) -> str:
    found, audits = _merged(runs, "cases"), _merged(runs, "audits")
    cases = {name: found[name] for name in study.cases if name in found}
    missing = [name for name in study.cases if name not in found]
    parts = [f"## {study.title}\n\n{study.about}\n"]
    if study.picture and _is_drawn(study.picture, found):
        parts.append(f"![{describe(study.picture, found, audits)}](real/{study.picture.file})\n")
    if cases:
        rows = [_case_row(name, case) for name, case in cases.items()]
        for view in dict.fromkeys(case["view"] for case in cases.values()):
            rows += _shortcut_rows(view, audits[view])
        parts.append(markdown_table(COLUMNS, rows))
        parts += _confusions(cases)
    if missing:
        parts.append(f"Not run: {', '.join(f'`{name}`' for name in missing)}.\n")
    parts += _comparisons(_chosen(runs, "comparisons", study.comparisons))
    parts += _external(_chosen(runs, "external", study.external))
    return "\n".join(parts)


def draw_pictures(studies: Sequence[Study], runs: Sequence[Json]) -> dict[str, str]:
    """The SVG of each section that has a picture, by the name of its file."""
    found, audits = _merged(runs, "cases"), _merged(runs, "audits")
    pictures = [study.picture for study in studies if study.picture]
    return {p.file: draw(p, found, audits) for p in pictures if _is_drawn(p, found)}


def _is_drawn(picture: Picture, cases: Mapping[str, Json]) -> bool:
    return any(name in cases for name in picture.cases)


def _merged(runs: Sequence[Json], part: str) -> Json:
    return {name: entry for run in runs for name, entry in run[part].items()}


def _chosen(runs: Sequence[Json], part: str, names: Iterable[str]) -> Json:
    found = _merged(runs, part)
    return {name: found[name] for name in names if name in found}


def _case_row(name: str, case: Json) -> list[str]:
    figures, headline = case["figures"], case["headline"]
    mark = LEAKAGE.sign if case["optimistic"] else ""
    accuracy, *others = (_figure(figures, metric) for metric in METRICS)
    if "accuracy_run_sd" in figures:
        mean, sd = (as_text(figures[f"accuracy_run_{what}"]) for what in ("mean", "sd"))
        accuracy += f"; mean of {case['n_runs']} {mean}, sd {sd}"
    return [
        f"`{name}`{mark}",
        ", ".join((case["model"], case["weights"], case["train"], setting(case["loss"]))),
        *(accuracy, *others, _point(figures), *_floor(headline)),
        *(f"{case[count]:,}" for count in ("n_test", "n_runs")),
        *_cost(case),
    ]


def _floor(headline: Json | None) -> list[str]:
    """What a case has above the best shortcut by AUROC, and above the most accurate probe."""
    if headline is None:
        return ["no headline", "no headline"]
    auroc = f"{_difference(headline, 'difference')}, {probe_label(headline['shortcut'])}"
    if "most_accurate" not in headline:  # of a run before there was a floor of accuracy
        return [auroc, NOT_KNOWN]
    accuracy = _difference(headline, "accuracy_difference")
    return [auroc, f"{accuracy}, {probe_label(headline['most_accurate'])}"]


def _cost(case: Json) -> list[str]:
    spent = case["spent"]
    minutes = NOT_KNOWN if spent is None else f"{spent['work'] / 60 / case['n_runs']:.1f}"
    return [
        minutes,
        _operations(case["flop_per_image"], GIGA),
        _operations(case["flop_of_all_runs"], TERA),
        NOT_KNOWN if spent is None else f"{spent['peak']:,.0f}",
    ]


def _operations(count: int | None, unit: float) -> str:
    return NOT_KNOWN if count is None else f"{count / unit:,.3g}"


def _shortcut_rows(view: str, audit: Json) -> list[list[str]]:
    """The file alone, and the best of all, by AUROC and by accuracy."""
    what = {FILE: "shortcut"}
    if "most_accurate" in audit:  # not of a run before there was a floor of accuracy
        what[audit["most_accurate"]] = "most accurate probe"
    what[audit["best_shortcut"]] = "best shortcut" + (
        ", most accurate probe" if audit.get("most_accurate") == audit["best_shortcut"] else ""
    )
    return [
        [
            f"*{probe_label(name)}, `{view}`*",
            f"*{said}*",
            *(_figure(audit["shortcuts"][name], metric) for metric in METRICS),
            _point(audit["shortcuts"][name]),
            *("", ""),
            f"{audit['n']:,}",
        ]
        for name, said in what.items()
    ]


def _confusions(cases: Mapping[str, Json]) -> list[str]:
    """Which classes are taken for which; of two classes the figures above say as much."""
    several = {name: case for name, case in cases.items() if len(case["class_names"]) > 2}
    if not several:
        return []
    names = next(iter(several.values()))["class_names"]
    pairs = [(actual, said) for actual in names for said in names]
    rows = [
        [f"`{name}`", *(f"{count:,}" for row in case["confusion_matrix"] for count in row)]
        for name, case in several.items()
    ]
    columns = [actual if actual == said else f"{actual} as {said}" for actual, said in pairs]
    return [markdown_table(("images (of each training, if not averaged)", *columns), rows)]


def _comparisons(found: Mapping[str, Json]) -> list[str]:
    if not found:
        return []
    rows = [
        [
            f"{name}: `{one['first']}` less `{one['second']}`",
            f"{one['n']:,}",
            label(metric),
            *_tested(Paired.from_json(pair).difference),
        ]
        for name, one in found.items()
        for metric, pair in one["metrics"].items()
    ]
    columns = ("comparison, paired on the same images", "images", "figure", "difference")
    return [markdown_table((*columns, "p", "p, Holm over all comparisons of the run"), rows)]


def _tested(difference: Estimate) -> list[str]:
    p_values = (difference.p_value, difference.p_value_holm)
    return [figure_text(difference, "+"), *map(p_text, p_values)]


def _external(found: Mapping[str, Json]) -> list[str]:
    if not found:
        return []
    rows = [
        [
            f"{name}: `{test['case']}` on `{test['view']}`",
            f"{test['n']:,}",
            *(_figure(test["figures"], metric) for metric in METRICS),
            *(_difference(test["drop"][metric]) for metric in ("balanced_accuracy", "auroc")),
        ]
        for name, test in found.items()
    ]
    changes = ("balanced accuracy against the own test images", "AUROC against these")
    columns = ("elsewhere, untouched", "images", *(label(metric) for metric in METRICS), *changes)
    return [markdown_table(columns, rows)]


def _machines(runs: Sequence[Json]) -> str:
    rows: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        commit = run["commit"][:7] + (" and changes that are not in it" * run["code_changed"])
        for name, case in run["cases"].items():
            versions = ", ".join(f"{what} {number}" for what, number in case["versions"].items())
            threads = f"{case['threads']} thread{'s' * (case['threads'] > 1)}"
            device = f"{case['device']}, {threads}, {run['memory_gib']} GiB"
            rows.setdefault((commit, device, case["precision"], versions), []).append(name)
    title = "## Commits, hardware and versions\n\n"
    if not rows:
        return f"{title}Nothing was collected yet.\n"
    columns = ("commit", "trained on", "precision", "versions", "cases")
    body = [[*setup, ", ".join(f"`{name}`" for name in names)] for setup, names in rows.items()]
    return title + markdown_table(columns, body)


def _figure(figures: Json, name: str) -> str:
    return figure_text(estimate(figures, name))


def _point(figures: Json) -> str:
    """Sensitivity and specificity at the threshold that was chosen for 90 % specificity."""
    rates = (f"{rate}_specificity_90" for rate in ("sensitivity", "specificity"))
    return " at ".join(_figure(figures, rate) for rate in rates)


def _difference(values: Json, name: str = "") -> str:
    """A signed difference by the names that files have it by."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("difference", "low", "high")
    return figure_text(Estimate(*(values[key] for key in keys)), "+")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; what a row lacks at its end stays empty."""
    padded = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    lines = [columns, ["---"] * len(columns), *padded]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
