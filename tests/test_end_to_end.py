"""The daily loop through DVC itself, on a few phantoms: run, change a case, queue experiments."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.real_page import Study, build_page
from tests.benchmarks.real_results import collect
from tests.clones import make_clone, run_python
from tests.conftest import load_raw_params, shrink, write_params

CASE_STAGES = ("train", "evaluate", "cam")
CASE = "full-focal"
# Outputs that hold neither a picture of the data nor a thumbnail, as README.md has them.
WITHOUT_PICTURES = (
    *("data/weights/*", "plots/history/*", "plots/*.csv", "metrics/*.json"),
    *(f"metrics/{folder}/*" for folder in ("audit", "cam", "cases", "external", "reports")),
)
LONGEST_QUEUE_S = 300  # far beyond the 30 s that it takes: a worker that died must not hang this


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with tiny parameters in a DVC repository of its own, run once."""
    folder = make_clone(tmp_path_factory.mktemp("clone"), tiny())
    repro(folder)
    return folder


def tiny() -> dict[str, Any]:
    """The parameters of the other tests, with focal loss in one of the two cases."""
    raw = shrink(load_raw_params())
    loss = {"kind": "focal", "gamma": 2.0, "alpha": None}
    raw["cases"][CASE] = raw["cases"].pop("full-ce") | {"loss": loss}
    raw["comparisons"] = {"crop": ["lungs-bce", CASE]}
    raw["searches"] = {"ct": {"cases": ["lungs-bce", CASE], "by": "log_loss"}}
    return raw


def run_dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python(folder, "-m", "dvc", *arguments)


def repro(folder: Path) -> set[str]:
    """Run `dvc repro`; returns the stages that were run."""
    done = run_dvc(folder, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"Running stage '(.+)':", done.stdout))


@pytest.mark.slow
def test_the_whole_graph_runs_and_a_second_time_nothing_does(clone: Path) -> None:
    assert (clone / "plots" / "report.html").exists()
    assert repro(clone) == set()


@pytest.mark.slow
def test_dvc_lists_a_few_figures_per_case_and_a_picture_per_data_set(clone: Path) -> None:
    shown = json.loads(dvc(clone, "metrics", "show", "--json"))[""]["data"]
    assert sorted(shown) == [f"metrics/summary/{case}.json" for case in (CASE, "lungs-bce")]
    assert all(len(found["data"]) <= 6 for found in shown.values())
    dvc(clone, "plots", "show", "--html-template", ".dvc/plots/offline.html")
    page = (clone / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    titles = re.findall(r'"title": {"text": "([^"]+)"', page)
    assert titles[:2] == ["Cases on test images", "Loss per epoch"]
    assert len(titles) == 9
    assert len(re.findall("<img", page)) == 1
    assert "https://cdn" not in page


@pytest.mark.slow
def test_a_run_says_what_it_will_do_and_where_it_is(clone: Path) -> None:
    raw = tiny()
    raw["cases"][CASE]["loss"]["gamma"] = 3.0
    write_params(clone / "params.yaml", raw)
    said = dvc(clone, "repro").splitlines()
    write_params(clone / "params.yaml", tiny())
    repro(clone)
    # check, the three stages of the case, compare, report; nothing of the other case.
    found = [line for line in said if "of 15 stages may have to run" in line]
    assert len(found) == 1
    assert found[0].startswith("dvc: 6 of 15 ")
    at = [line.partition(",")[0] for line in said if re.search(r": \d of 6, about", line)]
    names = ["check", *(f"{stage}@{CASE}" for stage in CASE_STAGES), "compare", "report"]
    assert at == [f"{name}: {number} of 6" for number, name in enumerate(names, 1)]


@pytest.mark.slow
def test_a_changed_case_runs_alone_and_is_restored_when_changed_back(clone: Path) -> None:
    metrics = clone / "metrics" / "cases" / f"{CASE}.json"
    before = metrics.read_text(encoding="utf-8")
    raw = tiny()
    raw["cases"][CASE]["loss"]["gamma"] = 0.0
    write_params(clone / "params.yaml", raw)
    stages = {f"{stage}@{CASE}" for stage in CASE_STAGES}
    assert repro(clone) == {"check", *stages, "compare", "report"}
    assert metrics.read_text(encoding="utf-8") != before
    write_params(clone / "params.yaml", tiny())
    # From the run-cache, but for `report`: DVC keeps none of a stage with an output that is
    # neither cached nor a metric or plot (plots/discussion.md).
    assert repro(clone) == {"report"}
    assert metrics.read_text(encoding="utf-8") == before


def edited(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    raw = tiny()
    change(raw)
    return raw


# What is edited, and the stages that run again; `check` and `report` always do.
EDITS: list[tuple[str, Callable[[dict[str, Any]], object], set[str]]] = [
    (
        "the licence of a data set",
        lambda raw: raw["datasets"]["ct"].update(licence="another", provenance="elsewhere"),
        set(),
    ),
    (
        "what the authors say of the study",
        lambda raw: raw["study"].update(funding="none", limitations="few drawings"),
        set(),
    ),
    (
        "prevalences",
        lambda raw: raw["evaluate"].update(prevalences=[0.3]),
        {f"evaluate@{CASE}", "evaluate@lungs-bce", "compare"},
    ),
    (
        "what errors cost",
        lambda raw: raw["evaluate"].update(
            costs={"ct": {"covid": {"normal": 5}, "normal": {"covid": 1}}}
        ),
        {f"evaluate@{CASE}", "evaluate@lungs-bce", "compare"},
    ),
    (
        "a recipe of one case",
        lambda raw: (
            raw["recipes"].update(other=raw["recipes"]["short"] | {"lr": 2e-3}),
            raw["cases"][CASE].update(recipe="other"),
        ),
        {*(f"{stage}@{CASE}" for stage in CASE_STAGES), "compare"},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "runs"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS]
)
def test_an_edit_runs_what_depends_on_it_and_nothing_else(
    clone: Path, change: Callable[[dict[str, Any]], object], runs: set[str]
) -> None:
    write_params(clone / "params.yaml", edited(change))
    assert repro(clone) == {"check", "report", *runs}
    write_params(clone / "params.yaml", tiny())
    repro(clone)


@pytest.mark.slow
def test_of_an_entry_that_is_taken_out_no_figure_is_listed_any_more(clone: Path) -> None:
    raw = tiny()
    raw["cases"]["bygone"] = raw["cases"]["lungs-bce"]
    write_params(clone / "params.yaml", raw)
    repro(clone)
    old = [path for path in clone.rglob("*bygone*") if not {".git", ".dvc"} & set(path.parts)]
    folders = {path.parent.relative_to(clone).as_posix() for path in old}
    of_figures = {f"metrics/{folder}" for folder in ("cam", "cases", "reports", "summary")}
    assert folders >= of_figures | {"plots/cam", "plots/history", "data/weights"}
    write_params(clone / "params.yaml", tiny())
    repro(clone)
    scratch = clone / "data" / "scratch"  # times, logs: what is no output
    assert not [path for path in old if path.exists() and scratch not in path.parents]
    assert "bygone" not in dvc(clone, "metrics", "show")


@pytest.mark.slow
def test_a_changed_cohort_prepares_its_data_set_alone(clone: Path) -> None:
    raw = tiny()
    raw["datasets"]["spare"] = raw["datasets"]["ct"]
    write_params(clone / "params.yaml", raw)
    assert repro(clone) == {"check", "prepare@spare", "report"}
    cohort = raw["datasets"]["ct"]["cohort"] | {"images_per_patient": 1}
    raw["datasets"]["spare"] = raw["datasets"]["ct"] | {"cohort": cohort}
    write_params(clone / "params.yaml", raw)
    assert repro(clone) == {"check", "prepare@spare", "report"}
    write_params(clone / "params.yaml", tiny())
    repro(clone)
    assert not (clone / "data" / "prepared" / "spare").exists()


@pytest.mark.slow
def test_a_stage_run_by_hand_does_not_change_what_dvc_restores(clone: Path) -> None:
    manifest = clone / "data" / "prepared" / "ct" / "manifest.csv"
    right = manifest.read_text(encoding="utf-8")
    write_params(clone / "params.yaml", tiny() | {"seed": 7})
    subprocess.run([sys.executable, "-m", "stages.prepare", "ct"], cwd=clone, check=True)
    assert manifest.read_text(encoding="utf-8") != right
    write_params(clone / "params.yaml", tiny())
    repro(clone)
    assert manifest.read_text(encoding="utf-8") == right
    assert "up to date" in dvc(clone, "status")


@pytest.mark.slow
def test_a_wrong_parameter_stops_before_anything_is_deleted(clone: Path) -> None:
    raw = tiny()
    raw["recipes"]["short"]["lr"] = -1
    write_params(clone / "params.yaml", raw)
    done = run_dvc(clone, "repro")
    write_params(clone / "params.yaml", tiny())
    assert done.returncode != 0
    assert (
        "params.yaml: recipes.short.lr: got -1; allowed: greater than or equal to 0.00000001"
        in done.stderr
    )
    assert (clone / "data" / "weights" / CASE / "model.safetensors").exists()


@pytest.mark.slow
def test_a_case_that_fails_costs_the_others_no_report(clone: Path) -> None:
    stage = clone / "stages" / "train.py"
    code = stage.read_text(encoding="utf-8")
    failing = (
        f"    if name == {CASE!r}:\n        raise UserError('it failed')\n    keep_freed_memory()"
    )
    stage.write_text(code.replace("    keep_freed_memory()", failing), encoding="utf-8")
    done = run_dvc(clone, "repro", "--keep-going")
    assert done.returncode != 0
    ran = set(re.findall(r"Running stage '(.+)':", done.stdout))
    assert ran == {f"train@{CASE}", "train@lungs-bce"}  # the same results: nothing depends on more
    for by_hand in ("compare", "report"):
        subprocess.run([sys.executable, "-m", f"stages.{by_hand}"], cwd=clone, check=True)
    report = clone / "plots" / "report.html"
    assert f"Left out, since they have no results: cases.{CASE}." in report.read_text("utf-8")
    stage.write_text(code, encoding="utf-8")
    repro(clone)
    assert "Left out" not in report.read_text("utf-8")


@pytest.mark.slow
def test_a_finished_run_is_collected_for_the_page_of_results(clone: Path) -> None:
    commit(clone)
    run = collect(clone)
    state = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True)
    assert (run["commit"], run["code_changed"]) == (state.stdout.strip(), False)
    case = run["cases"][CASE]
    metrics = json.loads((clone / "metrics" / "cases" / f"{CASE}.json").read_text("utf-8"))
    assert case["figures"]["accuracy"] == metrics["accuracy"]
    assert case["n_test"] == metrics["n_test"]
    assert case["spent"]["peak"] > 0
    assert 0 < case["flop_per_image"] < case["flop_of_all_runs"]
    assert set(run["audits"]) == {"full", "lungs"}
    cases = [CASE, "lungs-bce"]
    study = Study(
        title="T", about="A.", picture=None, cases=cases, comparisons=["crop"], external=[]
    )
    page = build_page("", "", [study], [run])
    assert page.count("*best shortcut") == 2  # a view each
    assert f"crop: `lungs-bce` less `{CASE}`" in page
    assert "Not run" not in page


@pytest.mark.slow
def test_queued_experiments_run_and_are_listed_with_metrics_of_their_own(clone: Path) -> None:
    commit(clone)
    gammas = [0.5, 1]
    values = ",".join(map(str, gammas))
    dvc(clone, "exp", "run", "--queue", "--set-param", f"cases.{CASE}.loss.gamma={values}")
    dvc(clone, "queue", "start")
    wait_for_the_queue(clone)
    (baseline,) = [e for e in shown_experiments(clone) if e["rev"] != "workspace"]
    found = [experiment["revs"][0]["data"] for experiment in baseline["experiments"]]
    assert sorted(gamma_of(data) for data in found) == gammas
    metrics = f"metrics/summary/{CASE}.json"
    kept = [data["metrics"][metrics]["data"] for data in (baseline["data"], *found)]
    assert len({json.dumps(figures) for figures in kept}) == 3
    # Experiments leave the working directory as it is.
    changed = ["git", "status", "--porcelain"]
    assert subprocess.run(changed, cwd=clone, capture_output=True, check=True).stdout == b""


@pytest.mark.slow
def test_what_an_edit_changed_is_shown_against_the_last_commit(clone: Path) -> None:
    commit(clone)
    raw = tiny()
    raw["cases"][CASE]["loss"]["gamma"] = 0.0
    write_params(clone / "params.yaml", raw)
    repro(clone)
    changed = json.loads(dvc(clone, "metrics", "diff", "--json"))
    assert list(changed) == [f"metrics/summary/{CASE}.json"]
    assert "auroc" in changed[f"metrics/summary/{CASE}.json"]
    page = clone / dvc(clone, "plots", "diff", "--out", "plots_diff").split("file://")[1].strip()
    assert "roc" in page.read_text(encoding="utf-8")
    shutil.rmtree(clone / "plots_diff")
    write_params(clone / "params.yaml", tiny())
    repro(clone)


@pytest.mark.slow
def test_results_are_pulled_from_a_remote_into_another_clone_where_nothing_then_runs(
    clone: Path, tmp_path: Path
) -> None:
    commit(clone)
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(clone), str(other)], check=True)
    for folder in (clone, other):
        add_remote(folder, tmp_path / "remote")
    dvc(clone, "push")
    assert not (other / "data" / "weights").exists()
    dvc(other, "pull")
    for output in (f"data/weights/{CASE}/model.safetensors", "plots/report.html"):
        assert (other / output).read_bytes() == (clone / output).read_bytes()
    assert "up to date" in dvc(other, "status")
    assert repro(other) == set()


@pytest.mark.slow
def test_figures_and_models_are_shared_without_pictures(clone: Path, tmp_path: Path) -> None:
    commit(clone)
    other, remote = tmp_path / "other", tmp_path / "remote"
    subprocess.run(["git", "clone", "--quiet", str(clone), str(other)], check=True)
    for folder in (clone, other):
        add_remote(folder, remote)
    dvc(clone, "push", "--glob", *WITHOUT_PICTURES)
    dvc(other, "pull", "--allow-missing")
    shared = {path for path in other.rglob("*") if path.is_file() and ".dvc" not in path.parts}
    assert other / "data" / "weights" / CASE / "model.safetensors" in shared
    assert other / "metrics" / "comparisons.json" in shared
    assert other / "metrics" / "cases" / f"{CASE}.json" in shared
    pictures = {path.name for path in shared} & {"images.npy", "fingerprints.bin", "report.html"}
    assert not pictures | {path.name for path in shared if path.suffix == ".png"}
    sizes = {path.stat().st_size for path in remote.rglob("*") if path.is_file()}
    images = clone / "data" / "views" / "full" / "images.npy"
    assert images.stat().st_size not in sizes


def add_remote(folder: Path, remote: Path) -> None:
    """For this clone alone: nothing for Git to commit."""
    dvc(folder, "remote", "add", "--force", "--local", "--default", "storage", str(remote))


def commit(folder: Path) -> None:
    """Experiments start from a commit, and differences are shown against one."""
    for command in (
        ("config", "user.name", "Test"),  # of this repository, for DVC's own commits too
        ("config", "user.email", "test@localhost"),
        ("add", "--all"),
        ("commit", "--quiet", "--allow-empty", "--message", "A state"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)


def dvc(folder: Path, *arguments: str) -> str:
    done = run_dvc(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for_the_queue(folder: Path) -> None:
    deadline = time.monotonic() + LONGEST_QUEUE_S
    while "Queued" in (status := dvc(folder, "queue", "status")) or "Running" in status:
        if time.monotonic() > deadline:
            dvc(folder, "queue", "stop", "--kill")
            pytest.fail(f"the queue did not end:\n{status}")
        time.sleep(5)
    assert status.count("Success") == 2, status


def shown_experiments(folder: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(dvc(folder, "exp", "show", "--json"))
    return listed


def gamma_of(data: dict[str, Any]) -> float:
    gamma: float = data["params"]["params.yaml"]["data"]["cases"][CASE]["loss"]["gamma"]
    return gamma
