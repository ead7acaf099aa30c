"""Which blocks are found in a network, how they are named, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tiny_models
import torch
import torchvision
from lean_cases import Chain, Step, head_groups
from optim_cases import norm_net, small_net
from torch import nn

from multirate_core.errors import ConfigError
from multirate_core.lean import make_lean
from multirate_core.lean.blocks import find_blocks
from multirate_core.lean.names import match_blocks
from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow


def names(model: nn.Module) -> list[str]:
    return [block.name for block in find_blocks(model)]


def built(name: str) -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


def test_the_blocks_of_resnet50_are_its_bottlenecks_its_pool_and_pairs_in_the_long_stage() -> None:
    found = names(built("resnet50"))
    assert found[:8] == ["maxpool", *(f"layer1.{i}" for i in range(3)), *(f"layer2.{i}" for i in range(4))]
    assert found[8:] == ["layer3[0:2]", "layer3[2:4]", "layer3[4:6]", "layer4.0", "layer4.1", "layer4.2"]


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet18", 9, "maxpool", "layer4.1"),
        ("mobilenet_v2", 20, "features.0", "classifier"),
        ("vit_b_16", 12, "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_11"),
        ("swin_t", 16, "features.0", "features.7.1"),
        ("densenet121", 62, "features.pool0", "features.denseblock4.denselayer16"),
        ("googlenet", 18, "conv1", "aux2"),
        ("vgg16_bn", 6, "features[0:10]", "classifier"),
    ],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
def test_blocks_are_found_in_published_networks(name: str, count: int, first: str, last: str) -> None:
    found = names(built(name))
    assert (len(found), found[0], found[-1]) == (count, first, last)


def test_two_stacks_of_layers_are_all_their_layers() -> None:
    found = names(nn.Transformer(8, 2, 3, 4, 16, batch_first=True))
    assert found == [f"encoder.layers.{i}" for i in range(3)] + [f"decoder.layers.{i}" for i in range(4)]


def test_two_stacks_of_one_class_are_all_their_layers_too() -> None:
    model = nn.Module()
    model.first, model.second = Chain(Step), Chain(Step)
    assert names(model) == [f"{stack}.blocks.{i}" for stack in ("first", "second") for i in range(3)]


def test_stages_nested_in_stages_are_opened_down_to_their_blocks() -> None:
    assert names(tiny_models.Nested())[:3] == ["layer1.0", "layer1.1", "layer1.2"]
    pairs = [nn.Sequential(Step(), Step()) for _ in range(4)]
    model = nn.Sequential(nn.Sequential(*pairs[:2]), nn.Sequential(*pairs[2:]))
    assert names(model) == [f"{a}.{b}.{c}" for a in range(2) for b in range(2) for c in range(2)]


@pytest.mark.parametrize("model", [small_net(), norm_net(), tiny_models.Plain()], ids=["dense", "norm", "plain"])
def test_a_row_of_single_layers_is_cut_before_layers_with_weights_and_into_disjoint_runs(model: nn.Sequential) -> None:
    blocks = find_blocks(model)
    covered = [i for block in blocks for i in (range(block.start, block.stop) if block.stop else [-1])]
    assert len(set(covered)) == len(covered)
    for block in blocks:
        if block.stop:
            assert any(weight.dim() > 1 for weight in model[block.start].parameters())


def test_no_block_lies_inside_another_in_any_published_network() -> None:
    for name in ("resnet152", "efficientnet_b0", "convnext_base", "maxvit_t", "mnasnet1_0", "vgg11", "squeezenet1_0"):
        model = built(name)
        seen: set[int] = set()
        for block in find_blocks(model):
            module = model.get_submodule(block.path)
            members = list(module.children())[block.start : block.stop] if block.stop else [module]
            inside = {id(each) for member in members for each in member.modules()}
            assert not seen & inside, (name, block.name)
            seen |= inside


def test_names_globs_and_slices_name_blocks_and_the_outer_ones_win() -> None:
    model = built("resnet18")
    found = [
        block.name for block in match_blocks(model, ["layer2.1", "layer1.*", "layer1[0:2]", "layer4", "layer4.0.conv1"])
    ]
    assert found == ["layer1[0:2]", "layer2.1", "layer4"]


def lean(model: nn.Module, **settings: Any) -> object:
    return make_lean(model, MultirateSGD(head_groups(model), lr=0.1), **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": ["block.0"]}, r"no module matches the block 'block.0'; there are 'blocks.0'"),
        ({"blocks": ["layer?"]}, r"no module matches the block 'layer\?'.* and \d+ more"),
        ({"blocks": ["blocks"]}, r"is a ModuleList, which is never called itself. Name its members: 'blocks.\*'"),
        ({"blocks": "blocks.0"}, r"must be a list of module names, got the text 'blocks.0'. Write \['blocks.0'\]"),
        ({"blocks": []}, r"found no blocks in Chain"),
        ({"blocks": ["blocks[0:2]"]}, r"must be a slice \[start:stop\] of an nn.Sequential .* got one of a ModuleList"),
        ({"keep": 1.5}, r"keep must be a finite number ≥ 0 and ≤ 1, got 1.5"),
        ({"keep": math.nan}, r"keep must be a finite number"),
        ({"keep": "half"}, r"keep must be a finite number"),
    ],
)
def test_bad_settings_are_refused_in_words_and_nothing_is_changed(settings: dict[str, Any], words: str) -> None:
    model = Chain(Step)
    with pytest.raises(ConfigError, match=words):
        lean(model, **settings)
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("run", ["0[1:1]", "0[0:4]", "0[3:2]"])
def test_a_slice_must_lie_in_its_row(run: str) -> None:
    model = nn.Sequential(small_net()[:3], nn.Linear(8, 2))
    with pytest.raises(ConfigError, match=r"0 ≤ start < stop"):
        lean(model, blocks=[run])


def test_overlapping_slices_are_refused() -> None:
    model = nn.Sequential(small_net(), nn.Linear(3, 2))
    with pytest.raises(ConfigError, match=r"'0\[0:3\]' and '0\[2:5\]' overlap"):
        lean(model, blocks=["0[0:3]", "0[2:5]"])


def test_a_model_without_blocks_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"found no blocks in RootOwned.*Name the modules to recompute"):
        lean(tiny_models.RootOwned())


def test_an_optimiser_of_another_model_is_refused_and_nothing_is_changed() -> None:
    model, other = Chain(Step), Chain(Step)
    with pytest.raises(ConfigError, match="the optimiser holds no parameter of this Chain"):
        make_lean(model, MultirateSGD(head_groups(other), lr=0.1))
    assert not any("forward" in module.__dict__ for module in model.modules())
