"""Moving parameters along a direction: the last line of every step, and all that a drifting group costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def move(theta: list[Tensor], u: list[Tensor], step_size: float, foreach: bool | None) -> None:
    """Move θ := θ − step_size·u in place: one pass over the memory of both lists.

    Args:
        theta: parameters, any shapes.
        u: one direction per parameter.
        step_size: h/k for one step, h for a whole cycle.
        foreach: one call for all tensors; None decides by their types, False calls once per tensor.
    """
    if in_one_call(theta, foreach):
        torch._foreach_add_(theta, u, alpha=-step_size)
    else:
        for theta_i, u_i in zip(theta, u, strict=True):
            theta_i.add_(u_i, alpha=-step_size)


def in_one_call(theta: list[Tensor], foreach: bool | None) -> bool:
    """Return whether torch's multi-tensor calls are used; tensor subclasses may not know them."""
    return all(type(weight) in (Tensor, nn.Parameter) for weight in theta) if foreach is None else foreach
