"""What `MultirateDataParallel` refuses, in words, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import nn

from multirate_core.errors import ConfigError
from multirate_core.optim import MultirateOptimizer


def require_process_group() -> None:
    """Raise ConfigError unless the processes of this training know each other."""
    if not dist.is_available():
        raise ConfigError("this build of torch has no torch.distributed. Install one that has, or train on one device.")
    if not dist.is_initialized():
        raise ConfigError(
            "there is no process group. Call torch.distributed.init_process_group() first, and start the script with "
            "torchrun; on one device the optimiser needs no wrapper."
        )


def require_multirate(optimizer: object) -> None:
    """Raise ConfigError unless the optimiser decides by itself which groups are due."""
    if not isinstance(optimizer, MultirateOptimizer):
        raise ConfigError(
            f"optimizer must be a multirate optimiser such as MultirateSGD, got {type(optimizer).__name__}. "
            "For others use torch.nn.parallel.DistributedDataParallel."
        )


def require_one_device(model: nn.Module) -> None:
    """Raise ConfigError unless all parameters and buffers are on one device, as torchrun's ranks are made for."""
    devices = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers())})
    if len(devices) > 1:
        raise ConfigError(
            f"a rank trains on one device, got parameters and buffers on {', '.join(devices)}. Move the model to one."
        )


def require_ranks_agree(described: Sequence[str], control: dist.ProcessGroup) -> None:
    """Raise ConfigError on every rank unless all have the same parameters, groups and place in the cycle."""
    told: list[Sequence[str]] = [[]] * dist.get_world_size()
    dist.all_gather_object(told, list(described), group=control)
    for rank, lines in enumerate(told):
        if lines != told[0]:
            ours, theirs = next(
                ((a, b) for a, b in zip(told[0], lines, strict=False) if a != b),
                (f"{len(told[0])} groups and parameters", f"{len(lines)}"),
            )
            raise ConfigError(
                f"rank {rank} has other groups than rank 0: rank 0 has {ours}; rank {rank} has {theirs}. Build model "
                "and optimiser in the same way on every rank, and load the same optimiser state."
            )


def describe(model: nn.Module, optimizer: MultirateOptimizer) -> list[str]:
    """Return one line per group and parameter with all that ranks must have in common."""
    names = {weight: name for name, weight in model.named_parameters()}
    lines = []
    for group in optimizer.param_groups:
        since = group["steps_since_refresh"]
        place = "before its first gradient" if since is None else f"{since} steps after its last gradient"
        lines.append(f"group {group['name']!r} of period {group['period']}, {place}, frozen {group['frozen']}")
        for weight in group["params"]:
            lines.append(f"{names[weight]} of shape {tuple(weight.shape)}, {weight.dtype}, in group {group['name']!r}")
    return lines
