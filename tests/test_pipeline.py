"""dvc.yaml against the code: what a stage imports and reads is what DVC watches."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from dvc_data.hashfile.meta import Meta
from ruamel.yaml import YAML

from stages.config.load import load_params
from stages.config.paths import Paths

ROOT = Path(__file__).parents[1]
GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
SOURCE_PATH = "${item.source.path}"
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
    """As listed; where each entry brings a path of its own, those of the default parameters."""
    listed = [dep for dep in STAGES[stage].get("deps", []) if dep != SOURCE_PATH]
    if SOURCE_PATH not in STAGES[stage].get("deps", []):
        return listed
    entries = getattr(load_params(ROOT / "params.yaml"), GRAPH[stage]["foreach"].strip("${}"))
    paths = {entry.source.path for entry in entries.values()}
    return listed + [f"{path}/" if (ROOT / path).is_dir() else path for path in sorted(paths)]


def is_covered(file: str, listed: list[str]) -> bool:
    return any(
        file == entry or (entry.endswith("/") and file.startswith(entry)) for entry in listed
    )


def test_the_default_parameters_are_valid():
    assert load_params(ROOT / "params.yaml").cases


def keys_of(value):
    """Every key of nested mappings and lists."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    return {key for inner in value for key in keys_of(inner)} if isinstance(value, list) else set()


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_the_key_of_its_run_cache():
    raw = YAML(typ="safe").load(ROOT / "params.yaml")
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


def test_what_starts_the_graph_waits_for_the_check_and_nothing_else_does():
    # All other stages descend from these.
    waiting = {stage for stage in STAGES if Paths().check.as_posix() in dependencies(stage)}
    assert waiting == {"fetch", "prepare", "weights"}


def modules_without_package_names():
    return [path for path in (ROOT / "stages").rglob("*.py") if path.name != "__init__.py"]


def test_what_the_authors_say_of_a_study_changes_the_report_alone():
    on_the_whole_file = {name for name, stage in STAGES.items() if "params.yaml" in stage["deps"]}
    assert on_the_whole_file == {"check", "report"}  # and check writes the same whatever it reads
    listed = [name for stage in STAGES.values() for name in stage.get("params", [])]
    assert not [name for name in listed if name.partition(".")[0] == "study"]


def test_no_two_files_have_names_that_differ_by_an_s():
    names = {path.stem for path in modules_without_package_names()}
    assert not [name for name in names if f"{name}s" in names]


@pytest.mark.parametrize(
    "stage", ["fetch", "prepare", "crop", "audit", "evaluate", "compare", "report"]
)
def test_a_stage_of_tables_and_pictures_imports_no_torch(stage):
    program = f"import sys, stages.{stage}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_packages_import_in_one_direction():
    order = [
        *("config", "dataset", "phantoms", "sources", "downloads", "imaging", "modeling"),
        *("evaluation", "explain", "checking", "reporting", "adoption", "deployment"),
        "parallelism",
    ]
    for file in (ROOT / "stages").rglob("*.py"):
        package = file.relative_to(ROOT / "stages").parts[0]
        if package.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages."):
                imported = str(node.module).split(".")[1]
                assert imported in order, f"{file} imports the stage {imported}"
                assert order.index(imported) <= order.index(package), f"{file} imports {imported}"
