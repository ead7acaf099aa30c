"""How far back gradients travel, and which early fast layer is worth moving: small networks, known costs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from cost_cases import PASS_S, WEIGHT_S, made_up
from gradient_cases import ODD_WAYS
from tiny_models import Attention, Failing, RootOwned
from torch import nn

from multirate_core.cost.calibration import Calibration
from multirate_core.cost.predict import Partitioned, predict
from multirate_core.cost.reach import PullBack, Reach, pull_back, reach_of
from multirate_core.layers.build import layer_tree
from multirate_core.layers.gradient_graph import merge
from multirate_core.layers.trace_gradients import trace_gradients
from multirate_core.layers.tree import LayerTree


class Chain(nn.Sequential):
    """Ten layers in a row: a stem, a stage of three, five more and the head; all but the stage lie side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 2, 1)
        self.stage = nn.Sequential(*(nn.Conv1d(2, 2, 1) for _ in range(3)))
        for number in range(2, 7):
            self.add_module(f"conv{number}", nn.Conv1d(2, 2, 1))
        self.head = nn.Conv1d(2, 3, 1)


def tree_of(network: nn.Module, shape: tuple[int, ...]) -> LayerTree:
    graph = trace_gradients(network, shape)
    return replace(layer_tree(network, shape, "x"), gradients=None if graph is None else merge(graph))


@pytest.fixture(scope="module")
def chain() -> LayerTree:
    return tree_of(Chain(), (1, 4))


def fast(tree: LayerTree, *modules: str, **periods: int) -> Partitioned:
    """These modules in the group "fast", everything else in the first slow group."""
    periods = {"fast": 1, **(periods or {"slow": 5})}
    slow = next((name for name, period in periods.items() if period > 1), "fast")
    names = [each.name for each in tree.trainable()]
    return Partitioned(
        periods, {name: "fast" if any(name.startswith(f"{each}.") for each in modules) else slow for name in names}
    )


def dear(calibration: Calibration, modules: Collection[str], factor: float) -> Calibration:
    """The same costs, but what these modules pass on takes so many times as long."""
    operations = tuple(
        replace(each, through_s=each.through_s * factor) if each.module in modules else each
        for each in calibration.operations
    )
    return replace(calibration, operations=operations)


# Reach


def test_layers_between_the_earliest_due_one_and_the_loss_are_crossed(chain: LayerTree) -> None:
    assert reach_of(chain, ["head.bias"]) == Reach("head", 1, 10)
    assert reach_of(chain, ["conv4.weight", "head.weight"]) == Reach("conv4", 4, 10)
    assert reach_of(chain, ["stage.1.bias"]) == Reach("stage.1", 8, 10)
    assert reach_of(chain, [each.name for each in chain.trainable()]) == Reach("conv1", 10, 10)
    assert reach_of(chain, []) == Reach(None, 0, 10)


def test_what_a_module_with_layers_owns_itself_is_no_layer() -> None:
    tree = tree_of(RootOwned(), (5, 4))
    assert reach_of(tree, ["token"]) == Reach("", 2, 2)  # body and head; `unused` is never called
    assert reach_of(tree, ["unused.weight"]) == Reach(None, 0, 2)
    attention = tree_of(Attention(), (5, 8))
    assert reach_of(attention, ["attention.in_proj_bias"]) == Reach("attention", 1, 1)


def test_a_skip_is_crossed_only_where_a_due_parameter_lies_before_it() -> None:
    tree = tree_of(next(case for case in ODD_WAYS if case.name == "Residual").build(), (4,))
    assert reach_of(tree, ["block.2.weight"]) == Reach("block.2", 2, 5)
    assert reach_of(tree, ["stem.weight"]) == Reach("stem", 5, 5)


def test_of_a_network_that_cannot_be_traced_nothing_is_told() -> None:
    tree = tree_of(Failing(), (4,))
    partition = fast(tree, "fc")
    assert reach_of(tree, ["fc.bias"]) is None
    assert pull_back(tree, partition, None) is None


# What pulls them back


def test_one_early_fast_layer_is_named_with_what_moving_it_saves(chain: LayerTree) -> None:
    partition = fast(chain, "conv1", "head")
    found = pull_back(chain, partition, None)
    names = ("conv1.weight", "conv1.bias")
    assert found == PullBack("conv1", names, "slow", Reach("conv1", 10, 10), Reach("head", 1, 10), None)
    calibration = made_up(chain)
    measured = pull_back(chain, partition, calibration)
    assert measured is not None and replace(measured, saving=None) == found
    before, after = (predict(calibration, each).mean_step_s for each in (partition, fast(chain, "head")))
    assert measured.saving == pytest.approx(1 - after / before)
    assert before - after == pytest.approx(4 / 5 * (9 * PASS_S + 2 * WEIGHT_S))  # of 5 steps 4 are fast


def test_where_several_early_layers_are_fast_the_module_around_them_is_named(chain: LayerTree) -> None:
    partition = fast(chain, "stage", "head")
    for calibration in (None, made_up(chain)):
        found = pull_back(chain, partition, calibration)
        assert found is not None and found.module == "stage"
        assert found.parameters == tuple(f"stage.{n}.{kind}" for n in range(3) for kind in ("weight", "bias"))
        assert (found.reach.module, found.reach_without) == ("stage.0", Reach("head", 1, 10))


def test_two_early_layers_without_a_module_around_them_are_nobodys_fault(chain: LayerTree) -> None:
    partition = fast(chain, "conv2", "conv3", "head")
    assert pull_back(chain, partition, None) is None
    assert pull_back(chain, partition, made_up(chain)) is None


def test_a_fast_layer_close_to_the_loss_is_not_worth_a_word(chain: LayerTree) -> None:
    partition = fast(chain, "conv6", "head")
    assert pull_back(chain, partition, None) is None
    assert pull_back(chain, partition, made_up(chain)) is None


def test_measured_costs_decide_and_not_the_number_of_layers(chain: LayerTree) -> None:
    near, far = fast(chain, "conv5", "head"), fast(chain, "conv1", "head")
    costly = pull_back(chain, near, dear(made_up(chain), ["head"], 100))
    assert costly is not None and costly.module == "conv5" and costly.saving is not None and costly.saving > 0.5
    through = {each.path for each in chain.nodes()}
    assert pull_back(chain, far, dear(made_up(chain), through, 0.001)) is None


def test_where_nothing_slow_is_crossed_nobody_pulls_gradients_back(chain: LayerTree) -> None:
    partition = fast(chain, "conv4", "conv5", "conv6", "head")
    assert pull_back(chain, partition, dear(made_up(chain), ["head"], 100)) is None


def test_the_slowest_group_takes_it(chain: LayerTree) -> None:
    found = pull_back(chain, fast(chain, "conv1", "head", slow=5, late=20), None)
    assert found is not None and found.group == "late"


@pytest.mark.parametrize("known", [False, True])
def test_without_a_slow_group_or_without_anything_else_that_is_fast_nothing_is_named(
    chain: LayerTree, known: bool
) -> None:
    calibration = made_up(chain) if known else None
    everything = fast(chain, "conv1", fast=1, second=1)
    assert pull_back(chain, everything, calibration) is None  # no slow group
    assert pull_back(chain, fast(chain, "conv1"), calibration) is None  # nothing would be fast without it
    assert pull_back(chain, fast(chain, "stage"), calibration) is None
    assert pull_back(chain, fast(chain), calibration) is None  # nothing is fast


def test_a_parameter_of_the_network_itself_is_moved_by_its_own_name() -> None:
    tree = tree_of(RootOwned(), (5, 4))
    names = [each.name for each in tree.trainable()]
    partition = Partitioned({"fast": 1, "slow": 5}, dict.fromkeys(names, "slow") | {"token": "fast"})
    found = pull_back(tree, replace(partition, assignment={**partition.assignment, "head.bias": "fast"}), None)
    assert found is not None and (found.module, found.parameters) == ("token", ("token",))
