"""Results on real images: the matrix behind them, and the page that is made of what was kept."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.load import load_params
from tests.benchmarks import ct_halves, real_results
from tests.benchmarks.real_page import Study, build_page, draw_pictures, load_studies
from tests.benchmarks.real_picture import OPTIMISTIC, Band, Level, Picture

ROOT = Path(__file__).parents[1]
REAL = ROOT / "metrics" / "real"
STUDY = Study(
    title="Slices",
    about="A few.",
    picture=Picture(
        file="slices.svg",
        metric="accuracy",
        cases={"a": "Network a", "b": "Network b"},
        view="full",
        shortcuts={"thumbnail": "tiny pictures"},
        published=Level(text="Others", value=0.9),
        ceiling=Band(text="Labels", value=0.85, low=0.75, high=0.95),
    ),
    cases=["a", "b"],
    comparisons=["a-b"],
    external=["x"],
)


def with_ends(**figures: float) -> dict[str, float]:
    """0.1 to either side."""
    ends = {"": 0.0, "_low": -0.1, "_high": 0.1}
    return {
        f"{name}{end}": value + far for name, value in figures.items() for end, far in ends.items()
    }


def figures_of(value: float) -> dict[str, float]:
    names = ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "sensitivity")
    rates = with_ends(sensitivity_specificity_90=value - 0.1, specificity_specificity_90=0.9)
    return with_ends(**dict.fromkeys(names, value)) | rates


def run_of(*cases: str) -> dict[str, Any]:
    """Cases of five trainings that took ten minutes in all."""
    case = {
        "view": "full",
        "model": "cnn3",
        "weights": "cnn3-random",
        "train": "all",
        "loss": {"kind": "focal", "gamma": 2.0, "alpha": None},
        "optimistic": False,
        "class_names": ["normal", "covid"],
        "confusion_matrix": [[600, 34], [100, 500]],
        "figures": figures_of(0.8) | {"accuracy_run_mean": 0.81, "accuracy_run_sd": 0.02},
        "n_test": 1234,
        "n_runs": 5,
        "headline": {"shortcut": "thumbnail", "most_accurate": "file + metadata"}
        | with_ends(difference=0.25, accuracy_difference=-0.125),
        "device": "a processor, 2 cores",
        "precision": "fp32",
        "threads": 2,
        "versions": {"torch": "1.2.3"},
        "flop_per_image": 1_500_000_000,
        "flop_of_all_runs": 2_250_000_000_000,
        "spent": {"work": 600.0, "cpu": 1100.0, "peak": 1234.5},
    }
    shortcuts = {"file": figures_of(0.6), "thumbnail": figures_of(0.7)}
    shortcuts["metadata.follow_up"] = figures_of(0.65)
    audit = {"n": 2000, "best_shortcut": "thumbnail", "most_accurate": "metadata.follow_up"}
    pair = with_ends(first=0.8, second=0.7)
    pair |= {"difference": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.0001, "p_value_holm": 0.04}
    drop = {"difference": -0.2, "low": -0.3, "high": -0.1}
    return {
        "commit": "0123456789",
        "code_changed": False,
        "memory_gib": 24,
        "cases": {name: copy.deepcopy(case) for name in cases},
        "audits": {"full": audit | {"shortcuts": shortcuts}},
        "comparisons": {
            "a-b": {
                "first": "a",
                "second": "b",
                "n": 99,
                "metrics": {"auroc": pair | {"undefined": None}},
            }
        },
        "external": {
            "x": {
                "case": "a",
                "view": "there",
                "n": 77,
                "figures": figures_of(0.6),
                "drop": {"balanced_accuracy": drop, "auroc": drop},
            }
        },
    }


def row_of(page: str, beginning: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {beginning}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def page_of(*runs: dict[str, Any]) -> str:
    return build_page("# Head\n", "phantoms\n", [STUDY], runs)


def test_a_case_stands_with_its_figures_and_what_it_cost() -> None:
    assert row_of(page_of(run_of("a")), "`a`") == [
        *("`a`", "cnn3, cnn3-random, all, focal, gamma 2.0, alpha none"),
        "0.800 (0.700 to 0.900); mean of 5 0.810, sd 0.020",
        *["0.800 (0.700 to 0.900)"] * 4,
        "0.700 (0.600 to 0.800) at 0.900 (0.800 to 1.000)",
        "+0.250 (+0.150 to +0.350), thumbnail",
        "-0.125 (-0.225 to -0.025), file + metadata",
        *("1,234", "5", "2.0", "1.5", "2.25", "1,234"),
    ]


def test_the_file_alone_and_the_best_shortcut_stand_below_the_cases() -> None:
    page = page_of(run_of("a"))
    file, best = row_of(page, "*file"), row_of(page, "*thumbnail")
    assert file[5:8:2] == [
        "0.600 (0.500 to 0.700)",
        "0.500 (0.400 to 0.600) at 0.900 (0.800 to 1.000)",
    ]
    assert best[1] == "*best shortcut*"
    assert best[10] == "2,000"
    assert len(best) == len(row_of(page, "`a`"))
    assert row_of(page, "*metadata: follow_up")[1] == "*most accurate probe*"


def test_where_the_file_alone_is_the_best_shortcut_it_stands_once() -> None:
    run = run_of("a")
    run["audits"]["full"] |= {"best_shortcut": "file", "most_accurate": "file"}
    assert row_of(page_of(run), "*file")[1] == "*best shortcut, most accurate probe*"


def test_of_a_run_without_a_floor_of_accuracy_none_is_shown() -> None:
    run = run_of("a")
    del run["cases"]["a"]["headline"]["most_accurate"], run["audits"]["full"]["most_accurate"]
    page = page_of(run)
    assert row_of(page, "`a`")[9] == "not known"
    assert [row_of(page, f"*{name},")[1] for name in ("file", "thumbnail")] == [
        *("*shortcut*", "*best shortcut*")
    ]


def test_comparisons_and_external_tests_have_their_intervals() -> None:
    page = page_of(run_of("a", "b"))
    assert row_of(page, "a-b:")[1:] == [
        *("99", "AUROC", "+0.100 (+0.050 to +0.150)", "< 0.001", "0.040")
    ]
    assert row_of(page, "x:")[-1] == "-0.200 (-0.300 to -0.100)"


def test_of_three_classes_it_is_said_which_are_taken_for_which() -> None:
    run = run_of("a", "b")
    run["cases"]["a"] |= {
        "class_names": ["normal", "pneumonia", "covid"],
        "confusion_matrix": [[1000, 2, 3], [4, 5, 6], [7, 8, 9]],
    }
    table = page_of(run).split("normal as pneumonia")[1]
    assert "| `a` | 1,000 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 |" in table
    assert "| `b` |" not in table.split("\n\n")[0]


def picture_of(*runs: dict[str, Any]) -> str:
    return draw_pictures([STUDY], runs)["slices.svg"]


def test_a_picture_has_the_figures_of_cases_and_shortcuts() -> None:
    drawn = picture_of(run_of("a"))
    for text in ("Network a", "0.800 (0.700 to 0.900)", "tiny pictures", "0.700 (0.600 to 0.800)"):
        assert f">{text}</text>" in drawn
    assert "Network b" not in drawn
    assert picture_of(run_of("a")) == drawn


def test_a_picture_without_a_case_is_not_drawn() -> None:
    assert draw_pictures([STUDY], [run_of("c")]) == {}
    assert "![" not in page_of(run_of("c"))


def test_a_picture_is_told_in_words_on_the_page() -> None:
    said = "accuracy: Network a 0.800; tiny pictures 0.700; Others 0.9; Labels 0.85"
    assert f"![{said}](real/slices.svg)" in page_of(run_of("a"))


def test_an_optimistic_case_has_the_colour_of_what_was_published() -> None:
    run = run_of("a")
    honest = picture_of(run).count(OPTIMISTIC)
    run["cases"]["a"] |= {"optimistic": True, "headline": None}
    assert picture_of(run).count(OPTIMISTIC) > honest > 0


def test_an_optimistic_case_is_marked_and_a_missing_one_named() -> None:
    run = run_of("a")
    run["cases"]["a"] |= {"optimistic": True, "headline": None}
    page = page_of(run)
    assert "| `a` † |" in page
    assert "no headline" in row_of(page, "`a`")
    assert "Not run: `b`." in page


def test_what_is_not_known_of_a_training_is_no_number() -> None:
    run = run_of("a")
    run["cases"]["a"] |= {"spent": None, "flop_per_image": None, "flop_of_all_runs": None}
    assert row_of(page_of(run), "`a`")[-4:] == ["not known"] * 4


def test_every_commit_and_machine_is_named_with_its_cases() -> None:
    other = run_of("b") | {"code_changed": True}
    page = page_of(run_of("a"), other)
    machine = ["a processor, 2 cores, 2 threads, 24 GiB", "fp32", "torch 1.2.3"]
    assert row_of(page, "0123456 |") == ["0123456", *machine, "`a`"]
    assert row_of(page, "0123456 and")[-1] == "`b`"


def test_a_case_of_two_runs_is_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text(json.dumps(run_of("a")))
    with pytest.raises(UserError, match=r"second\.json: case 'a' is in .*first\.json too; remove"):
        real_results.load_runs(tmp_path)


def test_a_folder_without_results_cannot_be_collected(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with pytest.raises(UserError, match=r"no case of its params\.yaml has results; run there: dvc"):
        real_results.collect(tmp_path)


def run_script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["real_results", *arguments])
    real_results.main()


def test_a_digit_changed_by_hand_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(REAL, tmp_path / "metrics" / "real", ignore=shutil.ignore_patterns("*.json"))
    kept = tmp_path / "metrics" / "real" / "run.json"
    kept.write_text(json.dumps(run_of("xray3-scratch-folds")))
    (tmp_path / "plots").mkdir()
    shutil.copy(ROOT / "plots" / "table.csv", tmp_path / "plots")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run this with `write`"):
        run_script(monkeypatch, "check")
    run_script(monkeypatch, "write")
    run_script(monkeypatch, "check")
    page, table = tmp_path / "metrics" / "README.md", tmp_path / "plots" / "table.csv"
    written = page.read_text("utf-8")
    page.write_text(written.replace("0.810", "0.910"), encoding="utf-8")
    with pytest.raises(SystemExit, match="is not what"):
        run_script(monkeypatch, "check")
    page.write_text(written, encoding="utf-8")
    pd.read_csv(table).assign(accuracy=0.123456).to_csv(table, index=False)
    with pytest.raises(SystemExit, match="is not what"):
        run_script(monkeypatch, "check")
    run_script(monkeypatch, "write")
    picture = tmp_path / "metrics" / "real" / "xray3-accuracy.svg"
    picture.write_text(picture.read_text("utf-8").replace("0.800", "0.900"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"xray3-accuracy\.svg is not what"):
        run_script(monkeypatch, "check")


def test_the_page_of_this_repository_is_what_its_files_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    run_script(monkeypatch, "check")


def test_every_entry_of_the_real_matrix_is_shown_once() -> None:
    params, studies = load_params(REAL / "params.yaml"), load_studies(REAL / "studies.yaml")
    for part in ("cases", "comparisons", "external"):
        shown = [name for study in studies for name in getattr(study, part)]
        assert sorted(shown) == sorted(getattr(params, part)), part


# ---- the halves of the CT slices ---------------------------------------------------------------


def test_grain_is_measured_in_soft_tissue_alone() -> None:
    flat = np.full((20, 20), 200.0)
    assert ct_halves.measure_grain(flat) == 0
    # Columns of 196 and 204 in turn: second differences along a row are 16, and rows cancel out.
    assert ct_halves.measure_grain(flat + np.where(np.arange(20) % 2, 4, -4)) == 0
    board = np.where(np.add.outer(np.arange(20), np.arange(20)) % 2, 4.0, -4.0)
    # Of a chequerboard a cell of 4 has four neighbours of -4 across and four of 4 at the corners:
    # 4 * 4 + 2 * 4 * 4 + 4 * 4 = 64.
    assert ct_halves.measure_grain(flat + board) == 64
    assert ct_halves.measure_grain(flat - 100 + board) == 0  # lung and air


def test_a_group_goes_into_one_half() -> None:
    groups = pd.Series(["p", "p", "p", "q"])
    grain = np.array([9.0, 4.0, 0.0, 1.0])
    assert ct_halves.divide(grain, groups) == ["grainy"] * 3 + ["smooth"]
