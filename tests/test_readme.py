"""Commands of the READMEs that change parameters: what they make of params.yaml is valid."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from stages.config.load import load_params
from stages.config.params import Params
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / folder / "README.md" for folder in ("", "data", "stages", "metrics", "plots")]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def experiments() -> dict[str, list[str]]:
    """Each command that names an experiment: its name, and the values of its `-S`."""
    found = {}
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] == ["dvc", "exp", "run"] and "-n" in words:
                changes = [words[i + 1] for i, word in enumerate(words) if word == "-S"]
                found[words[words.index("-n") + 1]] = changes
    return found


EXPERIMENTS = experiments()


def params_of(name: str, folder: Path) -> Params:
    path = folder / "params.yaml"
    shutil.copy(REPOSITORY / "params.yaml", path)
    apply_overrides(path, EXPERIMENTS[name])
    return load_params(path)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_of_the_readme_has_valid_parameters(name: str, tmp_path: Path) -> None:
    assert EXPERIMENTS[name]
    assert params_of(name, tmp_path) != load_params(REPOSITORY / "params.yaml")


@pytest.mark.parametrize(("name", "kind"), [("imagenet", "timm"), ("torchvision", "file")])
def test_one_command_moves_all_pretext_weights_to_those_of_imagenet(
    name: str, kind: str, tmp_path: Path
) -> None:
    before = load_params(REPOSITORY / "params.yaml").weights
    after = params_of(name, tmp_path).weights
    moved = {entry for entry, weights in before.items() if weights.source.kind == "pretext"}
    assert moved
    for entry, weights in after.items():
        expected = kind if entry in moved else before[entry].source.kind
        assert (weights.model, weights.source.kind) == (before[entry].model, expected)


LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        led_to = (page.parent / target) if target else page
        assert led_to.exists(), target
        assert not anchor or anchor in anchors(led_to), f"{target}#{anchor}"


def test_the_figures_of_real_images_are_those_of_the_page_of_results() -> None:
    first, results = (page.read_text(encoding="utf-8") for page in (PAGES[0], PAGES[3]))
    (section,) = re.findall(r"^## On public X-rays\n(.*?)^## ", first, re.MULTILINE | re.DOTALL)
    figures = re.findall(r"\d\.\d{3}", section)
    assert len(figures) >= 3
    for figure in figures:
        assert f"| {figure} (" in results, figure


def test_the_first_page_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_bytes()) <= 10_000


def test_the_table_of_experiments_shows_figures_and_parameters_alone() -> None:
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"dvc exp show --only-changed --drop '(.*?)'", page)
    hidden = ("data/predictions/a.csv", "metrics/cam", "plots/history", "params.yaml")
    shown = ("Experiment", "metrics/summary/a.json:auroc", "recipes.cnn.lr", "cases.a.loss.gamma")
    assert [name for name in (*hidden, *shown) if not re.match(pattern, name)] == list(shown)
