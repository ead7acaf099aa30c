"""The ResNets for CIFAR: as the paper describes them, as published weights name them, and raced like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_cases import shared, silent, small_fashion
from race_cases import CPU, only, tiny_config, tiny_split
from torch import Tensor, nn

from multirate_core.config import ArmConfig, DataConfig, Execution, GroupSpec, ModelConfig, PartitionSpec, Rule
from multirate_core.data import registry as data_registry
from multirate_core.data.catalog import data_shape
from multirate_core.data.split import DataSplit, with_channels
from multirate_core.errors import ModelError
from multirate_core.events import LaneEnded, StepsRecorded
from multirate_core.layers.build import layer_tree
from multirate_core.layers.second_count import second_count
from multirate_core.lean.blocks import find_blocks
from multirate_core.models import cifar_resnets
from multirate_core.models.catalog import CIFAR_FAMILY, MODELS, model_info, require_weights
from multirate_core.models.registry import build, build_skeleton
from multirate_core.partition import preset
from multirate_core.race import RaceParts, race_lanes
from multirate_core.race.partitions import resolve_partitions
from multirate_core.training.batches import Images
from multirate_core.training.evaluation import evaluate
from multirate_core.training.forward import Forward

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

NAMES = tuple(cifar_resnets.BLOCKS)
FILES = {
    "resnet20": "resnet20-12fca82f.th",
    "resnet32": "resnet32-d509ac18.th",
    "resnet56": "resnet56-4bfd9763.th",
}


def on_meta(name: str, classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return build_skeleton(name, classes, (3, 32, 32))[0]


# The networks


def test_the_catalog_has_exactly_these_networks() -> None:
    assert {name for name, info in MODELS.items() if info.family == CIFAR_FAMILY} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "layers", "millions"), [("resnet20", 20, 0.27), ("resnet32", 32, 0.46), ("resnet56", 56, 0.85)]
)
def test_layers_and_parameters_are_those_of_the_papers_table_6(name: str, layers: int, millions: float) -> None:
    model = on_meta(name)
    weighted = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 2) == millions
    assert model_info(name).note.startswith(f"{millions} M parameters")


def test_the_stages_halve_the_image_and_double_the_channels() -> None:
    model, shapes = cifar_resnets.build("resnet20", 7), []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda _module, _given, out: shapes.append(tuple(out.shape)))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_a_shortcut_takes_every_second_pixel_and_puts_zeros_around_the_channels() -> None:
    block = cifar_resnets.BasicBlock(2, 4, stride=2)
    nn.init.zeros_(block.bn2.weight)  # nothing but the shortcut is left
    x = torch.arange(2 * 5 * 5).view(1, 2, 5, 5).float()
    out = block(x)
    assert torch.equal(out[0, 1], torch.tensor([[0, 2, 4], [10, 12, 14], [20, 22, 24]]).float())
    assert torch.equal(out[0, 2], out[0, 1] + 25)
    assert not out[0, 0].any() and not out[0, 3].any()
    assert not any("shortcut" in name for name in block.state_dict())


def test_a_block_that_changes_nothing_about_the_shape_adds_its_input() -> None:
    block = cifar_resnets.BasicBlock(3, 3, stride=1)
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("size", [8, 15, 28, 33])
def test_other_image_sizes_work(size: int) -> None:
    assert cifar_resnets.build("resnet20", 3)(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_the_random_weights_follow_the_seed_and_keep_the_scale_of_the_signal() -> None:
    torch.manual_seed(4)
    first = cifar_resnets.build("resnet20", 10).state_dict()
    torch.manual_seed(4)
    second = cifar_resnets.build("resnet20", 10).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    kernel = first["layer3.1.conv1.weight"]  # 64 × 3 × 3 inputs, He's rule: variance 2 / inputs
    assert kernel.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.03)


# Weights and images


@pytest.mark.parametrize("name", NAMES)
def test_pretrained_weights_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} has no pretrained weights .* Use 'none' .* local state dict"):
        build(ModelConfig(name), 10, (3, 32, 32))
    for weights in ("none", "/some/net.th"):
        require_weights(model_info(name), weights)


def test_every_other_network_may_ask_for_pretrained_weights() -> None:
    for info in MODELS.values():
        if info.family != CIFAR_FAMILY:
            require_weights(info, "pretrained")


@pytest.mark.parametrize("name", NAMES)
def test_the_published_weights_fit_with_and_without_their_head(name: str) -> None:
    config = ModelConfig(name, str(shared(f"weights/{FILES[name]}")))
    assert build(config, 10, (3, 32, 32)).notes[-1] == "The file's head fits (10 classes) and is used."
    assert "head is new" in build(config, 7, (3, 28, 28)).notes[-1]


@pytest.mark.slow
def test_published_weights_know_real_cifar_images_as_a_race_shows_them() -> None:
    config = ModelConfig("resnet20", str(shared("weights/resnet20-12fca82f.th")))
    data = DataConfig("cifar10", path=str(shared("data")), train_images=100)
    shape = data_shape(data, model_info("resnet20")).input_shape
    split = data_registry.load(data, seed=0, image_size=shape[-1], channels=shape[0], say=silent)
    assert isinstance(split, DataSplit)
    built = build(config, 10, shape)
    images = Images(split.test_images, split.test_labels, built.mean, built.std, CPU)
    assert evaluate(Forward(built.module), images, 64).accuracy == pytest.approx(0.812, abs=0.005)


def test_grey_images_are_given_a_border_three_channels_and_imagenets_normalisation(tmp_path: Path) -> None:
    data = DataConfig("fashion_mnist", path=str(small_fashion(tmp_path)))
    shape = data_shape(data, model_info("resnet20")).input_shape
    assert shape == (3, 32, 32)
    split = data_registry.load(data, seed=0, image_size=shape[-1], channels=shape[0], say=silent)
    assert isinstance(split, DataSplit)
    built = build(ModelConfig("resnet20", "none"), 10, shape)
    assert (built.mean, built.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inputs, _ = Images(split.test_images, split.test_labels, built.mean, built.std, CPU).batch(slice(0, 4))
    assert isinstance(inputs, Tensor) and inputs.shape == (4, 3, 32, 32)
    grey = inputs * torch.tensor(built.std).view(3, 1, 1) + torch.tensor(built.mean).view(3, 1, 1)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    assert grey[:, :, :2].abs().max() < 1e-6 < 0.9 < grey.max() <= 1.001  # black above, the image inside
    assert built.module(inputs).shape == (4, 10)


# The layer tree, lean memory, a race


@pytest.mark.parametrize("name", NAMES)
def test_tree_and_second_count_agree(name: str) -> None:
    with torch.device("meta"):
        model, head = build_skeleton(name, 10, (3, 32, 32))
        tree, counted = layer_tree(model, (3, 32, 32), name, head), second_count(model, (3, 32, 32))
    assert tree.note == "" and tree.head == ("linear",)
    assert counted.parameters == tree.root.parameter_count
    assert counted.multiply_adds == pytest.approx(tree.root.multiply_adds, rel=0.002)


def test_the_presets_find_the_head_and_the_last_stage() -> None:
    tree = layer_tree(on_meta("resnet20"), (3, 32, 32), "resnet20", ("linear",))
    fast = {
        name: {parameter for parameter, group in preset(name, tree, 5).assignment.items() if group == "fast"}
        for name in ("head", "last_block_head")
    }
    assert fast["head"] == {"linear.weight", "linear.bias"}
    stage = {parameter.name for parameter in tree.parameters() if parameter.name.startswith("layer3.")}
    assert fast["last_block_head"] == fast["head"] | stage


@pytest.mark.parametrize("name", NAMES)
def test_lean_memory_finds_every_block_once(name: str) -> None:
    model = on_meta(name)
    covered: list[str] = []
    for block in find_blocks(model):
        members = range(block.start, block.stop) if block.stop else ()
        covered += [f"{block.path}.{i}" for i in members] or [block.path]
    assert covered == [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(cifar_resnets.BLOCKS[name])]


LINEAR_FAST = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 3)), (Rule("linear", "fast"), Rule("*", "slow")))
ARMS = (ArmConfig("sgd", "sgd"), ArmConfig("multirate", "multirate", LINEAR_FAST))


def losses(execution: Execution) -> list[list[float]]:
    """Race the smallest of them on tiny colour images; return each arm's losses."""
    config = tiny_config(*ARMS, model=ModelConfig("resnet20", "none"), execution=execution)
    plain = tiny_split(train=80)  # batches of one size: fewer graphs when compiled
    split = DataSplit(
        with_channels(plain.train_images, 3),
        plain.train_labels,
        with_channels(plain.test_images, 3),
        *(plain.test_labels, plain.class_names, ()),
    )
    torch.manual_seed(0)
    built = build(config.model, 3, (3, 8, 8))
    parts = RaceParts(config, lambda _: built, split, resolve_partitions(config, built.module), CPU)
    events = list(race_lanes(parts, lambda: "go"))
    assert [event.outcome for event in only(LaneEnded, events)] == ["finished", "finished"]
    return [[loss for part in only(StepsRecorded, events, lane) for loss in part.loss] for lane in (0, 1)]


@pytest.mark.slow
def test_a_race_learns_and_lean_memory_changes_no_number() -> None:
    plain = losses(Execution())
    for lane in plain:
        assert sum(lane[-3:]) < sum(lane[:3])
    assert losses(Execution(memory="lean")) == plain


@pytest.mark.slow
def test_a_compiled_race_has_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: real(model, **{**options, "backend": "eager"}))
    torch.compiler.reset()
    plain, compiled = losses(Execution()), losses(Execution(compile=True))
    torch.compiler.reset()
    for one, other in zip(plain, compiled, strict=True):
        assert other == pytest.approx(one, rel=1e-4)
