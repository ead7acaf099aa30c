"""A twin for any loop: torch's own optimiser gives each direction; gradients can be changed before they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from optim_cases import Batch, split_by_layer
from torch import Tensor, nn

from multirate_core.optim import MultirateAdamW, MultirateOptimizer, MultirateSGD

Change = Callable[[list[Tensor]], object]


@dataclass(frozen=True)
class Rule:
    """A multirate optimiser and the optimiser of torch whose directions it should take."""

    ours: type[MultirateOptimizer]
    theirs: type[torch.optim.Optimizer]
    options: dict[str, Any]

    def optimizer(self, model: nn.Module, periods: Sequence[int], lr: float = 0.05, **more: Any) -> MultirateOptimizer:
        return self.ours(split_by_layer(model, periods), lr=lr, **{**self.options, **more})

    def twin(self, model: nn.Module, periods: Sequence[int]) -> Twin:
        return Twin(self, split_by_layer(model, periods))


class Twin:
    """The method with every gradient computed at every step, and u read off a step of torch's optimiser with lr = 1."""

    def __init__(self, rule: Rule, groups: Sequence[dict[str, Any]]) -> None:
        self.steps = 0
        self.groups = [(list(group["params"]), group["period"]) for group in groups]
        self.shadows = [[nn.Parameter(weight.detach().clone()) for weight in weights] for weights, _ in self.groups]
        self.rules = [rule.theirs(shadows, lr=1.0, **rule.options) for shadows in self.shadows]
        self.u: list[list[Tensor]] = [[] for _ in self.groups]

    def step(self, loss: Tensor, lr: float = 0.05, change: Change = len) -> None:
        """Take one step; `change` may alter in place the gradients of the groups that are due."""
        for weight in (weight for group, _ in self.groups for weight in group):
            weight.grad = None
        loss.backward()
        fresh = [[weight.grad for weight in group] for group, _ in self.groups]
        due = [g for g, (_, period) in enumerate(self.groups) if self.steps % period == 0]
        change([gradient for g in due for gradient in fresh[g]])
        with torch.no_grad():
            for g in due:
                self._refresh(g, fresh[g])
            for (group, _), directions in zip(self.groups, self.u, strict=True):
                for weight, u in zip(group, directions, strict=True):
                    weight -= lr * u
        self.steps += 1

    def _refresh(self, g: int, gradients: list[Tensor]) -> None:
        for shadow, weight, gradient in zip(self.shadows[g], self.groups[g][0], gradients, strict=True):
            shadow.copy_(weight)
            shadow.grad = gradient
        self.rules[g].step()
        self.u[g] = [weight - shadow for shadow, weight in zip(self.shadows[g], self.groups[g][0], strict=True)]


SGD = Rule(MultirateSGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 1e-2})
NESTEROV = Rule(MultirateSGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": True})
ADAMW = Rule(MultirateAdamW, torch.optim.AdamW, {"betas": (0.8, 0.95), "weight_decay": 0.1})

# The quick tests take the rules that differ most and the richer split; `make test` takes all.
each_rule = pytest.mark.parametrize(
    "rule",
    [
        pytest.param(SGD, id="sgd"),
        pytest.param(NESTEROV, id="nesterov", marks=pytest.mark.slow),
        pytest.param(ADAMW, id="adamw"),
    ],
)
each_split = pytest.mark.parametrize(
    "periods",
    [pytest.param((1, 3), id="two-groups", marks=pytest.mark.slow), pytest.param((1, 2, 6), id="three-groups")],
)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def joined(parts: Sequence[Batch]) -> Batch:
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def in_parts(data: Sequence[Batch], size: int) -> Iterator[Sequence[Batch]]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def twin_run(rule: Rule, model: nn.Module, periods: Sequence[int], data: Sequence[Batch], **options: Any) -> None:
    twin = rule.twin(model, periods)
    for batch in data:
        twin.step(loss_of(model, batch), **options)


def flags(model: nn.Module) -> list[bool]:
    return [weight.requires_grad for weight in model.parameters()]


def values(model: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]
