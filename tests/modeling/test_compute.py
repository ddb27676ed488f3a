from pathlib import Path

import pytest
import torch

from stages.config.errors import UserError
from stages.config.params import Compute
from stages.modeling import compute
from stages.modeling.compute import Hardware, choose_hardware, describe_device, use_threads


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, there: bool, *, has_bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)


def chosen(accelerator: str, precision: str) -> Hardware:
    settings = Compute.model_validate(
        {"accelerator": accelerator, "precision": precision, "threads": 1}
    )
    return choose_hardware(settings)


def test_gpu_that_is_not_there_is_an_error_and_not_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, there=False)
    with pytest.raises(
        UserError, match=r"compute\.accelerator: got 'gpu'.*allowed here: cpu, auto"
    ):
        chosen("gpu", "fp32")


@pytest.mark.parametrize(
    ("accelerator", "there", "device"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_device_is_the_one_asked_for_or_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, there: bool, device: str
) -> None:
    pretend_gpu(monkeypatch, there)
    assert chosen(accelerator, "fp32") == (device, "fp32")


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_precision_follows_what_the_gpu_computes_in(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str
) -> None:
    pretend_gpu(monkeypatch, there=True, has_bf16=has_bf16)
    assert chosen("auto", "auto") == ("cuda", precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_that_is_asked_for_is_kept(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    pretend_gpu(monkeypatch, there=False)
    assert chosen("cpu", precision) == ("cpu", precision)


def test_a_processor_is_recorded_by_its_name_and_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n")
    monkeypatch.setattr(compute, "CPUINFO", cpuinfo)
    monkeypatch.setattr(compute.os, "cpu_count", lambda: 12)
    assert describe_device("cpu") == "Some CPU @ 2 GHz, 12 cores"


def test_networks_compute_on_as_many_threads_as_are_asked_for_and_auto_leaves_it_to_torch():
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
        use_threads("auto")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
