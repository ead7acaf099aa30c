"""`torch.compile` of the model: right gradients on every kind of step, and as many graphs as there are kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import pytest
import torch
from loop_cases import ADAMW, SGD, Rule, flags, loss_of
from optim_cases import Batch, batches, norm_net, small_net
from torch import Tensor, nn
from torch._dynamo import config
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from multirate_core.optim import compiling

pytestmark = pytest.mark.slow

Make = Callable[[], nn.Module]
Backend = str | CompileCounterWithBackend


@pytest.fixture(autouse=True)
def own_graphs() -> Iterator[None]:
    """Every test starts without graphs, and one graph too many is an error instead of a silent eager call."""
    torch._dynamo.reset()
    counters.clear()
    with config.patch(fail_on_recompile_limit_hit=True, error_on_recompile=False):
        yield
    torch._dynamo.reset()


class Blocks(nn.Module):
    """Layers in a list, a parameter of its own and a break in the graph: what a traced frame can be made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.linspace(-1, 1, 36).reshape(6, 6))
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(x @ self.first)
        torch._dynamo.graph_break()
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(x)


def blocks() -> Blocks:
    torch.manual_seed(0)
    return Blocks()


def step_beside_eager(
    rule: Rule, make: Make, periods: Sequence[int], data: Sequence[Batch], backend: Backend
) -> Iterator[nn.Module]:
    """Train a compiled and an eager network in turn, compare gradients, yield the former's module."""
    eager, model = make(), make()
    networks = (eager, torch.compile(model, backend=backend))
    pairs = [(network, rule.optimizer(inner, periods)) for network, inner in zip(networks, (eager, model), strict=True)]
    for batch in data:
        for network, optimizer in pairs:
            optimizer.zero_grad()
            loss_of(network, batch).backward()
        for (name, expected), weight in zip(eager.named_parameters(), model.parameters(), strict=True):
            assert (weight.grad is None) == (expected.grad is None) == (not expected.requires_grad), name
            if expected.grad is not None:
                torch.testing.assert_close(weight.grad, expected.grad, msg=lambda text, name=name: name + text)
        for _, optimizer in pairs:
            optimizer.step()
        assert flags(model) == flags(eager)
        yield model


def kinds_of_steps(periods: Sequence[int], steps: int) -> list[int]:
    """How many different sets of due groups there were after each step."""
    seen: set[tuple[bool, ...]] = set()
    counts = []
    for step in range(steps):
        seen.add(tuple(step % k == 0 for k in periods))
        counts.append(len(seen))
    return counts


@pytest.mark.parametrize(
    ("rule", "periods"),
    [
        pytest.param(SGD, (1, 2, 6), id="sgd-1-2-6"),
        pytest.param(SGD, (1, 3), id="sgd-1-3"),
        pytest.param(SGD, (1, 2, 3), id="sgd-1-2-3"),
        pytest.param(ADAMW, (1, 3), id="adamw-1-3"),
        pytest.param(ADAMW, (1, 2, 6), id="adamw-1-2-6"),
    ],
)
def test_one_graph_for_each_kind_of_step_and_gradients_equal_to_eager(rule: Rule, periods: Sequence[int]) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    data = batches(14)
    graphs = [counter.frame_count for _ in step_beside_eager(rule, small_net, periods, data, counter)]
    assert graphs == kinds_of_steps(periods, 14)
    assert graphs[-1] == {(1, 3): 2, (1, 2, 6): 3, (1, 2, 3): 4}[tuple(periods)]
    assert counters["frames"]["ok"] == counters["frames"]["total"] == graphs[-1]


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_model_compiled_in_mid_cycle_still_gets_its_slow_gradients(start: int) -> None:
    # Here the first graph is that of a fast step: reused for a full one, it would drop the slow part's gradients.
    counter = CompileCounterWithBackend("aot_eager")
    model = small_net()
    compiled = torch.compile(model, backend=counter)
    optimizer = SGD.optimizer(model, (1, 3))
    for step, batch in enumerate(batches(9)):
        optimizer.zero_grad()
        loss_of(compiled if step >= start else model, batch).backward()
        assert [weight.grad is not None for weight in model.parameters()] == [step % 3 == 0] * 4 + [True] * 2
        optimizer.step()
    assert counter.frame_count == 2


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # Dynamo's own, at a graph break
@pytest.mark.parametrize("make", [norm_net, blocks])
def test_batch_norm_and_a_broken_graph_are_right_too(make: Make) -> None:
    shape = (1, 8, 8) if make is norm_net else (6,)
    counter = CompileCounterWithBackend("aot_eager")
    *_, model = step_beside_eager(SGD, make, (1, 2, 6), batches(14, shape), counter)
    # Blocks is cut in two: its part before the cut has a parameter of one group only, so two kinds instead of three.
    assert counter.frame_count == (3 if make is norm_net else 5)
    if make is norm_net:
        assert model[1].num_batches_tracked == 14


def graphs_after_each_epoch(periods: Sequence[int], epochs: int, fixed_flags: bool) -> list[int]:
    """Train with a short last batch and evaluate with another one after each epoch; count the graphs so far."""
    counter = CompileCounterWithBackend("aot_eager")
    short = (torch.randn(3, 6), torch.zeros(3, dtype=torch.long))
    data = [*batches(6), short]
    model = small_net()
    compiled = torch.compile(model, backend=counter)
    optimizer = SGD.optimizer(model, periods)
    counts = []
    for _ in range(epochs):
        for batch in data:
            optimizer.zero_grad()
            loss_of(compiled, batch).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad(), optimizer.all_gradients() if fixed_flags else nullcontext():
            for x, _y in (data[0], short):
                compiled(x)
        model.train()
        counts.append(counter.frame_count)
    return counts


def test_evaluation_and_a_short_last_batch_add_a_graph_for_each_kind_of_step_they_meet() -> None:
    # An epoch has 7 steps and k = 2: the short batch and the evaluation meet one kind in the first epoch and the other
    # in the second. After the short batch Dynamo compiles for any batch size: 2 kinds x (full, any, evaluation of any).
    assert graphs_after_each_epoch((1, 2), 4, fixed_flags=False) == [4, 6, 6, 6]


def test_three_groups_stay_within_the_limit_when_evaluation_has_flags_of_its_own() -> None:
    assert graphs_after_each_epoch((1, 2, 6), 7, fixed_flags=True)[-2:] == [7, 7]
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        graphs_after_each_epoch((1, 2, 6), 7, fixed_flags=False)  # 3 kinds x 3 = 9


def test_networks_of_one_class_share_their_graphs() -> None:
    keep = []
    for _ in range(5):
        model = small_net()
        compiled = torch.compile(model, backend="aot_eager")
        keep.append(compiled)
        optimizer = SGD.optimizer(model, (1, 3))
        for batch in batches(4):
            optimizer.zero_grad()
            loss_of(compiled, batch).backward()
            optimizer.step()
    assert counters["stats"]["unique_graphs"] == 2


def test_more_kinds_of_steps_than_dynamo_keeps_raise_instead_of_running_eagerly() -> None:
    with (
        config.patch(recompile_limit=2),
        pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit),
    ):
        list(step_beside_eager(SGD, small_net, (1, 2, 6), batches(8), "aot_eager"))


@pytest.mark.parametrize(("version", "kept"), [("2.12", True), ("99.0", False)])
def test_before_torch_2_12_the_optimiser_turns_off_the_shortcut_that_hides_a_flip(
    version: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with config.patch({compiling.SHORTCUT: True}):
        monkeypatch.setattr(compiling, "FIRST_SOUND_TORCH", version)
        SGD.optimizer(small_net(), (1, 3))
        assert getattr(config, compiling.SHORTCUT) == (kept and torch.__version__ >= version)


@pytest.mark.parametrize("periods", [(1, 3), (1, 2, 6)], ids=str)
def test_inductor_gives_the_gradients_of_eager_on_every_kind_of_step(periods: Sequence[int]) -> None:
    counter = CompileCounterWithBackend("inductor")
    data = batches(14, (1, 8, 8))
    graphs = [counter.frame_count for _ in step_beside_eager(SGD, norm_net, periods, data, counter)]
    assert graphs == kinds_of_steps(periods, 14)
