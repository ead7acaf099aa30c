"""What the from-scratch optimisers refuse, in words: options, complex parameters, sparse gradients, foreign states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from multirate_core.checks import require_number, require_period, require_whole
from multirate_core.errors import ConfigError, PartitionError

ParamGroup: TypeAlias = dict[str, Any]

# Set by torch (names) and by its schedulers when they resume; everything else would be a typo without effect.
ALSO_ALLOWED = ("params", "param_names", "name", "initial_lr")
MOST_SEED = 2**63 - 1


def require_group(group: ParamGroup, defaults: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a new param group has known options within their ranges and real parameters.

    Args:
        group: options filled up with the defaults.
        defaults: options that the optimiser has.
    """
    unknown = sorted(set(group) - set(defaults) - set(ALSO_ALLOWED))
    if unknown:
        allowed = ", ".join((*ALSO_ALLOWED, *defaults))
        raise ConfigError(f"unknown options {unknown} in a param group; allowed: {allowed}. Remove or rename them.")
    if "params" not in group:
        raise ConfigError("a param group needs its parameters under the key 'params', got none. Add them.")
    require_options(group)
    require_number("lr", group["lr"], above=0.0)


def require_options(group: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a group's options are in range; a scheduler may have brought lr down to 0."""
    require_period(group["period"])
    require_number("lr", group["lr"], least=0.0)
    require_number("momentum", group["momentum"], least=0.0, below=1.0)
    require_number("weight_decay", group["weight_decay"], least=0.0)
    if "fraction" in group:
        require_number("fraction", group["fraction"], least=0.0, below=1.0)
        require_whole("seed", group["seed"], 0, MOST_SEED)


def require_real(weights: Sequence[Tensor]) -> None:
    """Raise ConfigError if a parameter is complex."""
    for i, weight in enumerate(weights):
        if weight.is_complex():
            raise ConfigError(
                f"parameter {i} of shape {tuple(weight.shape)} is complex ({weight.dtype}); allowed are real "
                "parameters. Train it as two real ones (torch.view_as_real)."
            )


def require_dense(groups: Sequence[ParamGroup]) -> None:
    """Raise ConfigError if any gradient is sparse."""
    for number, group in enumerate(groups):
        for i, weight in enumerate(group["params"]):
            if weight.grad is not None and weight.grad.layout != torch.strided:
                raise ConfigError(
                    f"the gradient of parameter {i} of group {number}, of shape {tuple(weight.shape)}, is sparse; "
                    "dense gradients are needed. Build the layer with sparse=False."
                )


def require_loadable(
    state_dict: Mapping[str, Any],
    groups: Sequence[ParamGroup],
    options: Iterable[str],
    place: Sequence[str],
    kind: str,
) -> None:
    """Raise ConfigError or PartitionError unless `state_dict` was saved by the same optimiser over such groups.

    Args:
        state_dict: what is to be loaded.
        groups: the present param groups.
        options: what a saved group has to have.
        place: its counters in the cycle, whole numbers >= 0.
        kind: the optimiser's class, for the message.
    """
    saved_groups, state = state_dict.get("param_groups"), state_dict.get("state")
    if not isinstance(saved_groups, list) or not isinstance(state, Mapping):
        raise ConfigError(
            f"an optimiser state has 'state' and 'param_groups', got {sorted(map(str, state_dict))}. "
            f"Load what {kind}.state_dict() returned."
        )
    for saved in saved_groups:
        _require_own(saved, ("params", *options, *place), place, kind)
    sizes, expected = [len(saved["params"]) for saved in saved_groups], [len(group["params"]) for group in groups]
    if sizes != expected:
        raise PartitionError(
            f"the state was saved with groups of {sizes} parameters, this optimiser has {expected}. "
            "Build it with the same groups first."
        )
    for saved, group in zip(saved_groups, groups, strict=True):
        _require_same_shapes(saved, group, state)


def _require_own(saved: ParamGroup, needed: Sequence[str], place: Sequence[str], kind: str) -> None:
    """Raise ConfigError unless a saved group has what the optimiser needs, within its ranges."""
    missing = [key for key in needed if key not in saved]
    if missing:
        raise ConfigError(
            f"a saved group lacks {missing}: the state comes from another optimiser. "
            f"Load what {kind}.state_dict() returned."
        )
    require_options(saved)
    for counter in place:
        require_whole(counter, saved[counter], 0, MOST_SEED)


def _require_same_shapes(saved: ParamGroup, group: ParamGroup, state: Mapping[Any, Any]) -> None:
    """Raise PartitionError unless every saved tensor fits its parameter."""
    for i, (saved_id, weight) in enumerate(zip(saved["params"], group["params"], strict=True)):
        for name, value in state.get(saved_id, {}).items():
            if value.shape != weight.shape:
                raise PartitionError(
                    f"{name} of parameter {i} was saved with shape {tuple(value.shape)}, expected "
                    f"{tuple(weight.shape)}. Build the model as it was when it was saved."
                )
