"""The obvious twins of `MultirateSGD` and `MultirateAdamW`: each method in plain loops, slow and easy to check.

They compute the full gradient at every step and throw away what the method would not have computed, so they show what
the method does and not what it saves. The tests hold twins and optimisers together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[], Tensor]


@dataclass(frozen=True)
class ReferenceGroup:
    """Parameters that share a period, for SGD.

    Args:
        params: leaf tensors, changed in place.
        period: steps from one gradient to the next, >= 1; 1 = fast.
        lr: per-step size, the paper's h/k, > 0.
        momentum: 0 <= momentum < 1.
        weight_decay: >= 0, added to the gradient (L2).
        drift: move a k-th of the way at every step; otherwise all the way at once.
        nesterov: look ahead along the momentum.
    """

    params: Sequence[Tensor]
    period: int
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    drift: bool = True
    nesterov: bool = False


def train_multirate(groups: Sequence[ReferenceGroup], losses: Iterable[Loss]) -> None:
    """Take one step per loss by multirate SGD and change the groups' parameters in place.

    Args:
        groups: every trainable parameter in exactly one group; at least one of period 1.
        losses: one function per step that returns the scalar loss of that step's minibatch at the current parameters.

    Source: Vlaar & Leimkuhler, ICML 2022 (arXiv 2106.10771), Algorithm 1; several groups: the authors' poster.
    """
    theta = [(group, weight) for group in groups for weight in group.params]
    p = [torch.zeros_like(weight) for _, weight in theta]
    u = [torch.zeros_like(weight) for _, weight in theta]
    for step, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss(), [weight for _, weight in theta])
        with torch.no_grad():
            for i, (group, weight) in enumerate(theta):
                if step % group.period == 0:
                    g = gradients[i] + group.weight_decay * weight
                    p[i] = group.momentum * p[i] + g
                    u[i] = g + group.momentum * p[i] if group.nesterov else p[i]
                    if not group.drift:
                        weight -= group.period * group.lr * u[i]
                if group.drift:
                    weight -= group.lr * u[i]


@dataclass(frozen=True)
class ReferenceAdamWGroup:
    """Parameters that share a period, for AdamW.

    Args:
        params: leaf tensors, changed in place.
        period: steps from one gradient to the next, >= 1; 1 = fast.
        lr: per-step size, > 0.
        beta1: 0 <= beta1 < 1.
        beta2: 0 <= beta2 < 1.
        eps: > 0.
        weight_decay: >= 0, decoupled.
        drift: move a k-th of the way at every step; otherwise all the way at once.
    """

    params: Sequence[Tensor]
    period: int
    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2
    drift: bool = True


def train_multirate_adamw(groups: Sequence[ReferenceAdamWGroup], losses: Iterable[Loss]) -> None:
    """Take one step per loss by multirate AdamW and change the groups' parameters in place.

    Args:
        groups: every trainable parameter in exactly one group; at least one of period 1.
        losses: one function per step that returns the scalar loss of that step's minibatch at the current parameters.

    Source: Loshchilov & Hutter, ICLR 2019 (arXiv 1711.05101), Algorithm 2; the held direction is derived here.
    """
    theta = [(group, weight) for group in groups for weight in group.params]
    m = [torch.zeros_like(weight) for _, weight in theta]
    v = [torch.zeros_like(weight) for _, weight in theta]
    u = [torch.zeros_like(weight) for _, weight in theta]
    for step, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss(), [weight for _, weight in theta])
        with torch.no_grad():
            for i, (group, weight) in enumerate(theta):
                if step % group.period == 0:
                    n = step // group.period + 1
                    m[i] = group.beta1 * m[i] + (1 - group.beta1) * gradients[i]
                    v[i] = group.beta2 * v[i] + (1 - group.beta2) * gradients[i] ** 2
                    m_hat, v_hat = m[i] / (1 - group.beta1**n), v[i] / (1 - group.beta2**n)
                    u[i] = m_hat / (v_hat.sqrt() + group.eps) + group.weight_decay * weight
                    if not group.drift:
                        weight -= group.period * group.lr * u[i]
                if group.drift:
                    weight -= group.lr * u[i]
