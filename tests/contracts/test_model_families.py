"""One suite over all families of networks: the head, its size, one output, the smallest image."""

from __future__ import annotations

import pytest
import torch
from family_cases import HEADS
from torch import nn

from multirate_core.config import ModelConfig
from multirate_core.data.catalog import usual_shape
from multirate_core.errors import ModelError
from multirate_core.models.catalog import CIFAR_FAMILY, MODELS, OFFLINE_NAME, model_info
from multirate_core.models.registry import build, build_skeleton

pytestmark = pytest.mark.slow

NUM_CLASSES = 7


def on_meta(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    with torch.device("meta"):
        return build_skeleton(name, NUM_CLASSES, usual_shape(model_info(name)))


def scores_shape(model: nn.Module, channels: int, image_size: int) -> tuple[int, ...]:
    with torch.no_grad():
        scores = model(torch.empty(2, channels, image_size, image_size, device="meta"))
    assert isinstance(scores, torch.Tensor)
    return tuple(scores.shape)


def test_every_family_is_in_this_suite() -> None:
    assert {MODELS[name].family for name in HEADS} == {
        info.family for info in MODELS.values() if info.maker == "torchvision" or info.family == CIFAR_FAMILY
    }


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_found_and_makes_one_score_per_class(name: str) -> None:
    model, head = on_meta(name)
    assert head == (HEADS[name],)
    layer = model.get_submodule(HEADS[name])
    assert isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.shape[0] == NUM_CLASSES
    assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    info = model_info(name)
    assert scores_shape(model.train(), info.channels, info.smallest_size) == (2, NUM_CLASSES)


@pytest.mark.parametrize("name", [name for name in HEADS if MODELS[name].smallest_size > 8])
def test_one_pixel_less_than_the_smallest_size_is_too_small(name: str) -> None:
    info = model_info(name)
    model, _ = on_meta(name)
    if not info.fixed_size:  # MaxViT happens to take 223 pixels, by rounding, but not 192 or 256
        with pytest.raises((RuntimeError, AssertionError, ValueError)):
            scores_shape(model.train(), info.channels, info.smallest_size - 1)
    with pytest.raises(ModelError, match=str(info.smallest_size)):
        build(ModelConfig(name, "none"), NUM_CLASSES, (info.channels, info.smallest_size - 1, info.smallest_size - 1))


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_a_built_network_trains_on_real_numbers(name: str) -> None:
    torch.manual_seed(0)
    built = build(ModelConfig(name, "none"), NUM_CLASSES, (3, 32, 32))
    assert built.module.training and built.head == (HEADS[name],)
    assert (len(built.mean), len(built.std)) == (3, 3)
    loss = nn.functional.cross_entropy(built.module(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 6]))
    loss.backward()
    gradients = {path: parameter.grad for path, parameter in built.module.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    head_gradient = gradients[f"{built.head[0]}.weight"]
    assert head_gradient is not None and head_gradient.abs().sum() > 0


def test_the_offline_network_has_its_head_and_takes_grey_images() -> None:
    pytest.importorskip("multirate_core.models.glyph_net")
    model, head = on_meta(OFFLINE_NAME)
    layer = model.get_submodule(head[0])
    assert isinstance(layer, nn.Linear) and layer.out_features == NUM_CLASSES
    assert scores_shape(model, 1, 32) == (2, NUM_CLASSES)
    assert scores_shape(model, 1, model_info(OFFLINE_NAME).smallest_size) == (2, NUM_CLASSES)


@pytest.mark.matrix
@pytest.mark.parametrize("name", sorted(name for name, info in MODELS.items() if info.maker == "torchvision"))
def test_every_single_model_trains_at_its_smallest_size_and_its_own(name: str) -> None:
    info = model_info(name)
    model, head = on_meta(name)
    assert list(model.named_parameters())[-1][0].startswith(f"{head[0]}.")
    for image_size in {info.smallest_size, info.image_size}:
        assert scores_shape(model.train(), info.channels, image_size) == (2, NUM_CLASSES)
