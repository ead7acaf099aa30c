"""Networks, batches and loops for the tests of the from-scratch optimisers, on top of those of `optim_cases`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import torch
from optim_cases import Batch
from torch import Tensor, nn

from multirate_core.from_scratch import RandomSubgroupsSGD
from multirate_core.from_scratch.random_subgroups import draw_active
from multirate_core.from_scratch.reference import Loss


def losses_of(model: nn.Module, data: Sequence[Batch]) -> list[Loss]:
    def loss_of(batch: Batch) -> Loss:
        return lambda: nn.functional.cross_entropy(model(batch[0]), batch[1])

    return [loss_of(batch) for batch in data]


def drawn_for(optimizer: RandomSubgroupsSGD) -> Callable[[int], list[Tensor]]:
    """What the first group of an optimiser draws, as the twin wants it: True where a weight rests."""
    group = optimizer.param_groups[0]

    def draw(number: int) -> list[Tensor]:
        return [
            draw_active(weight, group["fraction"], (group["seed"], 0, i, number)) == 0
            if weight.dim() >= 2
            else torch.zeros_like(weight, dtype=torch.bool)
            for i, weight in enumerate(group["params"])
        ]

    return draw


def values(model: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def assert_equal(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def through_a_file(value: object) -> object:
    """Save and load as a checkpoint does, with plain data only."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
