"""The layer tree of awkward networks, and of torchvision's beside two independent counts: torchinfo's and its own."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
import torchinfo
import torchvision
from tiny_models import (
    BANK,
    Attention,
    Case,
    Failing,
    LooksAtValues,
    Plain,
    Recursive,
    RootOwned,
    SharedModule,
    Tied,
    tree_of,
)
from torch import nn

from multirate_core.errors import ModelError
from multirate_core.layers.build import layer_tree
from multirate_core.layers.second_count import second_count
from multirate_core.layers.tree import LayerNode, LayerTree, from_json, to_json

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

each_case = pytest.mark.parametrize("case", BANK, ids=lambda case: case.name)


def node_at(tree: LayerTree, path: str) -> LayerNode:
    return next(node for node in tree.nodes() if node.path == path)


@each_case
def test_costs_of_children_and_own_add_up_at_every_node(case: Case) -> None:
    for node in tree_of(case).nodes():
        assert node.multiply_adds == node.own_multiply_adds + sum(child.multiply_adds for child in node.children)
        own = sum(parameter.numel for parameter in node.parameters)
        assert node.parameter_count == own + sum(child.parameter_count for child in node.children)


@each_case
def test_parameters_are_those_of_the_model_in_its_order_and_shared_ones_count_once(case: Case) -> None:
    model, tree = case.build(), tree_of(case)
    named = dict(model.named_parameters())
    assert [parameter.name for parameter in tree.parameters()] == list(named)
    for parameter in tree.parameters():
        tensor = named[parameter.name]
        assert parameter.shape == tuple(tensor.shape)
        assert parameter.numel == tensor.numel()
        assert parameter.trainable == tensor.requires_grad
    assert tree.root.parameter_count == sum(tensor.numel() for tensor in named.values())


@each_case
def test_every_name_of_every_tensor_has_exactly_one_place(case: Case) -> None:
    tree = tree_of(case)
    first = [parameter.name for parameter in tree.parameters()]
    second = [name for node in tree.nodes() for name, _ in node.tied]
    names = [name for name, _ in case.build().named_parameters(remove_duplicate=False)]
    assert sorted(first + second) == sorted(names)
    assert sorted(alias for parameter in tree.parameters() for alias in parameter.aliases) == sorted(second)


@each_case
def test_every_module_path_is_a_node_in_architecture_order(case: Case) -> None:
    paths = [path for path, _ in case.build().named_modules(remove_duplicate=False)]
    assert [node.path for node in tree_of(case).nodes()] == paths


@each_case
def test_json_gives_an_equal_tree_back(case: Case) -> None:
    tree = tree_of(case)
    assert from_json(to_json(tree)) == tree
    assert from_json(to_json(tree)).fingerprint == tree.fingerprint


@each_case
def test_the_model_is_left_as_it_was(case: Case) -> None:
    model = case.build()
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    layer_tree(model, case.input_shape, case.name, case.head)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert torch.backends.mha.get_fastpath_enabled()


@each_case
def test_a_model_on_the_meta_device_has_the_same_tree(case: Case) -> None:
    with torch.device("meta"):
        model = case.build()
    assert layer_tree(model, case.input_shape, case.name, case.head) == tree_of(case)


def test_multiply_adds_of_hand_worked_layers() -> None:
    tree = layer_tree(Plain(), (1, 8, 8), "plain")
    assert node_at(tree, "conv").multiply_adds == 4 * 8 * 8 * 1 * 3 * 3
    assert node_at(tree, "fc").multiply_adds == 4 * 8 * 8 * 3
    assert tree.root.multiply_adds == 2304 + 768
    assert node_at(tree, "conv").output_shape == (4, 8, 8)
    assert tree.root.output_shape == (3,)


def test_attention_counts_its_projections_and_products_as_its_own() -> None:
    tree = layer_tree(Attention(), (5, 8), "attention")
    tokens, width = 5, 8
    projections, products = 4 * tokens * width * width, 2 * tokens * tokens * width
    attention = node_at(tree, "attention")
    assert attention.own_multiply_adds == projections + products
    assert [parameter.name for parameter in attention.parameters] == [
        "attention.in_proj_weight",
        "attention.in_proj_bias",
    ]
    out = node_at(tree, "attention.out_proj")
    assert (out.multiply_adds, out.output_shape) == (0, None)


def test_a_module_in_two_places_counts_each_call_where_it_was_made() -> None:
    tree = layer_tree(SharedModule(), (2, 4, 4), "shared")
    one_call = 2 * 2 * 3 * 3 * 4 * 4
    assert node_at(tree, "first.0").multiply_adds == 2 * one_call
    assert node_at(tree, "second.0").multiply_adds == one_call
    assert node_at(tree, "second.0").tied == (("second.0.weight", "first.0.weight"), ("second.0.bias", "first.0.bias"))
    assert node_at(tree, "second.0").parameter_count == 0


def test_a_network_that_calls_itself_is_counted_once_per_call() -> None:
    tree = layer_tree(Recursive(), (1, 8, 8), "recursive")
    assert node_at(tree, "conv").multiply_adds == 9 * (8 * 8 + 4 * 4 + 2 * (2 * 2))
    assert tree.root.output_shape == (2,)


def test_a_tied_tensor_is_owned_where_it_is_named_first() -> None:
    tree = layer_tree(Tied(), (6,), "tied")
    assert tree.parameters()[0].aliases == ("decoder.weight",)
    assert node_at(tree, "decoder").tied == (("decoder.weight", "encoder.weight"),)
    assert node_at(tree, "decoder").parameter_count == 6
    assert node_at(tree, "decoder").multiply_adds == 36


def test_a_forward_that_looks_at_values_is_measured_on_the_cpu() -> None:
    tree = layer_tree(LooksAtValues(), (4,), "values")
    assert (tree.root.multiply_adds, tree.root.output_shape, tree.note) == (8, (2,), "")


def test_a_forward_that_fails_leaves_a_tree_without_shapes_and_a_note_with_the_reason() -> None:
    tree = layer_tree(Failing(), (4,), "failing")
    assert all(node.output_shape is None and node.multiply_adds == 0 for node in tree.nodes())
    assert "this network wants a mask" in tree.note
    assert [parameter.name for parameter in tree.parameters()] == ["fc.weight", "fc.bias"]


def test_an_unused_layer_has_no_shape_and_costs_nothing() -> None:
    unused = node_at(layer_tree(RootOwned(), (5, 4), "root"), "unused")
    assert (unused.output_shape, unused.multiply_adds, unused.parameter_count) == (None, 0, 35)


def test_equal_blocks_have_equal_signatures_and_others_do_not() -> None:
    with torch.device("meta"):
        tree = layer_tree(torchvision.models.resnet50(), (3, 224, 224), "resnet50")
    signature = {node.path: node.signature for node in tree.nodes()}
    assert signature["layer3.1"] == signature["layer3.5"]
    assert signature["layer3.0"] != signature["layer3.1"]  # has a downsample
    assert signature["layer2.1"] != signature["layer3.1"]  # other shapes


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match="no module 'classifier'"):
        layer_tree(Plain(), (1, 8, 8), "plain", ("classifier",))


def test_a_module_that_contains_itself_is_refused() -> None:
    loop = nn.Sequential(nn.Linear(2, 2))
    loop.add_module("again", loop)
    with pytest.raises(ModelError, match="contains itself"):
        layer_tree(loop, (2,), "loop")


def test_a_lazy_module_is_refused_with_what_to_do() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some releases of torch say that lazy modules are new
        model = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(ModelError, match="Run one batch"):
        layer_tree(model, (2,), "lazy")


# Every family of torchvision, by a small member; a few of them in the short suite.
SHORT = ("mobilenet_v3_small", "resnet152", "squeezenet1_0", "swin_v2_t", "vit_b_16")
LONG = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "swin_t", "vgg11", "wide_resnet50_2",
)  # fmt: skip
MATRIX = (pytest.mark.slow, pytest.mark.matrix)
FAMILIES = (
    *(pytest.param(name, marks=pytest.mark.slow) for name in SHORT),
    *(pytest.param(name, marks=MATRIX) for name in LONG),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_multiply_adds_and_parameters_are_those_that_torchvision_publishes(name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    size = weights.transforms().crop_size[0]
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # RegNet looks at values while it is made
        model = torchvision.models.get_model(name, **options)
    tree = layer_tree(model, (3, size, size), name)
    assert tree.note == ""
    assert math.isclose(tree.root.multiply_adds / 1e9, weights.meta["_ops"], abs_tol=6e-4)
    without_auxiliary = sum(n.parameter_count for n in tree.root.children if "aux" not in n.path.lower())
    root_owned = sum(parameter.numel for parameter in tree.root.parameters)
    published = weights.meta["num_params"]
    assert published in (tree.root.parameter_count, without_auxiliary + root_owned)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0"])
def test_output_shapes_and_parameter_counts_agree_with_torchinfo(name: str) -> None:
    model = torchvision.models.get_model(name)
    tree = layer_tree(model, (3, 64, 64), name)
    summary = torchinfo.summary(model, (2, 3, 64, 64), verbose=0, mode="eval", device="cpu")
    paths = {id(module): path for path, module in model.named_modules()}
    seen = {paths[info.layer_id]: info for info in summary.summary_list if info.layer_id in paths}
    for node in tree.nodes():
        info = seen[node.path]
        assert (2, *(node.output_shape or ())) == tuple(info.output_size), node.path
        assert node.parameter_count == info.num_params, node.path
        assert node.kind == info.class_name


def test_the_second_count_agrees_where_there_is_no_attention() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
        counted = second_count(model, (3, 64, 64))
    tree = layer_tree(model, (3, 64, 64), "resnet18")
    assert counted.parameters == tree.root.parameter_count == 11_689_512
    # torchinfo also counts a multiply-add per number that a BatchNorm layer holds, and per bias.
    assert counted.multiply_adds == pytest.approx(tree.root.multiply_adds, rel=0.002)
