"""When lean recomputes, what it holds, and that it can be taken off again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from lean_cases import CLASSES, Chain, SelfCalling, Step, WritesToInput, data, head_groups, tiny_vit
from torch import Tensor, nn

from multirate_core.lean import Lean, make_lean
from multirate_core.lean.lean import remove_lean
from multirate_core.lean.state import SMALL_BUFFER, BlockState
from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow


class Counter:
    """Counts how often the convolutions inside the blocks run."""

    def __init__(self, model: nn.Module) -> None:
        self.runs = 0
        for name, module in model.named_modules():
            if name.startswith("blocks.") and isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.runs += 1

    def take(self) -> int:
        runs, self.runs = self.runs, 0
        return runs


def chain(
    periods: tuple[int, ...] = (1, 3), block: Callable[[], nn.Module] = Step, **settings: object
) -> tuple[nn.Module, MultirateSGD, Counter, Lean]:
    """Three blocks; the head is the first group, the last block the second of three groups."""
    torch.manual_seed(0)
    model = Chain(block).train()
    weights = list(model.parameters())
    parts = [weights[-2:], weights[:-2]] if len(periods) == 2 else [weights[-2:], weights[-5:-2], weights[:-5]]
    groups = [
        {"params": part, "name": f"group {i}", "period": k}
        for i, (part, k) in enumerate(zip(parts, periods, strict=True))
    ]
    optimizer = MultirateSGD(groups, lr=0.05, momentum=0.9)
    return model, optimizer, Counter(model), make_lean(model, optimizer, ["blocks.?"], **settings)  # type: ignore[arg-type]


def runs_per_step(model: nn.Module, optimizer: MultirateSGD, counter: Counter, count: int) -> list[int]:
    runs = []
    for x, y in data((2, 8, 8), count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        runs.append(counter.take())
    return runs


def test_blocks_run_twice_on_full_steps_and_once_on_fast_steps() -> None:
    model, optimizer, counter, _ = chain()
    assert runs_per_step(model, optimizer, counter, 7) == [6, 3, 3, 6, 3, 3, 6]


def early_fast(k: int) -> tuple[nn.Module, MultirateSGD, Counter]:
    """Three slow blocks between a fast stem and a fast head: gradients pass through the blocks at every step."""
    torch.manual_seed(0)
    model = Chain(Step).train()
    fast = [*model.stem.parameters(), *model.head.parameters()]
    slow = list(model.blocks.parameters())
    groups = [{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": k}]
    optimizer = MultirateSGD(groups, lr=0.05, momentum=0.9)
    counter = Counter(model)
    make_lean(model, optimizer, ["blocks.?"])
    return model, optimizer, counter


def test_fast_steps_do_not_recompute_even_where_gradients_pass_through_slow_blocks() -> None:
    assert runs_per_step(*early_fast(3), 5) == [6, 3, 3, 6, 3]


def test_periods_that_grow_are_followed() -> None:
    model, optimizer, counter = early_fast(1)
    assert runs_per_step(model, optimizer, counter, 2) == [6, 6]
    optimizer.set_periods({"slow": 3})
    # Which parameters are slow is noted at the end of a step: the first one after the change still recomputes.
    assert runs_per_step(model, optimizer, counter, 6) == [6, 3, 6, 3, 3, 6]


def test_a_block_that_calls_itself_recomputes_each_of_its_levels_once() -> None:
    model = SelfCalling().train()
    runs: list[int] = []
    model.middle.conv.register_forward_pre_hook(lambda *_: runs.append(1))
    make_lean(model, MultirateSGD(head_groups(model), lr=0.05), ["middle"])
    model(torch.randn(2, 2, 8, 8)).sum().backward()
    assert len(runs) == 2 * 3


def test_a_step_on_which_the_middle_group_is_due_recomputes_only_what_is_saved() -> None:
    model, optimizer, counter, _ = chain((1, 2, 4))
    assert runs_per_step(model, optimizer, counter, 5) == [6, 3, 4, 3, 6]


def test_kept_blocks_are_not_recomputed() -> None:
    model, optimizer, counter, lean = chain(keep=1 / 3)
    assert (lean.blocks, lean.kept) == (("blocks.0", "blocks.1"), ("blocks.2",))
    assert runs_per_step(model, optimizer, counter, 2) == [5, 3]


def test_evaluation_runs_once_and_so_does_a_model_without_a_gradient() -> None:
    model, _, counter, _ = chain()
    with torch.no_grad():
        model.eval()(torch.randn(2, 2, 8, 8))
    assert counter.take() == 3
    assert [block.forward.writes_to_input for block in model.blocks] == [None] * 3  # they were not even asked


def test_gradients_asked_for_between_steps_are_lean_as_well() -> None:
    model, optimizer, counter, _ = chain()
    runs_per_step(model, optimizer, counter, 1)
    with optimizer.all_gradients():
        model(torch.randn(2, 2, 8, 8)).sum().backward()
        assert all(weight.grad is not None for weight in model.parameters())
    assert counter.take() == 6


def test_what_the_user_froze_below_is_not_recomputed() -> None:
    torch.manual_seed(0)
    model = Chain(Step).train()
    model.stem.requires_grad_(False)
    model.blocks[:2].requires_grad_(False)
    counter = Counter(model)
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    make_lean(model, optimizer, ["blocks.?"])
    assert runs_per_step(model, optimizer, counter, 4) == [4, 3, 3, 4]
    assert [block.forward.writes_to_input for block in model.blocks] == [None, None, False]


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[list[int]]:
    """A list that holds at the end how many bytes autograd saved beside the parameters, each storage once."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    alive: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    total: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total
    total.append(sum(tensor.untyped_storage().nbytes() for tensor in alive.values()))


def bytes_of_full_step(model: nn.Module, x: Tensor, blocks: list[str] | None = None, keep: float | None = None) -> int:
    model = copy.deepcopy(model).train()
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    if keep is not None:
        make_lean(model, optimizer, blocks, keep)
    for _ in range(2):  # the first full step holds copies of the inputs, so the second is counted
        with saved_bytes(model) as total:
            loss = model(x).square().sum()
        loss.backward()
    return total[0]


@pytest.mark.parametrize("name", ["vit", "resnet50"])
def test_full_steps_save_much_less_and_keeping_blocks_gives_it_back(name: str) -> None:
    torch.manual_seed(0)
    model = tiny_vit() if name == "vit" else torchvision.models.resnet50(num_classes=CLASSES)
    x = torch.randn(2, 3, 32, 32)
    plain = bytes_of_full_step(model, x)
    shares = [bytes_of_full_step(model, x, keep=keep) / plain for keep in (0.0, 0.4, 0.8, 1.0)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[0] < (0.7 if name == "vit" else 0.4)  # of four ViT layers the last is kept


def test_a_block_that_writes_to_its_input_holds_a_copy_and_others_do_not() -> None:
    model, optimizer, counter, _ = chain(block=WritesToInput)
    runs_per_step(model, optimizer, counter, 1)
    assert [block.forward.writes_to_input for block in model.blocks] == [True, True, True]
    model, optimizer, counter, _ = chain()
    runs_per_step(model, optimizer, counter, 1)
    assert [block.forward.writes_to_input for block in model.blocks] == [False, False, False]


def test_of_large_buffers_only_those_that_changed_are_held_as_copies() -> None:
    class Tables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, size in (("mask", SMALL_BUFFER + 1), ("moving", SMALL_BUFFER + 2), ("small", SMALL_BUFFER)):
                self.register_buffer(name, torch.zeros(size))

    block = Tables()
    state = BlockState(block)
    block.moving += 1
    state.forget_unchanged()
    with state:
        assert (block.moving[0], block.mask[0]) == (0, 0)
        mask = block.mask
        block.moving += 5
        block.small += 5
    assert mask is block.mask
    assert sorted(copied.numel() for copied in state._copies.values()) == [SMALL_BUFFER, SMALL_BUFFER + 2]
    assert (block.moving[0], block.small[0], block.moving._version) == (1, 0, 1)


def test_the_wrapping_comes_off_again_at_the_end_of_a_with() -> None:
    torch.manual_seed(0)
    model = Chain(Step).train()
    counter = Counter(model)
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    with make_lean(model, optimizer) as lean:
        assert lean.blocks == ("blocks.0", "blocks.1")
        assert runs_per_step(model, optimizer, counter, 1) == [5]
    lean.remove()
    assert not any("forward" in module.__dict__ for module in model.modules())
    optimizer.release()
    model(torch.randn(2, 2, 8, 8)).sum().backward()
    assert counter.take() == 3


def test_a_model_made_lean_again_has_the_new_settings_and_an_old_handle_does_not_undo_them() -> None:
    model, optimizer, counter, old = chain()
    make_lean(model, optimizer, ["blocks.1"])
    old.remove()
    assert runs_per_step(model, optimizer, counter, 2) == [4, 3]
    remove_lean(model)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_forward_that_another_library_put_there_is_called_and_put_back() -> None:
    torch.manual_seed(0)
    model = Chain(Step).train()
    calls = []
    inner = model.blocks[0].forward

    def theirs(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return inner(x)

    model.blocks[0].forward = theirs
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    lean = make_lean(model, optimizer)
    model(torch.randn(2, 2, 8, 8)).sum().backward()
    assert len(calls) == 2
    lean.remove()
    assert model.blocks[0].forward is theirs
