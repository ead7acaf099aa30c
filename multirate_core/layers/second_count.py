"""An independent count of a network's parameters and multiply-adds, by torchinfo, to hold the layer tree against."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from torch import nn

from multirate_core.errors import ModelError


@dataclass(frozen=True)
class SecondCount:
    """What torchinfo counts: parameters, and multiply-adds for one image (it does not see attention)."""

    parameters: int
    multiply_adds: int


def second_count(model: nn.Module, input_shape: tuple[int, ...]) -> SecondCount:
    """Let torchinfo count on the device that the model is on; "meta" is enough.

    Args:
        model: not changed.
        input_shape: of one image, (C, H, W).

    Raises:
        ModelError: torchinfo cannot run the network.
    """
    import torchinfo

    device = next((parameter.device.type for parameter in model.parameters()), "cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counted = torchinfo.summary(model, (1, *input_shape), verbose=0, mode="eval", device=device)
    except RuntimeError as error:
        raise ModelError(f"torchinfo cannot run the network: {error}.") from error
    return SecondCount(counted.total_params, counted.total_mult_adds)
