"""Each public set, from its entry to a trained case with no other edit, on a tree of its layout."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stages.adoption.catalogue import PublicSet, describe_set, find_set, list_sets
from stages.check import check_params
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.params import Dataset, Params, RemoteFile
from stages.config.paths import Paths
from stages.config.references import find_reference_problems
from stages.crop import crop_view
from stages.dataset.image_set import load_dataset_info, load_image_set, load_manifest
from stages.dataset.truth import LUNG_BIT
from stages.downloads import fetching
from stages.downloads.partial import PartialFile
from stages.fetch import fetch_download
from stages.prepare import prepare_dataset
from stages.train import train_case
from stages.weights import make_weights
from tests.adoption.trees import LAYOUTS, Layout, draw, write_tree, zip_tree
from tests.conftest import load_raw_params, shrink
from tests.downloads.fakes import install_gdown, install_kagglehub

KEYS = [public.key for public in list_sets()]


@pytest.mark.parametrize("key", KEYS)
def test_an_entry_is_whole_and_says_what_it_is_from(key: str) -> None:
    public = find_set(key)
    assert Dataset.model_validate(public.dataset).model_dump().keys() == public.dataset.keys()
    assert [RemoteFile.model_validate(file) for file in public.download.values()] or public.by_hand
    assert not (public.download and public.by_hand)
    assert set(public.expected) == set(public.dataset["classes"])
    assert public.sources
    assert re.search(r"\b20\d\d-\d\d\b", public.seen)
    assert public.traps
    assert public.licence.strip()
    assert public.citation.strip()


@pytest.mark.parametrize("key", KEYS)
def test_a_downloaded_set_lies_in_the_folder_of_its_name(key: str) -> None:
    public = find_set(key)
    path = public.dataset["source"]["path"]
    assert (f"{path}/".startswith(f"data/downloads/{key}/")) == bool(public.download)
    assert find_reference_problems(params_of(public)) == []


def test_a_description_names_licence_and_citation() -> None:
    public = find_set("darkcovidnet")
    lines = describe_set(public)
    assert f"Licence: {public.licence}" in lines
    assert f"Cite: {public.citation}" in lines
    assert "Images: normal 500, pneumonia 500, covid 125" in lines
    assert all("\n" not in line for other in list_sets() for line in describe_set(other))


def test_an_unknown_set_is_answered_with_all_names() -> None:
    with pytest.raises(UserError, match=r"did you mean 'darkcovidnet'\?.*there are: .*radiography"):
        find_set("darkcovid")


def params_of(public: PublicSet) -> Params:
    """A view of the set and one case on it; the entry itself is as the catalogue has it."""
    raw = shrink(load_raw_params())
    raw["downloads"] = {public.key: public.download} if public.download else {}
    raw["datasets"] = {public.key: public.dataset}
    raw["views"] = {"whole": raw["views"]["full"] | {"dataset": public.key}}
    case = copy.deepcopy(raw["cases"]["full-ce"]) | {"view": "whole"}
    if public.dataset["implies"]:
        case["loss"] = {"kind": "bce", "label_smoothing": 0.0}
    raw["cases"] = {"one": case}
    raw["recipes"]["short"]["epochs"] = 2
    raw["comparisons"] = {}
    return parse_params(raw)


def offer(
    public: PublicSet, layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> PublicSet:
    """Let the set's address, or the folder that a person has filled by hand, give the tree."""
    files = draw(layout)
    if public.by_hand:
        write_tree(files, tmp_path / "got")
        command = re.search(r"then in there: (\(.*covidx\.csv)", public.by_hand)
        assert command is not None
        subprocess.run(["bash", "-c", command[1]], cwd=tmp_path / "got", check=True)
        dataset: dict[str, Any] = copy.deepcopy(public.dataset)
        dataset["source"]["path"] = str(tmp_path / "got")
        return PublicSet(**vars(public) | {"dataset": dataset})

    def get_file(remote: RemoteFile, scratch: Path, what: str) -> PartialFile:
        partial = PartialFile(scratch)
        name = remote.file or "file"
        partial.begin(validator="", total=None, name=name)
        partial.content.write_bytes(zip_tree(files, layout.archives.get(name, "")))
        return partial

    monkeypatch.setattr(fetching, "get_file", get_file)
    install_kagglehub(monkeypatch, lambda folder: write_tree(files, folder))
    install_gdown(monkeypatch, "theirs.zip", zip_tree(files))
    return public


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_from_its_entry_to_a_trained_case(
    key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layout, paths = LAYOUTS[key](), Paths()
    public = offer(find_set(key), layout, monkeypatch, tmp_path)
    params = params_of(public)
    monkeypatch.chdir(tmp_path)  # paths in params.yaml are of the repository
    check_params(params, paths)  # not yet downloaded
    if public.download:
        fetch_download(params, key, paths)
        check_params(params, paths)
    prepare_dataset(params, key, paths)
    manifest = load_manifest(paths.prepared(key))
    assert manifest["label"].value_counts().to_dict() == layout.images
    assert manifest["patient_id"].replace("", None).nunique() == layout.patients
    assert set(manifest["given_split"].replace("", None).dropna()) == layout.splits
    info = load_dataset_info(paths.prepared(key))
    assert info.source == public.dataset["source"]["path"]
    crop_view(params, "whole", paths)
    make_weights(params, "cnn3-random", paths)
    train_case(params, "one", paths)
    assert (paths.weights("one") / "model.safetensors").exists()
    assert paths.predictions("one").exists()
    assert (paths.prepared(key) / "truth_files.csv").exists() == (layout.masks > 0)


def test_masks_of_each_class_find_their_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layout = LAYOUTS["radiography"]()
    public = offer(find_set("radiography"), layout, monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    params, paths = params_of(public), Paths()
    fetch_download(params, "radiography", paths)
    prepare_dataset(params, "radiography", paths)
    lines = (paths.prepared("radiography") / "truth_files.csv").read_text().splitlines()[1:]
    assert len(lines) == layout.masks
    assert any(
        "COVID/masks/COVID-1.png" in line and "COVID/images/COVID-1.png" in line for line in lines
    )
    images = load_image_set(paths.prepared("radiography"))
    assert images.knows(LUNG_BIT).all()
    assert images.truth is not None
    assert (images.truth & LUNG_BIT).reshape(len(lines), -1).any(axis=1).all()
