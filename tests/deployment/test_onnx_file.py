import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.deployment import onnx_file
from stages.deployment.case_network import CaseNetwork, RunNetwork
from stages.deployment.onnx_file import (
    MODEL,
    OPSET,
    WEIGHTS_BESIDE,
    open_onnx,
    run_onnx,
    write_onnx,
)
from stages.deployment.resampling import ToView
from stages.modeling.classifier import build_classifier
from stages.modeling.fused import fuse
from stages.modeling.outputs import Outputs

OUTPUTS = Outputs(("normal", "covid"), 1, one_logit=False, implies={})
METADATA = {"case": "ct-Ω", "class_names": '["normal", "covid"]'}


def case_of(
    model: str,
    size: int = 96,
    *,
    crop_fraction: float | None = 0.9,
    runs: int = 1,
    mirror: bool = False,
) -> CaseNetwork:
    deployed = []
    for seed in range(runs):
        torch.manual_seed(seed)
        classifier = build_classifier(
            model, size=size, head=[7], outputs=2, dropout=0.2, mean=0.4, std=0.2
        )
        with torch.no_grad():  # new batch normalisations do nothing
            for parameter in classifier.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        deployed.append(RunNetwork("", fuse(classifier), 1.5, (0.3, 0.7)))
    to_view = ToView(prepared_px=100, crop_fraction=crop_fraction, size_px=size, fit="letterbox")
    return CaseNetwork(to_view, deployed, OUTPUTS, mirror=mirror).eval()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "model",
    ["cnn3", "test_resnet", "test_vit", "test_efficientnet", "darkcovidnet2"],
)
def test_the_file_says_what_the_network_says_of_pictures_of_any_size(
    model: str, tmp_path: Path
) -> None:
    case = case_of(model)
    write_onnx(case, tmp_path, METADATA)
    session = open_onnx(tmp_path, threads=1)
    for shape in [(1, 100, 100), (3, 120, 37), (2, 16, 300), (1, 1, 1), (5, 96, 96)]:
        pictures = noise(*shape)
        with torch.inference_mode():
            expected = [part.numpy() for part in case(torch.from_numpy(pictures))]
        probabilities, calls = run_onnx(session, pictures)
        np.testing.assert_allclose(probabilities, expected[0], atol=2e-6)
        np.testing.assert_array_equal(calls, expected[1])


def test_several_models_and_their_mirrors_are_in_one_file(tmp_path: Path) -> None:
    case = case_of("cnn3", crop_fraction=None, runs=3, mirror=True)
    write_onnx(case, tmp_path, METADATA)
    pictures = noise(2, 90, 110)
    with torch.inference_mode():
        expected, _ = case(torch.from_numpy(pictures))
    probabilities, _ = run_onnx(open_onnx(tmp_path), pictures)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=2e-6)


def test_the_file_has_its_texts_and_nothing_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    write_onnx(case_of("test_resnet"), tmp_path, METADATA)
    model = onnx.load(tmp_path / MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", OPSET)}
    content = (tmp_path / MODEL).read_bytes()
    for trace in (b".py", b"site-packages", str(Path(__file__).parents[2]).encode()):
        assert trace not in content
    axes = model.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param for axis in axes] == ["batch", "height", "width"]


def test_the_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_onnx(case_of("test_resnet"), tmp_path / name, METADATA)
    assert (tmp_path / "one" / MODEL).read_bytes() == (tmp_path / "two" / MODEL).read_bytes()


def test_weights_that_are_too_many_for_one_file_stand_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES_INSIDE", 1000)
    case, pictures = case_of("cnn3"), noise(2, 50, 60)
    write_onnx(case, tmp_path, METADATA)
    assert {path.name for path in tmp_path.iterdir()} == {MODEL, WEIGHTS_BESIDE}
    with torch.inference_mode():
        expected, _ = case(torch.from_numpy(pictures))
    probabilities, _ = run_onnx(open_onnx(tmp_path), pictures)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=2e-6)


class Looks(nn.Module):
    """Goes another way by what it sees, which no graph can."""

    def forward(self, images: Tensor) -> Tensor:
        scores = images.flatten(1)[:, :2]
        return scores if images.mean() > 0.5 else -scores


def test_a_network_that_cannot_be_exported_is_refused_in_a_line(tmp_path: Path) -> None:
    to_view = ToView(prepared_px=None, crop_fraction=None, size_px=32, fit="stretch")
    case = CaseNetwork(to_view, [RunNetwork("", Looks(), 1.0, (0.5,))], OUTPUTS, mirror=False)
    with pytest.raises(UserError, match="cannot export this network to ONNX") as caught:
        write_onnx(case, tmp_path, METADATA)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_exporter_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        write_onnx(case_of("cnn3"), tmp_path, METADATA)
        open_onnx(tmp_path)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
