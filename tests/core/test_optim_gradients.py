"""What backward computes, seen from the autograd graph: which weights and layers it reaches at which step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import torch
from optim_cases import assert_same_weights, batches, norm_net, small_net, split_by_layer, train
from torch import nn

from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def count_arrivals(model: nn.Module) -> tuple[Counter[str], list[torch.autograd.graph.Node]]:
    """Count how often a gradient arrives at each weight, at the graph node where it would be stored.

    The nodes are returned because they live only as long as somebody holds them; call it while all gradients are on.
    """
    arrivals: Counter[str] = Counter()
    nodes = []
    for name, weight in model.named_parameters():
        node = weight.view_as(weight).grad_fn.next_functions[0][0]
        node.register_prehook(lambda _, name=name: arrivals.update([name]))
        nodes.append(node)
    return arrivals, nodes


def count_visits(model: nn.Sequential) -> Counter[str]:
    """Count how often backward passes through each layer, by a hook on the graph node of its output."""
    visits: Counter[str] = Counter()

    def watch(name: str, output: torch.Tensor) -> None:
        if output.grad_fn is not None:
            output.grad_fn.register_prehook(lambda _: visits.update([name]))

    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: watch(name, output))
    return visits


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("steps", [1, 20, 21])
@pytest.mark.parametrize("drift", [True, False])
def test_a_full_backward_happens_exactly_once_per_cycle(k: int, steps: int, drift: bool) -> None:
    model = small_net()
    arrivals, _nodes = count_arrivals(model)
    groups = split_by_layer(model, [1, k]) if k > 1 else [{"params": list(model.parameters())}]
    train(model, MultirateSGD(groups, lr=0.1, momentum=0.9, drift=drift), batches(steps))
    cycles = -(-steps // k)
    assert arrivals == {
        "0.weight": cycles,
        "0.bias": cycles,
        "2.weight": cycles,
        "2.bias": cycles,
        "4.weight": steps,
        "4.bias": steps,
    }


def test_backward_on_a_fast_step_does_not_visit_early_layers() -> None:
    model = small_net()
    visits = count_visits(model)
    optimizer = MultirateSGD(split_by_layer(model, [1, 4]), lr=0.1, momentum=0.9)
    visited = []
    for batch in batches(9):
        visits.clear()
        train(model, optimizer, [batch])
        visited.append(set(visits))
    everything, head = {"0", "1", "2", "3", "4"}, {"4"}
    assert visited == [everything, head, head, head, everything, head, head, head, everything]


def test_an_early_fast_layer_keeps_backward_on_the_whole_path_but_not_on_slow_weights() -> None:
    model = small_net()
    arrivals, _nodes = count_arrivals(model)
    visits = count_visits(model)
    fast, slow = list(model[0].parameters()), [*model[2].parameters(), *model[4].parameters()]
    groups = [{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": 5}]
    train(model, MultirateSGD(groups, lr=0.1), batches(10))
    assert set(visits.values()) == {10}
    assert arrivals["0.weight"] == 10
    assert arrivals["2.weight"] == arrivals["4.weight"] == 2


def test_three_groups_reach_as_deep_as_the_deepest_due_one() -> None:
    model = small_net()
    arrivals, _nodes = count_arrivals(model)
    train(model, MultirateSGD(split_by_layer(model, [1, 2, 6]), lr=0.1), batches(12))
    assert (arrivals["4.weight"], arrivals["2.weight"], arrivals["0.weight"]) == (12, 6, 2)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("clear", ["optimizer", "model", "neither"])
def test_a_resting_parameter_has_no_grad(set_to_none: bool, clear: str) -> None:
    model = norm_net()
    fast, slow = list(model[5].parameters()), [*model[0].parameters(), *model[1].parameters()]
    groups = [{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": 3}]
    optimizer = MultirateSGD(groups, lr=0.1, momentum=0.9)
    for step, (x, y) in enumerate(batches(9, (1, 8, 8))):
        if clear != "neither":
            {"optimizer": optimizer, "model": model}[clear].zero_grad(set_to_none=set_to_none)
        assert all(weight.grad is None for weight in slow)
        nn.functional.cross_entropy(model(x), y).backward()
        assert [weight.grad is not None for weight in slow] == [step % 3 == 0] * len(slow)
        assert all(weight.grad is not None for weight in fast)
        optimizer.step()
        assert all(weight.grad is None for weight in slow)


def test_gradients_accumulate_over_several_backwards_before_a_step() -> None:
    ours, theirs, data = small_net(), small_net(), batches(24)
    results = []
    for model, parts in ((ours, 1), (theirs, 2)):
        optimizer = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1, momentum=0.9)
        for first, second in zip(data[::2], data[1::2], strict=True):
            optimizer.zero_grad()
            losses = [nn.functional.cross_entropy(model(x), y) / 2 for x, y in (first, second)]
            for loss in losses if parts == 2 else [losses[0] + losses[1]]:
                loss.backward()
            optimizer.step()
        results.append(model)
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, other)


def flags(model: nn.Module) -> list[bool]:
    return [weight.requires_grad for weight in model.parameters()]


@pytest.fixture
def resting() -> Iterator[tuple[nn.Sequential, MultirateSGD, list[bool]]]:
    """A network in mid-cycle whose first bias was frozen by the user, with its optimiser and its flags."""
    model = small_net()
    model[0].bias.requires_grad_(False)
    optimizer = MultirateSGD(split_by_layer(model, [1, 3]), lr=0.1, momentum=0.9)
    train(model, optimizer, batches(2))
    yield model, optimizer, [False, False, False, False, True, True]
    assert not model[0].bias.requires_grad


Resting = tuple[nn.Sequential, MultirateSGD, Sequence[bool]]


def test_all_gradients_turns_gradients_on_and_restores_them(resting: Resting) -> None:
    model, optimizer, before = resting
    assert flags(model) == before
    with optimizer.all_gradients():
        with optimizer.all_gradients():
            assert flags(model) == [True, False, True, True, True, True]
        optimizer.zero_grad()
        model(batches(1)[0][0]).sum().backward()
        assert [weight.grad is not None for weight in model.parameters()] == [True, False, True, True, True, True]
    assert flags(model) == before
    assert all(weight.grad is None for weight in [*model[0].parameters(), *model[2].parameters()])


def test_all_gradients_restores_the_flags_after_an_exception(resting: Resting) -> None:
    model, optimizer, before = resting
    with pytest.raises(KeyError), optimizer.all_gradients():
        raise KeyError
    assert flags(model) == before


def test_looking_at_all_gradients_between_steps_changes_nothing() -> None:
    watched, plain, data = small_net(), small_net(), batches(12)
    optimizer = MultirateSGD(split_by_layer(watched, [1, 3]), lr=0.1, momentum=0.9)
    for batch in data:
        with optimizer.all_gradients():
            optimizer.zero_grad()
            nn.functional.cross_entropy(watched(batch[0]), batch[1]).backward()
        train(watched, optimizer, [batch])
    train(plain, MultirateSGD(split_by_layer(plain, [1, 3]), lr=0.1, momentum=0.9), data)
    assert_same_weights(watched, plain)


def test_steps_inside_all_gradients_move_as_the_method_says_and_leave_the_flags_right() -> None:
    inside, plain, data = small_net(), small_net(), batches(8)
    optimizer = MultirateSGD(split_by_layer(inside, [1, 3]), lr=0.1, momentum=0.9)
    with optimizer.all_gradients():
        train(inside, optimizer, data)
    train(plain, MultirateSGD(split_by_layer(plain, [1, 3]), lr=0.1, momentum=0.9), data)
    assert_same_weights(inside, plain)
    assert flags(inside) == flags(plain) == [False, False, False, False, True, True]


def test_release_hands_the_flags_back_and_the_next_step_takes_them_again(resting: Resting) -> None:
    model, optimizer, before = resting
    optimizer.release()
    assert flags(model) == [True, False, True, True, True, True]
    optimizer.zero_grad()
    assert flags(model) == before


def test_a_parameter_frozen_by_the_user_is_never_touched(resting: Resting) -> None:
    model, optimizer, _ = resting
    frozen = model[0].bias
    value, moved = frozen.detach().clone(), model[0].weight.detach().clone()
    for x, y in batches(7):
        optimizer.zero_grad()
        frozen.grad = torch.ones_like(frozen)  # left behind by someone else
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert torch.equal(frozen, value)
    assert not torch.equal(model[0].weight, moved)
    assert frozen not in optimizer.state


def test_a_forward_outside_the_loop_sees_the_flags_of_the_next_step() -> None:
    model = small_net()
    optimizer = MultirateSGD(split_by_layer(model, [1, 2]), lr=0.1)
    x = batches(1)[0][0]
    assert model[:4](x).requires_grad  # every group is due at step 0
    train(model, optimizer, batches(1))
    assert not model[:4](x).requires_grad
    train(model, optimizer, batches(1))
    assert model[:4](x).requires_grad
