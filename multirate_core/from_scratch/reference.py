"""The obvious twins of both from-scratch optimisers: plain loops, slow and easy to check against the source.

They hold all weights in lists of their own and write into the model only what a gradient is to be taken at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[], Tensor]


def gradients_at(weights: Sequence[Tensor], values: Sequence[Tensor], loss: Loss, weight_decay: float) -> list[Tensor]:
    """Return ∇L + λ θ of every weight, taken with the model's weights at the given values; they stay there."""
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)
    gradients = torch.autograd.grad(loss(), list(weights))
    return [g + weight_decay * value for g, value in zip(gradients, values, strict=True)]


def train_random_subgroups(
    weights: Sequence[Tensor],
    losses: Sequence[Loss],
    draw: Callable[[int], Sequence[Tensor]],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    period: int,
) -> None:
    """Take one step per loss; the weights are left whole, whatever the place in the cycle.

    Args:
        weights: leaf tensors, changed in place.
        losses: one function per step that returns the scalar loss of its minibatch at the current weights.
        draw: the number of a draw → one bool tensor per weight, True where it rests.
        lr, momentum, weight_decay, period: as in `RandomSubgroupsSGD`.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), random subgroups (poster).
    """
    theta = [weight.detach().clone() for weight in weights]
    p = [torch.zeros_like(weight) for weight in theta]
    resting = [torch.zeros_like(weight, dtype=torch.bool) for weight in theta]
    for step, loss in enumerate(losses):
        if step % period == period - 1 or step < period:  # the network is whole
            g = gradients_at(weights, theta, loss, weight_decay)
            for i in range(len(theta)):
                p[i] = momentum * p[i] + g[i]
                theta[i] = theta[i] - lr * p[i] * torch.where(resting[i], float(period), 1.0)
        else:
            thinned = [torch.where(rests, 0.0, value) for rests, value in zip(resting, theta, strict=True)]
            g = gradients_at(weights, thinned, loss, weight_decay)
            for i in range(len(theta)):
                p[i] = torch.where(resting[i], p[i], momentum * p[i] + g[i])
                theta[i] = torch.where(resting[i], theta[i], theta[i] - lr * p[i])
        if step % period == period - 1:
            resting = list(draw(step // period))
    with torch.no_grad():
        for weight, value in zip(weights, theta, strict=True):
            weight.copy_(value)


def train_two_copies(
    weights: Sequence[Tensor],
    losses: Sequence[Loss],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    period: int,
) -> None:
    """Take one step per loss with the fast copy; the weights are left at the mean of both copies.

    Args:
        weights: leaf tensors, changed in place.
        losses: one function per step that returns the scalar loss of its minibatch at the current weights.
        lr, momentum, weight_decay, period: as in `TwoCopiesSGD`.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), two copies for different features (poster).
    """
    fast = [weight.detach().clone() for weight in weights]
    p_fast = [torch.zeros_like(weight) for weight in fast]
    p_slow = [torch.zeros_like(weight) for weight in fast]
    mean = fast
    for begin in range(0, len(losses), period):
        fast, slow = list(mean), list(mean)
        g = gradients_at(weights, slow, losses[begin], weight_decay)
        for i in range(len(slow)):
            p_slow[i] = momentum * p_slow[i] + g[i]
            slow[i] = slow[i] - period * lr * p_slow[i]
        for loss in losses[begin : begin + period]:
            g = gradients_at(weights, fast, loss, weight_decay)
            for i in range(len(fast)):
                p_fast[i] = momentum * p_fast[i] + g[i]
                fast[i] = fast[i] - lr * p_fast[i]
        mean = [(a + b) / 2 for a, b in zip(fast, slow, strict=True)]
    with torch.no_grad():
        for weight, value in zip(weights, mean, strict=True):
            weight.copy_(value)
