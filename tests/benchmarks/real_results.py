"""Results: copy what a finished run on real images left, and make the page of it.

    python -m tests.benchmarks.real_results collect    # of the run in this folder: metrics/real/
    python -m tests.benchmarks.real_results write      # metrics/README.md and its pictures, from
                                                       # these and the default run's plots/table.csv
    python -m tests.benchmarks.real_results check      # fails where the page is another one

`metrics/README.md` has the commands of the run itself.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_json, write_text
from stages.dataset.finished import first_missing
from tests.benchmarks.phantom_page import build_phantom_section
from tests.benchmarks.real_page import build_page, draw_pictures, load_studies

Json = dict[str, Any]

KEPT = Path("metrics/real")
PAGE = Path("metrics/README.md")
PHANTOMS, TABLE = KEPT / "phantoms.md", Path("plots/table.csv")
ENDS = ("", "_low", "_high")
METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity")
POINT = ("sensitivity_specificity_90", "specificity_specificity_90")
SPREAD = ("accuracy_run_mean", "accuracy_run_sd")
COMPARED = ("accuracy", "balanced_accuracy", "auroc")
CODE = ("stages", "dvc.yaml", "requirements.txt")


def main() -> None:
    """Collect, write or check."""
    options = _parse()
    if options.what == "collect":
        write_json(KEPT / f"{options.name}.json", collect(options.run))
        return
    for path, text in _documents().items():
        if options.what == "write":
            write_text(path, text)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"error: {path} is not what {KEPT} makes; run this with `write`")


def _documents() -> dict[Path, str]:
    """The page and its pictures."""
    head, text = (path.read_text(encoding="utf-8") for path in (KEPT / "head.md", PHANTOMS))
    studies, runs = load_studies(KEPT / "studies.yaml"), load_runs(KEPT)
    phantoms = build_phantom_section(text, pd.read_csv(TABLE))
    pictures = draw_pictures(studies, runs).items()
    return {
        PAGE: build_page(head, phantoms, studies, runs),
        **{KEPT / name: drawn for name, drawn in pictures},
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("what", choices=("collect", "write", "check"))
    parser.add_argument("--run", type=Path, default=Path(), help="root of the finished run")
    parser.add_argument("--name", default="run", help="of the file that it is collected in")
    return parser.parse_args()


def load_runs(folder: Path) -> list[Json]:
    """What was collected, by name.

    Raises:
        UserError: two runs have the same case, so that it is not clear which one is to be shown.
    """
    runs = {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    seen: dict[str, Path] = {}
    for path, run in runs.items():
        for case in run["cases"]:
            if case in seen:
                raise UserError(f"{path}: case {case!r} is in {seen[case]} too; remove one of them")
            seen[case] = path
    return list(runs.values())


def collect(root: Path) -> Json:
    """Everything that the page says of a run: figures and facts, no images.

    Args:
        root: where the run's params.yaml and its results lie. Cases, comparisons and external tests
            that have no results are left out.

    Raises:
        UserError: no case has results.
    """
    params, paths = load_params(root / "params.yaml"), Paths(root)
    cases = {n: _case(params, n, paths) for n in params.cases if _is_finished(params, n, paths)}
    if not cases:
        raise UserError(f"{root}: no case of its params.yaml has results; run there: dvc repro")
    views = dict.fromkeys(found["view"] for found in cases.values())
    return {
        **_state(root),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "cases": cases,
        "audits": {view: _audit(_read(paths.audit(view))) for view in views},
        "comparisons": {
            name: _comparison(_read(paths.comparisons)[name])
            for name, pair in params.comparisons.items()
            if cases.keys() >= set(pair)
        },
        "external": {
            name: _external(_read(paths.external(name)))
            for name in params.external
            if paths.external(name).exists()
        },
    }


def _is_finished(params: Params, name: str, paths: Paths) -> bool:
    files = (
        paths.case_metrics(name),
        paths.case_report(name),
        paths.training_facts(name),
        paths.audit(params.case(name).view),
        paths.headlines,
    )
    if first_missing(files):
        return False
    # `compare` leaves out what had no results then; an optimistic case never has a headline.
    is_optimistic = params.protocol(params.case(name).protocol).is_optimistic
    return is_optimistic or name in _read(paths.headlines)


def _case(params: Params, name: str, paths: Paths) -> Json:
    case, metrics = params.case(name), _read(paths.case_metrics(name))
    facts, report = _read(paths.training_facts(name)), _read(paths.case_report(name))
    several = [key for key in SPREAD if key in metrics]
    return {
        **{key: getattr(case, key) for key in ("view", "model", "weights", "train", "recipe")},
        "dataset": params.view(case.view).dataset,
        "loss": case.loss.model_dump(),
        "protocol": params.protocol(case.protocol).model_dump(),
        "positive": report["positive"],
        **_take(report["test"], ("class_names", "confusion_matrix")),
        # Leakage that was allowed, and a protocol that is optimistic on purpose.
        "optimistic": bool(metrics["n_leaking_groups"] or metrics["optimistic"]),
        "figures": _take(metrics, [*_with_ends((*METRICS, *POINT)), *several]),
        **_take(metrics, ("n_test", "n_runs")),
        "headline": _read(paths.headlines).get(name),
        **_take(facts, ("epochs_run", "device", "precision", "threads", "versions")),
        "flop_per_image": facts["flop"]["per_image"],
        "flop_of_all_runs": facts["flop_of_all_runs"],
        "spent": _spent(paths.time(f"train@{name}")),
    }


def _spent(path: Path) -> Json | None:
    """Seconds and peak memory of a training; None of one that DVC restored from its cache."""
    return _take(_read(path), ("work", "cpu", "peak")) if path.exists() else None


def _audit(audit: Json) -> Json:
    shortcuts = {
        name: _take(found, _with_ends(("auroc", "balanced_accuracy", *METRICS, *POINT)))
        for name, found in audit["probes"].items()
        if found["kind"] in ("shortcut", "baseline")
    }
    facts = ("n", "n_groups", "best_shortcut", "most_accurate")
    return {**_take(audit, facts), "shortcuts": shortcuts}


def _comparison(found: Json) -> Json:
    test = found["test"]
    return {
        **_take(found, ("first", "second")),
        **_take(test, ("n", "n_groups")),
        "metrics": {metric: test[metric] for metric in COMPARED},
    }


def _external(found: Json) -> Json:
    return {
        **_take(found, ("case", "view", "dataset", "n", "n_shared_with_training")),
        "figures": _take(found["metrics"], _with_ends(METRICS)),
        "drop": {metric: found["drop"][metric] for metric in ("balanced_accuracy", "auroc")},
    }


def _state(root: Path) -> Json:
    """The commit that a run stands at, and whether its code is that of the commit."""
    commit, changes = (
        subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
        for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", *CODE))
    )
    return {"commit": commit, "code_changed": bool(changes)}


def _with_ends(names: Sequence[str]) -> list[str]:
    return [f"{name}{end}" for name in dict.fromkeys(names) for end in ENDS]


def _take(content: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: content[key] for key in keys}


def _read(path: Path) -> Json:
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
