"""Which gradients a backward pass computes: the graph's answer is autograd's own, for every choice of parameters."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import tiny_models
import torch
from gradient_cases import CASES, ODD_WAYS, built, really_run, smaller_graph, subsets, traced
from tiny_models import BANK, Case
from torch import nn

from multirate_core.layers.build import layer_tree
from multirate_core.layers.gradient_graph import (
    ALWAYS,
    GradientGraph,
    Operation,
    from_list,
    merge,
    merge_with_places,
    to_list,
)
from multirate_core.layers.trace_gradients import LEAF, trace_gradients
from multirate_core.layers.tree import from_json, to_json

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
OTHER_ON_META = {"Attention", "Recurrent"}  # the CPU has an operation for all of it, the meta device takes it apart


def named(name: str) -> Case:
    return next(case for case in (*BANK, *ODD_WAYS) if case.name == name)


def trainable(case: Case) -> list[str]:
    return [name for name, weight in built(case).named_parameters() if weight.requires_grad]


def graph_of(name: str) -> GradientGraph:
    graph = trace_gradients(built(named(name)), named(name).input_shape)
    assert graph is not None
    return graph


# Autograd's own answer


@pytest.mark.slow
@each_case
def test_exactly_the_needed_operations_run_in_a_real_backward_pass(case: Case) -> None:
    graph, tracer, output = traced(case)
    nodes = tracer.operation_nodes()
    leaves = {tracer._leaf_name(node): node for node in tracer.nodes if node.name().endswith(LEAF)}
    for due in subsets(trainable(case)):
        chosen = [leaves[name].variable for name in (*due, ALWAYS) if name in leaves]
        ran = really_run(nodes, output, chosen) if chosen else [False] * len(nodes)
        assert graph.needed(due) == ran, due


@pytest.mark.slow
@each_case
def test_a_pass_in_which_only_some_parameters_need_a_gradient_keeps_the_needed_operations(case: Case) -> None:
    graph, _, _ = traced(case)
    for due in subsets(trainable(case)):
        kinds = Counter(each.kind for each, runs in zip(graph.operations, graph.needed(due), strict=True) if runs)
        assert kinds == smaller_graph(case, due), due


@each_case
def test_the_graph_of_the_meta_device_is_that_of_the_cpu(case: Case) -> None:
    found = trace_gradients(built(case), case.input_shape)
    assert found is not None
    real, _, _ = traced(case)
    if case.name not in OTHER_ON_META:
        assert found == real
    for due in subsets(trainable(case)):
        assert set(found.reached(due)) == set(real.reached(due)), due


# By hand


@pytest.mark.parametrize(
    ("name", "due", "modules"),
    [
        ("Plain", ["fc.bias"], ["fc"]),
        ("Plain", ["norm.weight"], ["norm", "relu", "flat", "fc"]),
        ("Plain", ["conv.weight", "fc.weight"], ["conv", "norm", "relu", "flat", "fc"]),
        ("Residual", ["block.2.bias"], ["block.2", "", "head"]),
        ("Residual", ["stem.weight"], ["stem", "block.0", "block.1", "block.2", "", "head"]),
        ("TwoBranches", ["left.bias"], ["left", "", "head"]),
        ("TwoBranches", ["right.1.weight"], ["right.1", "", "head"]),
        ("Tied", ["encoder.weight"], ["encoder", "decoder"]),
        ("Tied", ["encoder.bias"], ["encoder", "decoder"]),
        ("Tied", ["decoder.bias"], ["decoder"]),
        ("Unused", ["never.weight", "in_vain.weight"], []),
        ("RootOwned", ["token"], ["", "body", "head"]),
        ("RootOwned", ["unused.weight", "body.bias"], ["body", "", "head"]),
        ("Extra", [], ["", "head"]),
        ("Frozen", ["body.bias"], ["body", "head"]),
        ("Recursive", ["fc.weight"], ["fc"]),
    ],
)
def test_gradients_reach_the_modules_that_lie_behind_the_earliest_chosen_parameter(
    name: str, due: Sequence[str], modules: Sequence[str]
) -> None:
    assert graph_of(name).reached(due) == modules


def test_a_module_that_stands_in_two_places_is_named_after_the_place_that_is_called() -> None:
    assert graph_of("SharedModule").reached(["first.0.weight"]) == [
        *("first.0", "first.1", "second.0", "second.1", "", "head")
    ]


def test_a_parameter_that_is_only_looked_at_counts_for_the_operation_that_computes_with_it() -> None:
    linear = next(each for each in graph_of("Frozen").operations if each.module == "head" and each.inputs)
    assert linear.parameters == ("head.bias", "head.weight")
    by_kind = {each.kind: each for each in graph_of("Views").operations if each.module == ""}
    assert by_kind["MmBackward0"].parameters == ("matrix",) and by_kind["MmBackward0"].inputs == ()
    assert by_kind["AddBackward0"].parameters == ("places",)
    assert by_kind["MulBackward0"].parameters == ("rows",)


@pytest.mark.parametrize("name", ["NoParameters", "Failing"])
def test_without_parameters_nothing_is_needed_and_without_a_forward_pass_nothing_is_known(name: str) -> None:
    case = named(name)
    assert trace_gradients(case.build(), case.input_shape) == (None if name == "Failing" else GradientGraph(()))


@each_case
def test_tracing_leaves_the_network_as_it_was(case: Case) -> None:
    network = case.build().eval()
    flags = [weight.requires_grad for weight in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trace_gradients(network, case.input_shape)
    assert [weight.requires_grad for weight in network.parameters()] == flags
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert not network.training


def test_a_network_without_weights_in_memory_is_traced_too() -> None:
    with torch.device("meta"):
        network = tiny_models.LooksAtValues()
    assert trace_gradients(network, (4,)) == graph_of("LooksAtValues")


# The smaller graph


def random_graph(source: random.Random) -> GradientGraph:
    """Up to 25 operations of 4 modules, most of them one after the other."""
    operations: list[Operation] = []
    for place in range(source.randint(1, 25)):
        wanted = source.choice((0, 1, 1, 1, 2, 3)) if place else 0
        inputs = tuple(sorted({source.choice((place - 1, source.randrange(place))) for _ in range(wanted)}))
        parameters = tuple(source.sample("pqrs", source.choice((0, 0, 1, 2)))) or (() if inputs else ("t",))
        operations.append(Operation("", source.choice(("", "a", "a.b", "c")), inputs, parameters))
    return GradientGraph(tuple(operations))


@pytest.mark.slow
@each_case
def test_the_smaller_graph_of_a_network_gives_the_same_modules(case: Case) -> None:
    graph, _, _ = traced(case)
    smaller = merge(graph)
    assert len(smaller.operations) <= len(graph.operations)
    for due in subsets(trainable(case)):
        assert smaller.reached(due) == graph.reached(due), due


def test_the_smaller_graph_of_any_graph_gives_the_same_answers() -> None:
    source = random.Random(3)
    for _ in range(60):
        graph = random_graph(source)
        smaller, places = merge_with_places(graph)
        assert merge(smaller) == smaller
        assert [smaller.operations[place].module for place in places] == [each.module for each in graph.operations]
        for due in subsets("pqrst"):
            needed = smaller.needed(due)
            assert [needed[place] for place in places] == graph.needed(due)
            assert set(smaller.reached(due)) == set(graph.reached(due))


def test_operations_of_one_layer_in_a_row_become_one() -> None:
    chain = GradientGraph(
        (
            Operation("Conv", "a", (), ("a.weight",)),
            Operation("Relu", "a", (0,), ()),
            Operation("Mul", "a", (1,), ("a.scale",)),
            Operation("View", "b", (2,), ()),
            Operation("Add", "b", (3, 0), ()),
        )
    )
    smaller, places = merge_with_places(chain)
    assert places == [0, 0, 1, 2, 3]
    assert [each.inputs for each in smaller.operations] == [(), (0,), (1,), (2, 0)]
    assert [each.parameters for each in smaller.operations] == [("a.weight",), ("a.scale",), (), ()]


# Its JSON form


@each_case
def test_a_graph_survives_json(case: Case) -> None:
    network = built(case)
    graph = trace_gradients(network, case.input_shape)
    assert graph is not None
    smaller, names = merge(graph), [name for name, _ in network.named_parameters()]
    assert from_list(json.loads(json.dumps(to_list(smaller, names))), names) == smaller


def test_a_tensor_that_is_no_parameter_survives_json() -> None:
    graph = GradientGraph((Operation("", "a", (), (ALWAYS, "w")), Operation("", "", (0,), ())))
    assert from_list(to_list(graph, ["v", "w"]), ["v", "w"]) == graph
    assert graph.needed(()) == [True, True]


@pytest.mark.parametrize(
    "written",
    [
        [["a"], [[0, [0], []]]],  # its own input
        [["a"], [[0, [], [0]], [0, [2], []], [0, [], [0]]]],  # a later one
        [["a"], [[0, [], [0]], [0, [-1], []]]],
        [["a"], [[1, [], [0]]]],  # no such module
        [["a"], [[-1, [], [0]]]],
        [["a"], [[0, [], [2]]]],  # no such parameter
        [["a"], [[0, [], [-2]]]],
        [["a"], [[0, []]]],
        [["a"], 7],
        [[]],
        None,
        "ab",
    ],
)
def test_what_is_no_graph_is_refused(written: Any) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        from_list(written, ["p", "q"])


def test_a_layer_tree_keeps_its_graph() -> None:
    case = named("Residual")
    network = nn.Sequential(case.build(), nn.ReLU())
    graph = trace_gradients(network, case.input_shape)
    assert graph is not None
    tree = replace(layer_tree(network, case.input_shape, "x", ("0.head",)), gradients=merge(graph))
    assert from_json(to_json(tree)) == tree
    assert tree.gradients is not None and tree.gradients.reached(["0.block.0.bias"])[0] == "0.block.0"
