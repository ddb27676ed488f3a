import pytest
import timm
import torch
from torch import Tensor, nn

from stages.config.errors import UserError
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.freeze import FrozenSnapshot, freeze, trained_blocks
from tests.modeling.recipes import recipe_with

SIDES = {"cnn3": 80, "test_resnet": 64, "test_vit": 160}
LAST_BLOCK = {
    "cnn3": ("conv3.",),
    "test_resnet": ("layer4.",),
    "test_vit": ("blocks.5.", "norm."),
}
LEVELS = ["all", "head", "last:1"]
MODELS_AND_LEVELS = [(model, level) for model in SIDES for level in LEVELS]


def network(model: str, level: str, dropout: float = 0.0) -> Classifier:
    """A frozen network in training mode; every residual branch has an effect."""
    torch.manual_seed(0)
    classifier = build_classifier(
        model, size=SIDES[model], head=[8], outputs=2, dropout=dropout, mean=0.5, std=0.25
    )
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm starts the last of a branch at zero
    freeze(classifier, level)
    return classifier.train()


def some_images(classifier: Classifier, model: str) -> Tensor:
    side = SIDES[model]
    return torch.rand(8, 1, side, side, generator=torch.Generator().manual_seed(1))


def take_one_step(classifier: Classifier, model: str, leave_out: str = "none") -> None:
    """One step of SGD at lr 0.1, without the tensors whose names start with `leave_out`."""
    parameters = [
        parameter
        for name, parameter in classifier.named_parameters()
        if parameter.requires_grad and not name.startswith(leave_out)
    ]
    targets = torch.tensor([0, 1] * 4)
    loss = nn.functional.cross_entropy(classifier(some_images(classifier, model)), targets)
    loss.backward()
    torch.optim.SGD(parameters, lr=0.1).step()


def verify(snapshot: FrozenSnapshot, classifier: Classifier) -> list[str]:
    return snapshot.verify(classifier, recipe_with(optimizer="sgd", lr=0.1), 1)


def is_trained(name: str, model: str, level: str) -> bool:
    """Whether a tensor of the state dict (a parameter or a batch statistic) may change."""
    if level == "all" or name.startswith("head."):
        return True
    return level == "last:1" and name.removeprefix("backbone.").startswith(LAST_BLOCK[model])


@pytest.mark.parametrize(("model", "level"), MODELS_AND_LEVELS)
def test_a_step_changes_what_trains_and_nothing_else(model: str, level: str) -> None:
    classifier = network(model, level)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    take_one_step(classifier, model)
    changed = {n for n, tensor in classifier.state_dict().items() if not tensor.equal(before[n])}
    assert changed == {name for name in before if is_trained(name, model, level)}


@pytest.mark.parametrize(("model", "level"), MODELS_AND_LEVELS)
def test_snapshot_accepts_a_step_of_what_trains(model: str, level: str) -> None:
    classifier = network(model, level)
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, model)
    assert verify(snapshot, classifier) == []


def test_training_mode_leaves_frozen_batch_normalisation_in_evaluation() -> None:
    classifier = network("test_resnet", "last:1").eval().train()
    training = {
        name: module.training
        for name, module in classifier.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert training == {name: name.startswith("backbone.layer4.") for name in training}
    assert set(training.values()) == {True, False}


def test_evaluation_mode_holds_for_what_trains_too() -> None:
    classifier = network("test_resnet", "last:1").eval()
    assert not any(module.training for module in classifier.modules())


def test_freezing_takes_hold_at_once_and_not_at_the_next_change_of_mode() -> None:
    classifier = build_classifier(
        "test_resnet", size=64, head=[], outputs=2, dropout=0.5, mean=0.5, std=0.25
    )
    freeze(classifier, "head")
    assert not any(module.training for module in classifier.backbone.modules())
    assert all(module.training for module in classifier.head.modules())


def test_freezing_again_replaces_what_was_frozen_before() -> None:
    classifier = network("test_resnet", "head")
    freeze(classifier, "all")
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    assert all(module.training for module in classifier.modules())


def dropping_vit() -> Classifier:
    """A ViT with dropout and drop path in its blocks, under a head with dropout."""
    torch.manual_seed(0)
    backbone = timm.create_model(
        "test_vit", in_chans=1, num_classes=0, proj_drop_rate=0.5, drop_path_rate=0.5
    )
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 2))
    return Classifier(backbone, head, mean=0.5, std=0.25)


@pytest.mark.parametrize(("level", "varies"), [("head", False), ("last:1", True), ("all", True)])
def test_dropout_of_the_backbone_is_off_where_it_is_frozen(level: str, varies: bool) -> None:
    classifier = dropping_vit()
    freeze(classifier, level)
    classifier.train()
    images = some_images(classifier, "test_vit")
    first, second = classifier.backbone(images), classifier.backbone(images)
    assert first.equal(second) != varies


def test_dropout_of_a_frozen_block_is_off_while_a_later_one_trains() -> None:
    classifier = dropping_vit()
    freeze(classifier, "last:1")
    drops = {
        name: module.training
        for name, module in classifier.train().named_modules()
        if isinstance(module, nn.Dropout) and name.startswith("backbone.blocks.")
    }
    assert drops == {name: name.startswith("backbone.blocks.5.") for name in drops}
    assert any(drops.values())


def test_dropout_of_the_head_is_on_over_a_frozen_backbone() -> None:
    classifier = network("cnn3", "head", dropout=0.5)
    images = some_images(classifier, "cnn3")
    assert not classifier(images).equal(classifier(images))


def test_trained_blocks_are_named_as_tensors_are() -> None:
    classifier = network("test_resnet", "last:2")
    assert trained_blocks(classifier) == ["backbone.layer3", "backbone.layer4", "head"]
    freeze(classifier, "head")
    assert trained_blocks(classifier) == ["head"]


@pytest.mark.parametrize("count", [3, 10])
def test_more_last_blocks_than_can_be_name_the_blocks_there_are(count: int) -> None:
    expected = (
        rf"got 'last:{count}' for a backbone of 3 blocks \(conv1, conv2, conv3\); "
        r"allowed: head, last:1 to last:2, all"
    )
    with pytest.raises(UserError, match=expected):
        network("cnn3", f"last:{count}")


def test_all_blocks_but_the_first_can_train() -> None:
    assert trained_blocks(network("cnn3", "last:2")) == [
        "backbone.conv2",
        "backbone.conv3",
        "head",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "backbone.conv1.0.weight",
        "backbone.bn1.bias",
        "backbone.bn1.running_mean",
        "backbone.layer3.0.bn1.num_batches_tracked",
    ],
)
def test_snapshot_notices_a_frozen_tensor_that_moved(name: str) -> None:
    classifier = network("test_resnet", "last:1")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "test_resnet")
    classifier.state_dict()[name].view(-1)[0] += 1
    with pytest.raises(RuntimeError, match=rf"frozen tensors changed during training: {name}$"):
        verify(snapshot, classifier)


def test_snapshot_names_some_of_many_moved_tensors_and_counts_the_others() -> None:
    classifier = network("test_vit", "head")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "test_vit")
    for parameter in classifier.backbone.parameters():
        parameter.data += 1
    count = len(list(classifier.backbone.parameters()))
    with pytest.raises(RuntimeError, match=rf"backbone\.cls_token, .* and {count - 5} more$"):
        verify(snapshot, classifier)


@pytest.mark.parametrize(
    ("leave_out", "named"),
    [
        ("backbone.layer4.", r"backbone\.layer4"),
        ("head.4.bias", r"head\.4\.bias"),
        ("head.", r"head\.4\.weight, head\.4\.bias"),
        ("backbone.", r"backbone\.layer3, backbone\.layer4"),
    ],
)
def test_snapshot_notices_what_was_to_train_and_did_not(leave_out: str, named: str) -> None:
    classifier = network("test_resnet", "last:2")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "test_resnet", leave_out)
    with pytest.raises(UserError, match=rf"what was to train did not: {named} moved by 0 of"):
        verify(snapshot, classifier)


def test_snapshot_says_what_learning_rate_and_steps_moved_nothing() -> None:
    classifier = network("cnn3", "all")
    snapshot = FrozenSnapshot(classifier)
    expected = (
        r"^got lr 1e-30 \(sgd, cosine\), 3 epochs of batch_size 4: 6 steps: what was to train did "
        r"not: backbone\.conv1, backbone\.conv2, .* and up to 1\.9e-06 is float noise; give a "
    )
    recipe = recipe_with(optimizer="sgd", lr=1e-30, schedule="cosine", epochs=3)
    with pytest.raises(UserError, match=expected) as caught:
        snapshot.verify(classifier, recipe, 6)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("relative", "trained"), [(1e-7, False), (1e-6, False), (4e-6, True)])
def test_float_noise_is_no_training(relative: float, trained: bool) -> None:
    classifier = network("cnn3", "head")
    snapshot = FrozenSnapshot(classifier)
    signs = torch.Generator().manual_seed(0)
    for parameter in classifier.head.parameters():
        sign = torch.randint(0, 2, parameter.shape, generator=signs) * 2 - 1
        parameter.data += relative * parameter.data.norm() / parameter.numel() ** 0.5 * sign
    if trained:
        verify(snapshot, classifier)
    else:
        with pytest.raises(UserError, match=r"did not: head\.4\.weight, head\.4\.bias moved by"):
            verify(snapshot, classifier)


def test_weight_decay_alone_is_no_training() -> None:
    classifier = network("cnn3", "last:1")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "cnn3", leave_out="backbone.conv3.")
    for _ in range(100):
        classifier.get_parameter("backbone.conv3.weight").data *= 1 - 1e-3
    with pytest.raises(UserError, match=r"did not: backbone\.conv3 moved by"):
        snapshot.verify(classifier, recipe_with(), 100)


def test_a_block_of_nothing_but_zeros_has_trained_once_it_is_something_else() -> None:
    classifier = network("cnn3", "last:1")
    for parameter in classifier.backbone.get_submodule("conv3").parameters():
        nn.init.zeros_(parameter)
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "cnn3", leave_out="backbone.conv3.")
    with pytest.raises(UserError, match=r"did not: backbone\.conv3 moved by 0 of"):
        verify(snapshot, classifier)
    nn.init.constant_(classifier.get_parameter("backbone.conv3.bias"), 1e-9)
    verify(snapshot, classifier)


def test_a_block_that_gradients_never_reach_while_they_reach_others_is_a_fault_of_the_code() -> (
    None
):
    classifier = network("cnn3", "last:1")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "cnn3", leave_out="backbone.conv3.")
    for parameter in classifier.backbone.parameters():
        parameter.grad = None
    with pytest.raises(RuntimeError, match=r"^no gradient reached: backbone\.conv3$"):
        verify(snapshot, classifier)


def test_snapshot_tells_a_single_tensor_that_stayed_the_same() -> None:
    classifier = network("test_resnet", "last:1")
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "test_resnet", leave_out="backbone.layer4.0.conv1.")
    assert verify(snapshot, classifier) == ["backbone.layer4.0.conv1.weight"]


def test_snapshot_accepts_a_residual_branch_that_starts_at_zero() -> None:
    classifier = network("test_resnet", "last:1")
    nn.init.zeros_(classifier.get_parameter("backbone.layer4.0.bn2.weight"))
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "test_resnet")
    assert "backbone.layer4.0.conv2.weight" in verify(snapshot, classifier)


def test_snapshot_notices_a_switch_of_what_trains() -> None:
    classifier = network("cnn3", "last:1")
    snapshot = FrozenSnapshot(classifier)
    classifier.get_parameter("backbone.conv1.bias").requires_grad_(True)
    with pytest.raises(RuntimeError, match=r"switched during training: backbone\.conv1\.bias$"):
        verify(snapshot, classifier)


def test_snapshot_does_not_depend_on_memory_format_or_the_sign_of_zero() -> None:
    classifier = network("cnn3", "last:1")
    frozen = classifier.get_parameter("backbone.conv2.weight")
    frozen.data[0] = -0.0
    snapshot = FrozenSnapshot(classifier)
    take_one_step(classifier, "cnn3")
    frozen.data[0] = 0.0
    assert verify(snapshot, classifier.to(memory_format=torch.channels_last)) == []


def test_predictions_do_not_depend_on_the_batch_after_a_partly_frozen_training() -> None:
    classifier = network("test_resnet", "last:1", dropout=0.5)
    take_one_step(classifier, "test_resnet")
    classifier.eval()
    images = some_images(classifier, "test_resnet")
    with torch.inference_mode():
        together = classifier(images)
        alone = torch.cat([classifier(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert together.std(dim=0).min() > 1e-4  # the images do differ
