"""The stage `check`: what is refused before any other stage runs."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.check import check_params
from stages.config.errors import UserError
from stages.config.load import parse_params
from stages.config.paths import Paths
from stages.modeling.cnn3 import Cnn3

RawParams = dict[str, Any]
WritePicture = Callable[[Path, int], Path]


def check_message(raw: Mapping[str, Any], root: Path) -> str:
    with pytest.raises(UserError) as caught:
        check_params(parse_params(raw), Paths(root))
    assert not Paths(root).check.exists()
    return str(caught.value)


def test_check_passes_parameters_that_are_in_order(tiny_params: RawParams, tmp_path: Path) -> None:
    check_params(parse_params(tiny_params), Paths(tmp_path))
    assert json.loads(Paths(tmp_path).check.read_text()) == {"params.yaml": "checked"}


def test_what_check_writes_does_not_depend_on_the_parameters(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    check_params(parse_params(tiny_params), Paths(tmp_path / "a"))
    tiny_params["seed"] = 7
    check_params(parse_params(tiny_params), Paths(tmp_path / "b"))
    assert Paths(tmp_path / "a").check.read_bytes() == Paths(tmp_path / "b").check.read_bytes()


def test_check_names_a_source_that_is_missing(tiny_params: RawParams, tmp_path: Path) -> None:
    tiny_params["datasets"]["ct"]["source"] = {"kind": "folder", "path": "no/such/folder"}
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: datasets.ct: source.path: ")
    assert "no/such/folder" in message


def test_check_names_a_class_that_has_no_folder(
    tiny_params: RawParams, tmp_path: Path, write_picture: WritePicture
) -> None:
    write_picture(tmp_path / "source" / "covid" / "a.png", 0)
    source = str(tmp_path / "source")
    tiny_params["datasets"]["ct"]["source"] = {"kind": "folder", "path": source}
    message = check_message(tiny_params, tmp_path)
    assert message.startswith(f"params.yaml: datasets.ct: {source}: class 'normal' has no folder")


def test_check_names_files_that_a_table_leaves_without_a_row(
    tiny_params: RawParams, tmp_path: Path, write_picture: WritePicture
) -> None:
    source = tmp_path / "source"
    for name in ("covid/a.png", "covid/b.png", "normal/c.png"):
        write_picture(source / name, 0)
    (source / "m.csv").write_text("name,who\na,1\nc,2\n")
    columns = {"file": "name", "label": None, "patient": "who", "split": None, "fold": None}
    tiny_params["datasets"]["ct"] |= {
        "source": {"kind": "folder", "path": str(source)},
        "table": {"path": "m.csv", **columns, "keep": []},
        "group": {"kind": "table", "patients_per_class": False},
        "max_unmatched": 0.3,
    }
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: datasets.ct: table: 1 of 3 files have no row")
    tiny_params["datasets"]["ct"]["max_unmatched"] = 0.4
    check_params(parse_params(tiny_params), Paths(tmp_path))


def test_check_does_not_unpack_an_archive(tiny_params: RawParams, tmp_path: Path) -> None:
    archive = tmp_path / "source.zip"
    archive.write_bytes(b"not really a zip: prepare will tell")
    tiny_params["datasets"]["ct"]["source"] = {"kind": "archive", "path": str(archive)}
    check_params(parse_params(tiny_params), Paths(tmp_path))
    assert Paths(tmp_path).check.exists()


def test_check_names_a_network_that_timm_does_not_know(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["weights"]["cnn3-random"]["model"] = "resnet19"
    for case in tiny_params["cases"].values():
        case["model"] = "resnet19"
    lines = check_message(tiny_params, tmp_path).split("\n")
    assert [line.split(": got")[0] for line in lines] == [
        "params.yaml: weights.cnn3-random.model",
        "params.yaml: cases.full-ce.model",
        "params.yaml: cases.lungs-bce.model",
    ]
    assert all("'resnet19'; allowed: cnn3 or a timm model, such as " in line for line in lines)


def test_check_names_the_blocks_of_a_network_that_has_no_so_many(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["cases"]["full-ce"]["train"] = "last:3"
    tiny_params["cases"]["lungs-bce"]["train"] = "last:2"
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: cases.full-ce.train: got 'last:3' for a backbone of 3 blocks (conv1, conv2, "
        "conv3); allowed: head, last:1 to last:2, all"
    )


def test_check_knows_the_blocks_of_timm_networks(tiny_params: RawParams, tmp_path: Path) -> None:
    for case in tiny_params["cases"].values():
        case |= {"model": "test_resnet.r160_in1k", "train": "last:4"}
    check_params(parse_params(tiny_params), Paths(tmp_path))
    tiny_params["cases"]["full-ce"]["train"] = "last:5"
    (tmp_path / "data" / "check.json").unlink()
    message = check_message(tiny_params, tmp_path)
    assert "blocks (conv1+bn1, layer1, layer2, layer3, layer4); allowed: head, last:1" in message


def test_check_names_a_view_that_is_too_small_for_cnn3(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["views"]["lungs"]["size_px"] = 79
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: cases.lungs-bce.view: got 'lungs' of 79 px; allowed for cnn3: views of at "
        "least 80 px"
    )


@pytest.mark.parametrize("layer", ["conv9", "", "backbone.conv2"])
def test_check_names_a_target_layer_that_the_network_lacks(
    tiny_params: RawParams, tmp_path: Path, layer: str
) -> None:
    tiny_params["cam"]["target_layers"] = {"cnn3": layer}
    assert check_message(tiny_params, tmp_path) == (
        f"params.yaml: cam.target_layers.cnn3: got {layer!r}; allowed: a module of cnn3; its "
        "outermost are: conv1, conv2, conv3"
    )


def test_check_finds_the_layer_of_an_architecture_whose_case_names_a_tag(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["cases"]["full-ce"]["model"] = "test_resnet.r160_in1k"
    tiny_params["cam"]["target_layers"] = {"test_resnet": "layer9"}
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: cam.target_layers.test_resnet: got 'layer9'; allowed:")


def test_check_takes_layers_of_known_networks_that_no_case_uses(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["cam"]["target_layers"]["test_resnet"] = "layer9"  # not built, so not missed
    check_params(parse_params(tiny_params), Paths(tmp_path))
    tiny_params["cam"]["target_layers"]["tset_resnet"] = "layer4"
    (tmp_path / "data" / "check.json").unlink()
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: cam.target_layers.tset_resnet: got 'tset_resnet'; all")


def test_check_of_cnn3_alone_does_not_wait_for_timm(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_params["cases"]["full-ce"]["train"] = "last:1"
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails
    check_params(parse_params(tiny_params), Paths(tmp_path))
    assert Paths(tmp_path).check.exists()


def test_check_names_a_file_of_weights_that_is_missing(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    file = {"kind": "file", "path": "own.safetensors", "scaling": {"kind": "imagenet"}}
    tiny_params["weights"]["cnn3-random"]["source"] = file
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: weights.cnn3-random.source.path: got 'own.safetensors'; there is no such file"
    )


def test_check_reads_a_file_of_weights(tiny_params: RawParams, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    state = Cnn3().state_dict()
    torch.save(state, path)
    file = {"kind": "file", "path": str(path), "scaling": {"kind": "imagenet"}}
    tiny_params["weights"]["cnn3-random"]["source"] = file
    check_params(parse_params(tiny_params), Paths(tmp_path))
    Paths(tmp_path).check.unlink()
    state["conv2.bias"][0] = float("nan")
    torch.save(state, path)
    assert check_message(tiny_params, tmp_path) == (
        f"params.yaml: weights.cnn3-random: {path}: tensor 'conv2.bias' holds NaN or infinity (as "
        "32-bit floats); allowed: finite numbers"
    )


def test_check_tells_how_many_parameters_train_where_it_is_not_all(
    tiny_params: RawParams, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_params["cases"]["full-ce"]["train"] = "last:1"
    tiny_params["cases"]["lungs-bce"]["train"] = "head"
    with caplog.at_level("INFO"):
        check_params(parse_params(tiny_params), Paths(tmp_path))
    # cnn3: 32*64 + 32, 64*32*49 + 64, 64*64*16 + 64
    assert caplog.messages == [
        "cases.full-ce: last:1 trains the head and 65,600 of 168,096 parameters of the backbone: "
        "backbone.conv3",
        "cases.lungs-bce: head trains the head and 0 of 168,096 parameters of the backbone: none",
    ]


def timm_weights_of(model: str) -> RawParams:
    return {"model": model, "source": {"kind": "timm", "path": "stages/modeling/initial.py"}}


@pytest.mark.parametrize("model", ["botnet50ts_256", "resnet18.no_such_tag"])
def test_check_names_a_network_of_which_timm_has_no_weights(
    tiny_params: RawParams, tmp_path: Path, model: str
) -> None:
    tiny_params["weights"]["own"] = timm_weights_of(model)
    message = check_message(tiny_params, tmp_path)
    assert message.startswith(f"params.yaml: weights.own.model: got {model!r}, of which timm has ")


def test_check_needs_no_network_for_weights_of_timm(tiny_params: RawParams, tmp_path: Path) -> None:
    # `weights` fetches them; those that are here already need no network at all.
    tiny_params["weights"]["own"] = timm_weights_of("resnet10t")
    check_params(parse_params(tiny_params), Paths(tmp_path))
    assert Paths(tmp_path).check.exists()


def test_check_lists_all_problems_at_once(tiny_params: RawParams, tmp_path: Path) -> None:
    tiny_params["datasets"]["ct"]["source"] = {"kind": "folder", "path": "gone"}
    file = {"kind": "file", "path": "own.safetensors", "scaling": {"kind": "imagenet"}}
    tiny_params["weights"]["cnn3-random"]["source"] = file
    assert check_message(tiny_params, tmp_path).count("\n") == 1
