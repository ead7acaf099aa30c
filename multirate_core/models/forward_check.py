"""Whether a network that nobody here knows takes the images it is given, and answers with one score per class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from multirate_core.errors import ModelError

# What foreign forward code raises when it cannot take its input.
_UNFIT = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)


def require_scores(name: str, module: nn.Module, input_shape: tuple[int, ...], num_classes: int, advice: str) -> None:
    """Raise ModelError unless a network makes scores of `num_classes` classes from two images of zeros.

    Args:
        name: of the network, for the message.
        module: in the mode in which it is to be tried; on any device, the meta device included.
        input_shape: of one image, (C, H, W).
        num_classes: how many scores an image gets.
        advice: what to do where it does not take the images; the end of the message.
    """
    device = next(module.parameters()).device
    shape = "×".join(map(str, input_shape))
    try:
        with torch.no_grad():
            scores = module(torch.zeros(2, *input_shape, device=device))
    except _UNFIT as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"{name} does not take images of {shape}: {reason.rstrip('.')[:200]}. {advice}") from error
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (2, num_classes) or not scores.is_floating_point():
        raise ModelError(
            f"{name} must make a tensor of {num_classes} scores from each image of {shape}, (2, {num_classes}) for two "
            f"of them, got {_described(scores)}. Only networks that classify images can be raced."
        )


def _described(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"{tuple(answer.shape)} {str(answer.dtype).removeprefix('torch.')}"
    return type(answer).__name__
