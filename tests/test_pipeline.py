"""dvc.yaml against the code: what a stage imports and reads is what DVC watches."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from dvc_data.hashfile.meta import Meta

from stages.config.load import load_params
from stages.config.paths import Paths

ROOT = Path(__file__).parents[1]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in GRAPH.items()}


@cache
def imported_files(module: str) -> frozenset[str]:
    """Files below stages/ that a module imports, and what these import; packages' names aside."""
    path = Path(*module.split("."))
    file = path.with_suffix(".py") if (ROOT / path.with_suffix(".py")).exists() else None
    if file is None and (ROOT / path / "__init__.py").exists():
        file = path / "__init__.py"
    if file is None or file.parts[:2] == ("stages", "config"):
        return frozenset()
    found = {file.as_posix()}
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages."):
            found |= imported_files(str(node.module))
    return frozenset(found)


def dependencies(stage: str) -> list[str]:
    return STAGES[stage].get("deps", [])


def is_covered(file: str, listed: list[str]) -> bool:
    return any(
        file == entry or (entry.endswith("/") and file.startswith(entry)) for entry in listed
    )


def fields_read(stage: str) -> set[str]:
    """Top-level names of `params.<name>` in the stage module."""
    text = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    for package in ("report",) if stage == "compare" else ():
        files = sorted((ROOT / "stages" / package).glob("*.py"))
        text += "".join(file.read_text(encoding="utf-8") for file in files)
    accessors = {
        "dataset": "datasets",
        "view": "views",
        "case": "cases",
        "initial_weights": "weights",
        "external_test": "external",
    }
    names = set(re.findall(r"params\.([a-z]+(?:_[a-z]+)*)", text)) - {"yaml"}
    return {accessors.get(name, name) for name in names}


def test_the_default_parameters_are_valid():
    assert load_params(ROOT / "params.yaml").cases


def keys_of(value):
    """Every key of nested mappings and lists."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    return {key for inner in value for key in keys_of(inner)} if isinstance(value, list) else set()


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_the_key_of_its_run_cache():
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    left_out = {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
    assert left_out == {"size", "nfiles"}
    assert not keys_of(raw) & left_out


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_a_dependency(stage):
    missing = {
        file
        for file in imported_files(f"stages.{stage}")
        if not is_covered(file, dependencies(stage))
    }
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_every_code_dependency_is_imported(stage):
    files = imported_files(f"stages.{stage}")
    unused = [
        entry
        for entry in dependencies(stage)
        if entry.startswith("stages/")
        and entry != "stages/config/"
        and not any(is_covered(file, [entry]) for file in files)
    ]
    assert not unused


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_run_as_a_module_of_that_name(stage):
    assert STAGES[stage]["cmd"].split()[:3] == ["python", "-m", f"stages.{stage}"]


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "check"])
def test_every_section_that_a_stage_reads_is_tracked(stage):
    tracked = {entry.split(".")[0] for entry in STAGES[stage]["params"]}
    assert fields_read(stage) == tracked


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "check"])
def test_every_stage_waits_for_the_check(stage):
    assert Paths().check.as_posix() in dependencies(stage)


def outputs(stage: str) -> set[str]:
    entries = [e for kind in ("outs", "metrics", "plots") for e in STAGES[stage].get(kind, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


PATHS, KEY = Paths(), "${key}"
WRITTEN = {
    "check": {PATHS.check},
    "prepare": {PATHS.prepared(KEY)},
    "crop": {PATHS.view(KEY)},
    "audit": {PATHS.audit(KEY), PATHS.audit_predictions(KEY)},
    "weights": {PATHS.weights(KEY)},
    "train": {PATHS.weights(KEY), PATHS.history(KEY)},
    "evaluate": {PATHS.predictions(KEY), PATHS.case_metrics(KEY), PATHS.case_report(KEY)},
    "cam": {PATHS.cam_sheets(KEY), PATHS.cam_scores(KEY)},
    "external": {PATHS.external(KEY), PATHS.external_predictions(KEY)},
    "compare": {PATHS.report, PATHS.discussion, PATHS.comparisons, PATHS.headlines}
    | {PATHS.side_by_side("any").parent}
    | {PATHS.plot(name) for name in ("table", "curves", "steps", "roc", "pr", "confusion")},
}


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_in_dvc_yaml_are_the_paths_that_the_code_writes(stage):
    assert outputs(stage) == {path.as_posix() for path in WRITTEN[stage]}


def test_packages_import_in_one_direction():
    order = ["config", "sources", "imaging", "modeling", "evaluation", "explain", "report"]
    for file in (ROOT / "stages").rglob("*.py"):
        package = file.relative_to(ROOT / "stages").parts[0]
        if package.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages."):
                imported = str(node.module).split(".")[1]
                assert imported in order, f"{file} imports the stage {imported}"
                assert order.index(imported) <= order.index(package), f"{file} imports {imported}"
