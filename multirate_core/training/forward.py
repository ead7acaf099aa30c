"""How a lane calls its network: as it is, under autocast, or compiled; the same for training and tests."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from multirate_core.config import Precision
from multirate_core.errors import ConfigError
from multirate_core.training.compiling import CompiledCalls, require_compiler
from multirate_core.training.samples import Inputs, logits


class Forward:
    """A network's forward pass.

    Args:
        model: a batch -> logits (B, classes), see `samples.logits`; its mode and its parameters stay the caller's.
        precision: "bf16" calls it under autocast; its parameters stay float32.
        compiled: compiles one graph per kind of step, mode and shape, each before it is first needed.
    """

    def __init__(self, model: nn.Module, precision: Precision = "float32", compiled: bool = False) -> None:
        self.model = model
        self.calls = CompiledCalls(model) if compiled else None
        self._bf16 = precision == "bf16"

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the logits (B, classes)."""
        return logits(self.model, inputs) if self.calls is None else self.calls(inputs)

    def computing(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context for forward pass and loss: autocast, or none."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self._bf16 else nullcontext()

    def strict(self) -> AbstractContextManager[object]:
        """Return a context in which a graph that was not compiled before is an error."""
        return nullcontext() if self.calls is None else torch.compiler.set_stance("fail_on_recompile")


def require_supported(precision: Precision, compiled: bool, device: torch.device) -> None:
    """Raise ConfigError if the device cannot compute so.

    Args:
        precision: of forward pass and loss.
        compiled: whether networks are to be compiled.
        device: of the race.
    """
    if precision == "bf16" and not _has_bf16(device):
        raise ConfigError(f"precision 'bf16' needs a device that computes in it, got {device}. Use float32.")
    if compiled:
        require_compiler(device)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.amp.is_autocast_available(device.type)
