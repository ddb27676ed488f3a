import pytest
import torch
from torch import Tensor

from stages.config.errors import UserError
from stages.modeling.classifier import build_backbone
from stages.modeling.cnn3 import Cnn3
from stages.modeling.loading import fit_tensors, load_backbone


def message_of(state: dict[str, Tensor], model: str = "cnn3") -> str:
    backbone = build_backbone(model)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_backbone(backbone, state, "w.pth")
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "state_dict.module.encoder."])
def test_what_stands_before_the_names_is_found_by_what_fits(prefix: str) -> None:
    source, target = Cnn3(), Cnn3()
    state = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    beside = {"optimizer.state.0.exp_avg": torch.zeros(3)}
    assert load_backbone(target, state | beside, "file") == list(beside)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


def test_tensors_of_a_head_are_listed_as_left_out() -> None:
    head = {"head.1.weight": torch.zeros(2, 64), "head.1.bias": torch.zeros(2)}
    left_out = load_backbone(Cnn3(), Cnn3().state_dict() | head, "file")
    assert left_out == ["head.1.bias", "head.1.weight"]


def test_a_network_on_meta_is_enough_to_see_what_fits() -> None:
    state = Cnn3().state_dict()
    with torch.device("meta"):
        fitting = fit_tensors(Cnn3(), state, "file")
    assert all(fitting.tensors[name] is not tensor.to("meta") for name, tensor in state.items())
    assert all(torch.equal(fitting.tensors[name], tensor) for name, tensor in state.items())


def test_missing_and_misshaped_tensors_are_counted_and_named_and_nothing_is_copied() -> None:
    state = Cnn3().state_dict() | {"conv1.weight": torch.zeros(32, 2, 8, 8)}
    del state["conv3.bias"]
    assert message_of(state) == (
        "w.pth: is of another network: 4 of 6 tensors fit; 1 missing: 'conv3.bias'; 1 of another "
        "shape: 'conv1.weight' is (32, 2, 8, 8) and not (32, 1, 8, 8); allowed: weights of this "
        "very network"
    )


def test_the_first_of_many_are_named_and_the_others_counted() -> None:
    state = build_backbone("test_resnet").state_dict()
    message = message_of({n: t for n, t in state.items() if "layer" not in n}, "test_resnet")
    missing = sum("layer" in name and "num_batches" not in name for name in state)
    assert f"{missing} missing: 'layer1.0.conv1.weight', " in message
    assert f" and {missing - 3} more" in message


def test_weights_of_a_deeper_network_do_not_pass_as_those_of_a_shallower_one() -> None:
    with torch.device("meta"):
        deeper = build_backbone("resnet34").state_dict()
    state = {name: torch.ones(tensor.shape).to(tensor.dtype) for name, tensor in deeper.items()}
    message = message_of(state, "resnet18")
    assert "is of another network: 120 of 120 tensors fit; " in message
    assert "too many: 'layer1.2.conv1.weight'" in message


def test_colours_of_the_first_convolution_are_summed_and_of_no_other() -> None:
    state = Cnn3().state_dict()
    shares = torch.tensor([1.0, 2.0, -2.5]).view(1, 3, 1, 1)
    fitting = fit_tensors(Cnn3(), state | {"conv1.weight": state["conv1.weight"] * shares}, "f")
    assert fitting.summed
    torch.testing.assert_close(fitting.tensors["conv1.weight"], 0.5 * state["conv1.weight"])
    message = message_of(state | {"conv2.weight": state["conv2.weight"].repeat(1, 3, 1, 1)})
    assert "'conv2.weight' is (64, 96, 7, 7) and not (64, 32, 7, 7)" in message


def test_one_channel_is_taken_as_it_is() -> None:
    assert not fit_tensors(Cnn3(), Cnn3().state_dict(), "file").summed


def test_averaged_weights_beside_the_last_ones_have_to_be_chosen_by_the_user() -> None:
    last, mean = Cnn3().state_dict(), Cnn3().state_dict()
    both = {f"{prefix}.{n}": t for prefix, s in (("a", last), ("b", mean)) for n, t in s.items()}
    assert "several sets of its tensors fit, named 'a.', 'b.'...; allowed: one" in message_of(both)


def test_counters_that_old_files_lack_are_zero() -> None:
    backbone = build_backbone("test_resnet")
    for name, buffer in backbone.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer += 7
    state = backbone.state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("_tracked")}
    assert load_backbone(backbone, old, "file") == []
    assert backbone.state_dict()["bn1.num_batches_tracked"] == 0
