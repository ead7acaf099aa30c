"""Models of every make in an ordinary loop: shared, unused, recomputed or parametrised layers train as they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from loop_cases import ADAMW, NESTEROV, SGD, Rule, Twin, flags, loss_of, values
from optim_cases import Batch, TiedNet, assert_same_weights, batches, norm_net, small_net
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.slow

TOKENS = 11
# A bias before a norm has no gradient but rounding, which AdamW would blow up to full size without this epsilon.
SOFT_ADAMW = replace(ADAMW, options={**ADAMW.options, "eps": 1e-3})
both_rules = pytest.mark.parametrize("rule", [pytest.param(SGD, id="sgd"), pytest.param(SOFT_ADAMW, id="adamw")])


class Recurrent(nn.Module):
    """An embedding, an LSTM and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.embed(x))[0][:, -1])


class Attending(nn.Module):
    """An embedding, a transformer layer with its fast path in evaluation, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.embed(x))
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Recomputed(nn.Module):
    """A slow part whose activations are computed again in backward, and a head."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x.requires_grad_() if self.reentrant else x
            return self.head(checkpoint(self.body, x, use_reentrant=self.reentrant))
        return self.head(self.body(x))


@dataclass(frozen=True)
class Case:
    """A network, which of its parameters are fast (by the start of their names), and what it takes."""

    make: Callable[[], nn.Module]
    fast: tuple[str, ...]
    shape: tuple[int, ...] = (6,)
    tokens: bool = False

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make().double()

    def data(self, count: int) -> list[Batch]:
        data = batches(count, self.shape, torch.float64)
        return [((x.abs() * 4).long() % TOKENS, y) for x, y in data] if self.tokens else data

    def groups(self, model: nn.Module) -> list[dict[str, object]]:
        named = list(model.named_parameters())
        fast = [weight for name, weight in named if name.startswith(self.fast)]
        slow = [weight for name, weight in named if not name.startswith(self.fast)]
        return [{"params": fast, "name": "fast", "period": 1}, {"params": slow, "name": "slow", "period": 3}]


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))


def weight_normed() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(6, 8)), nn.Tanh(), spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 3))


def channels_last() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    ).to(memory_format=torch.channels_last)


CASES = {
    "tied": Case(TiedNet, ("head",)),
    "tied, the shared weight fast": Case(TiedNet, ("first.weight",)),
    "batch norm": Case(norm_net, ("5.",), (1, 8, 8)),
    "batch norm alone fast": Case(norm_net, ("1.",), (1, 8, 8)),
    "dropout": Case(with_dropout, ("3.",)),
    "lstm": Case(Recurrent, ("head",), (7,), tokens=True),
    "lstm, embedding fast": Case(Recurrent, ("embed",), (7,), tokens=True),
    "attention": Case(Attending, ("head",), (7,), tokens=True),
    "attention, norms fast": Case(Attending, ("layer.norm",), (7,), tokens=True),
    "parametrised": Case(weight_normed, ("3.",)),
    "parametrised, magnitudes fast": Case(weight_normed, ("0.parametrizations.weight.original0",)),
    "channels last": Case(channels_last, ("5.",), (3, 8, 8)),
    "checkpoint": Case(lambda: Recomputed(reentrant=False), ("head",)),
    "checkpoint, early part fast": Case(lambda: Recomputed(reentrant=False), ("body.0",)),
    "checkpoint, reentrant": Case(lambda: Recomputed(reentrant=True), ("head",)),
    "checkpoint, reentrant, early part fast": Case(lambda: Recomputed(reentrant=True), ("body.0",)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def train_side_by_side(rule: Rule, case: Case, steps: int) -> tuple[nn.Module, nn.Module]:
    """Train the network and its twin on the same batches with the same random numbers, evaluating in between."""
    ours, twin_net = case.model(), case.model()
    optimizer = rule.ours(case.groups(ours), lr=0.05, **rule.options)
    twin = Twin(rule, case.groups(twin_net))
    for step, (x, y) in enumerate(case.data(steps)):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss_of(ours, (x.clone(), y)).backward()
        optimizer.step()
        torch.manual_seed(step)
        twin.step(loss_of(twin_net, (x.clone(), y)))
        ours.eval()
        with torch.inference_mode():
            assert torch.isfinite(ours(x)).all()
        ours.train()
    return ours, twin_net


@both_rules
@each_case
def test_a_model_of_this_make_equals_the_twin(rule: Rule, case: Case) -> None:
    start = case.model()
    ours, twin = train_side_by_side(rule, case, 11)
    for (name, weight), expected in zip(ours.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: name + text)
    for (name, buffer), expected in zip(ours.named_buffers(), twin.buffers(), strict=True):
        if "spectral" not in name:
            torch.testing.assert_close(buffer, expected, msg=lambda text, name=name: name + text)
    moved = [not torch.equal(a, b) for a, b in zip(ours.parameters(), start.parameters(), strict=True)]
    assert sum(moved) == len(moved)


@both_rules
def test_channels_last_stays_channels_last_also_in_the_states(rule: Rule) -> None:
    case = CASES["channels last"]
    model = case.model()
    optimizer = rule.ours(case.groups(model), lr=0.05, **rule.options)
    for x, y in case.data(5):
        optimizer.zero_grad()
        loss_of(model, (x.to(memory_format=torch.channels_last), y)).backward()
        optimizer.step()
    kernel = model[3].weight
    states = [value for value in optimizer.state[kernel].values() if torch.is_tensor(value)]
    assert states
    for tensor in (kernel, *states):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


class Branching(nn.Module):
    """A layer that is never used and one that is used on some batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.never, self.sometimes, self.head = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor, extra: bool) -> Tensor:
        x = self.used(x)
        return self.head(self.sometimes(x) if extra else x)


@pytest.mark.parametrize("rule", [SGD, NESTEROV, ADAMW], ids=["sgd", "nesterov", "adamw"])
def test_parameters_that_the_loss_never_uses_rest_and_the_others_keep_their_rhythm(rule: Rule) -> None:
    torch.manual_seed(0)
    model = Branching()
    fast = [weight for name, weight in model.named_parameters() if name.startswith("head")]
    slow = [weight for name, weight in model.named_parameters() if not name.startswith("head")]
    optimizer = rule.ours(
        [{"params": fast, "name": "fast"}, {"params": slow, "name": "slow", "period": 2}], lr=0.05, **rule.options
    )
    never = [weight.detach().clone() for weight in model.never.parameters()]
    moves = []
    for step, (x, _) in enumerate(batches(8)):
        before = model.sometimes.weight.detach().clone()
        optimizer.zero_grad()
        model(x, extra=step % 4 == 0).square().mean().backward()
        optimizer.step()
        assert optimizer.last_refreshed == (("fast", "slow") if step % 2 == 0 else ("fast",))
        moves.append(not torch.equal(model.sometimes.weight, before))
    # Due at 0, 2, 4, 6 and used at 0 and 4: it moves and drifts after those, and rests for a cycle after the others.
    assert moves == [True, True, False, False, True, True, False, False]
    for weight, value in zip(model.never.parameters(), never, strict=True):
        assert torch.equal(weight, value)
        assert weight not in optimizer.state


def test_reentrant_checkpointing_loses_gradients_when_no_input_needs_one_and_torch_says_so() -> None:
    # torch's own trap, with any optimiser: the plain twin of "checkpoint, reentrant", whose input does need a gradient.
    model = Recomputed(reentrant=True)
    optimizer = SGD.optimizer(model, (1, 3))
    x, y = batches(1)[0]
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        hidden = checkpoint(model.body, x, use_reentrant=True)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model.head(hidden), y).backward()
    assert all(weight.grad is None for weight in model.body.parameters())
    before = values(model)
    optimizer.step()
    assert optimizer.last_refreshed == ("k=1",)
    assert optimizer.due_groups == ("k=1", "k=3")  # what was due stays due: nothing is skipped unnoticed
    assert torch.equal(model.body[0].weight, before[0])


@both_rules
def test_checkpointing_does_not_recompute_on_fast_steps(rule: Rule) -> None:
    calls = []
    model = Recomputed(reentrant=False)
    model.body[0].register_forward_hook(lambda *_: calls.append(1))
    groups = Case(lambda: model, ("head",)).groups(model)
    optimizer = rule.ours(groups, lr=0.05, **rule.options)
    counts = []
    for x, y in batches(7):
        calls.clear()
        optimizer.zero_grad()
        loss_of(model, (x, y)).backward()
        optimizer.step()
        counts.append(len(calls))
    assert counts == [2, 1, 1, 2, 1, 1, 2]


@both_rules
def test_the_fast_path_of_a_transformer_layer_in_evaluation_sees_the_drifted_weights(rule: Rule) -> None:
    case = CASES["attention"]
    model = case.model().float()
    optimizer = rule.ours(case.groups(model), lr=0.05, **rule.options)
    seen = []
    for batch in case.data(5):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            fast_path = model.layer(model.embed(batch[0]))
        with optimizer.all_gradients():
            ordinary = model.layer(model.embed(batch[0]))  # gradients wanted: no fast path
        model.train()
        torch.testing.assert_close(fast_path, ordinary.detach())
        seen.append(fast_path.norm())
    assert len(set(seen)) == len(seen)


def test_a_model_that_is_evaluated_and_predicted_with_between_steps_trains_the_same() -> None:
    used, plain = small_net(), small_net()
    first, second = ADAMW.optimizer(used, (1, 3)), ADAMW.optimizer(plain, (1, 3))
    for batch in batches(8):
        for model, optimizer in ((used, first), (plain, second)):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            if model is used:
                with torch.inference_mode():
                    model.eval()(batch[0])
                model.train()
            optimizer.step()
        assert flags(used) == flags(plain)
    assert_same_weights(used, plain)
