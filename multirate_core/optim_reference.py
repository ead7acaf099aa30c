"""The obvious twin of `MultirateSGD`: Algorithm 1 in plain loops, slow and easy to check against the paper.

It computes the full gradient at every step and throws away what the method would not have computed, so it shows what
the method does and not what it saves. The tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReferenceGroup:
    """Parameters that share a period.

    Args:
        params: leaf tensors, changed in place.
        period: steps from one gradient to the next, >= 1; 1 = fast.
        lr: per-step size, the paper's h/k, > 0.
        momentum: 0 <= momentum < 1.
        weight_decay: >= 0, added to the gradient (L2).
        drift: move a k-th of the way at every step; otherwise all the way at once.
    """

    params: Sequence[Tensor]
    period: int
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    drift: bool = True


def train_multirate(groups: Sequence[ReferenceGroup], losses: Iterable[Callable[[], Tensor]]) -> None:
    """Take one step per loss and change the groups' parameters in place.

    Args:
        groups: every trainable parameter in exactly one group; at least one of period 1.
        losses: one function per step that returns the scalar loss of that step's minibatch at the current parameters.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1; several groups: the authors' poster.
    """
    theta = [(group, weight) for group in groups for weight in group.params]
    p = [torch.zeros_like(weight) for _, weight in theta]
    for step, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss(), [weight for _, weight in theta])
        with torch.no_grad():
            for i, (group, weight) in enumerate(theta):
                if step % group.period == 0:
                    p[i] = group.momentum * p[i] + gradients[i] + group.weight_decay * weight
                    if not group.drift:
                        weight -= group.period * group.lr * p[i]
                if group.drift:
                    weight -= group.lr * p[i]
