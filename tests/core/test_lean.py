"""Lean training is the same training: losses, gradients, weights, buffers and random states, bit for bit."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
import torchvision
from lean_cases import CASES, Case, Chain, K, Step, assert_same, data, head_groups, train
from torch import Tensor, nn

from multirate_core.lean import make_lean
from multirate_core.lean.block import LeanBlock
from multirate_core.optim import MultirateAdamW, MultirateSGD

pytestmark = pytest.mark.slow

RESIDUAL = CASES[0]
NAMED = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lean_training_is_the_same_training_bit_for_bit(case: Case) -> None:
    lean = train(case, lean=True)
    assert lean.lean is not None
    assert lean.lean.blocks
    assert_same(lean, train(case, lean=False))


@pytest.mark.parametrize("name", ["residual", "tied blocks", "arguments", "vit"])
def test_it_is_the_same_under_bf16_autocast(name: str) -> None:
    assert_same(train(NAMED[name], lean=True, bf16=True), train(NAMED[name], lean=False, bf16=True))


@pytest.mark.parametrize("name", ["residual", "writes to input"])
def test_a_second_backward_pass_through_the_same_graph_recomputes_again_and_changes_nothing(name: str) -> None:
    assert_same(train(NAMED[name], lean=True, twice=True), train(NAMED[name], lean=False, twice=True))


@pytest.mark.parametrize("keep", [0.4, 1.0])
def test_what_is_kept_changes_nothing_either(keep: float) -> None:
    lean = train(RESIDUAL, lean=True, keep=keep)
    assert_same(lean, train(RESIDUAL, lean=False))


def test_batch_statistics_advance_once_per_step() -> None:
    record = train(RESIDUAL, lean=True, steps=K + 1)
    assert [int(record.state[f"blocks.{i}.norm.num_batches_tracked"]) for i in range(3)] == [K + 1] * 3


def gradients_of(change_between: Callable[[nn.Module], None], lean: bool) -> list[Tensor]:
    """The gradients of one full step between whose forward and backward pass something is done to the model."""
    torch.manual_seed(0)
    model = Chain(Step).train()
    model.stem.requires_grad_(False)
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    if lean:
        make_lean(model, optimizer)
    ((x, y),) = data((2, 8, 8), 1)
    loss = nn.functional.cross_entropy(model(x), y)
    change_between(model)
    loss.backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def test_a_block_is_recomputed_as_it_was_when_it_ran() -> None:
    def change(model: nn.Module) -> None:
        model.eval()
        for name, weight in model.named_parameters():
            if "blocks.0" in name:
                weight.requires_grad_(False)

    found, expected = gradients_of(change, lean=True), gradients_of(change, lean=False)
    assert len(found) == len(expected) > 0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_flags_and_buffers_are_left_as_they_are_found_after_the_recomputation() -> None:
    kept = {}

    def change(model: nn.Module) -> None:
        model.eval()
        model.get_submodule("blocks.1.norm").train()
        kept["model"] = model
        kept["buffers"] = {name: (id(buffer), buffer.clone()) for name, buffer in model.named_buffers()}

    gradients_of(change, lean=True)
    model = kept["model"]
    assert [m.training for m in model.modules()].count(True) == 1
    for name, buffer in model.named_buffers():
        same_id, value = kept["buffers"][name]
        assert id(buffer) == same_id
        assert torch.equal(buffer, value)


def lean_chain() -> tuple[nn.Module, MultirateSGD]:
    torch.manual_seed(0)
    model = Chain(Step).train()
    optimizer = MultirateSGD(head_groups(model), lr=0.05, momentum=0.9)
    make_lean(model, optimizer, ["blocks.?"])
    return model, optimizer


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> dict[str, Tensor]:
    torch.manual_seed(5)
    for x, y in data((2, 8, 8), count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.state_dict()


def through_pickle(both: tuple[nn.Module, MultirateSGD]) -> tuple[nn.Module, MultirateSGD]:
    buffer = io.BytesIO()
    torch.save(both, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_copy_trains_as_the_original_does_and_does_not_touch_it(
    copied: Callable[[object], tuple[nn.Module, MultirateSGD]], before: int
) -> None:
    model, optimizer = lean_chain()
    steps(model, optimizer, before)
    twin, its_optimizer = copied((model, optimizer))
    held = {name: value.clone() for name, value in model.state_dict().items()}
    after = steps(twin, its_optimizer, K + 2)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in held.items())
    assert isinstance(twin.get_submodule("blocks.0").forward, LeanBlock)
    assert all(torch.equal(value, after[name]) for name, value in steps(model, optimizer, K + 2).items())


def test_the_state_dict_and_the_modules_keep_their_names() -> None:
    model, _ = lean_chain()
    plain = Chain(Step)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    plain.load_state_dict(model.state_dict())


def test_a_copy_of_the_model_alone_evaluates_as_for_averaging() -> None:
    model, _ = lean_chain()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    x = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(averaged.eval()(x), model.eval()(x))


def test_it_serves_the_other_optimisers_too() -> None:
    def result(lean: bool, kind: Callable[..., torch.optim.Optimizer]) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = Chain(Step).train()
        groups = head_groups(model)
        optimizer = kind(groups if kind is MultirateAdamW else model.parameters(), lr=0.01)
        if lean:
            make_lean(model, optimizer)
        return steps(model, optimizer, K + 2)

    for kind in (MultirateAdamW, torch.optim.SGD):
        expected = result(False, kind)
        assert all(torch.equal(value, expected[name]) for name, value in result(True, kind).items())


def test_a_handle_says_which_blocks_it_recomputes() -> None:
    network = torchvision.models.resnet18(num_classes=3)
    lean = make_lean(network, torch.optim.SGD(network.parameters(), lr=0.1), keep=0.5)
    assert repr(lean) == f"Lean(blocks={list(lean.blocks)}, kept={list(lean.kept)})"
    assert "layer1.0" in lean.blocks and "layer4.1" in lean.kept
