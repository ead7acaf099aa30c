"""What `MultirateSGD` refuses, in words: options, overlapping groups, sparse gradients, foreign states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from multirate_core.checks import require_number, require_period
from multirate_core.errors import ConfigError, PartitionError

ParamGroup: TypeAlias = dict[str, Any]

OPTIONS = ("lr", "momentum", "weight_decay", "drift", "period")
PLACE = ("steps_since_refresh", "drifting", "frozen")  # where a group is in its cycle, saved with the options
# Set by torch (names) and by its schedulers when they resume; everything else would be a typo without effect.
ALSO_ALLOWED = ("params", "param_names", "name", "initial_lr")


def require_group(group: ParamGroup, defaults: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a new param group has known options within their ranges and real parameters.

    Args:
        group: options filled up with the defaults; "params" holds parameters or (name, parameter) pairs.
        defaults: options that the optimiser itself has.
    """
    unknown = sorted(set(group) - set(defaults) - set(ALSO_ALLOWED))
    if unknown:
        allowed = ", ".join((*ALSO_ALLOWED, *OPTIONS))
        raise ConfigError(f"unknown options {unknown} in a param group; allowed: {allowed}. Remove or rename them.")
    if "params" not in group:
        raise ConfigError("a param group needs its parameters under the key 'params', got none. Add them.")
    if not isinstance(group["name"], str) or not group["name"]:
        raise ConfigError(f"a group's name must be a text of at least one character, got {group['name']!r}. Name it.")
    require_options(group)
    require_number(f"lr of group {group['name']!r}", group["lr"], above=0.0)
    for _, label, weight in labelled_parameters(group):
        if weight.is_complex():
            raise ConfigError(
                f"{label} is complex ({weight.dtype}); allowed are real parameters. "
                "Train it as two real ones (torch.view_as_real)."
            )


def require_options(group: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the numbers of a group are in range; a scheduler may have brought lr down to 0."""
    of_group = f"of group {group['name']!r}"
    try:
        require_period(group["period"])
    except ConfigError as error:
        raise ConfigError(f"group {group['name']!r}: {error}") from error
    require_number(f"lr {of_group}", group["lr"], least=0.0)
    require_number(f"momentum {of_group}", group["momentum"], least=0.0, below=1.0)
    require_number(f"weight_decay {of_group}", group["weight_decay"], least=0.0)
    if not isinstance(group["drift"], bool):
        raise ConfigError(f"drift {of_group} must be True or False, got {group['drift']!r}. Use one of the two.")


def require_separate(group: ParamGroup, others: Sequence[ParamGroup]) -> None:
    """Raise PartitionError if a new group shares its name or a parameter with another group, or repeats one."""
    name = group["name"]
    if any(other["name"] == name for other in others):
        raise PartitionError(f"two groups are called {name!r}; names must differ. Rename one of them.")
    owner = {id(weight): other["name"] for other in others for weight in other["params"]}
    for weight_id, label, _ in labelled_parameters(group):
        if owner.get(weight_id) == name:
            raise PartitionError(f"{label} is listed twice in group {name!r}. List it once.")
        if weight_id in owner:
            raise PartitionError(
                f"{label} is in two groups, {owner[weight_id]!r} and {name!r}; a parameter belongs to exactly one. "
                "Remove it from one of them (a tied weight counts once, under its first name)."
            )
        owner[weight_id] = name


def require_moving(groups: Sequence[ParamGroup]) -> None:
    """Raise ConfigError or PartitionError unless every period is valid and something moves at every step."""
    for group in groups:
        require_period(group["period"])
    fast = [group for group in groups if group["period"] == 1]
    if not fast:
        periods = {group["name"]: group["period"] for group in groups}
        raise PartitionError(
            f"no group has period 1, got {periods}: on some steps nothing would be due. Set one group's period to 1."
        )
    if not any(len(group["params"]) > len(group["frozen"]) for group in fast):
        names = ", ".join(repr(group["name"]) for group in fast)
        raise PartitionError(
            f"no trainable parameter has period 1: the fast group ({names}) is empty or frozen. "
            "Move at least one parameter to it."
        )


def require_dense(group: ParamGroup, position: int) -> None:
    """Raise ConfigError if the gradient of the parameter at `position` is sparse or complex."""
    gradient: Tensor = group["params"][position].grad
    if gradient.layout == torch.strided and not gradient.is_complex():
        return
    _, label, _ = labelled_parameters(group)[position]
    kind = "complex" if gradient.is_complex() else "sparse"
    raise ConfigError(
        f"the gradient of {label} is {kind}; MultirateSGD takes dense, real gradients. "
        "Build the layer with sparse=False, or train it with another optimiser."
    )


def require_loadable(state_dict: Mapping[str, Any], groups: Sequence[ParamGroup]) -> None:
    """Raise ConfigError or PartitionError unless `state_dict` was saved by MultirateSGD over groups like these."""
    saved_groups = state_dict.get("param_groups")
    if not isinstance(saved_groups, list) or not isinstance(state_dict.get("state"), Mapping):
        raise ConfigError(
            f"an optimiser state has 'state' and 'param_groups', got {sorted(map(str, state_dict))}. "
            "Load what MultirateSGD.state_dict() returned."
        )
    if len(saved_groups) != len(groups):
        raise PartitionError(
            f"the state was saved with {len(saved_groups)} groups, this optimiser has {len(groups)}. "
            "Build it with the same partition first."
        )
    for saved, group in zip(saved_groups, groups, strict=True):
        _require_same_group(saved, group)
        _require_same_shapes(saved, group, state_dict["state"])
    require_moving(saved_groups)


def _require_same_group(saved: ParamGroup, group: ParamGroup) -> None:
    """Raise unless a saved group has all options, and the name and the parameters of the present group."""
    missing = [key for key in ("name", "params", *OPTIONS, *PLACE) if key not in saved]
    if missing:
        raise ConfigError(
            f"a saved group lacks {missing}: the state comes from another optimiser. "
            "Load what MultirateSGD.state_dict() returned."
        )
    require_options(saved)
    compared = [("name", saved["name"], group["name"]), ("size", len(saved["params"]), len(group["params"]))]
    if "param_names" in saved and "param_names" in group:
        compared += [("parameter", *names) for names in zip(saved["param_names"], group["param_names"], strict=False)]
    for what, theirs, ours in compared:
        if theirs != ours:
            raise PartitionError(
                f"group {group['name']!r} was saved with another {what}: got {theirs!r}, expected {ours!r}. "
                "Build the optimiser with the same partition first."
            )


def _require_same_shapes(saved: ParamGroup, group: ParamGroup, state: Mapping[Any, Any]) -> None:
    """Raise unless every saved momentum fits its parameter and every drifting parameter has one."""
    positions = range(len(group["params"]))
    since, drifting = saved["steps_since_refresh"], saved["drifting"] or []
    if not all(i in positions for i in (*drifting, *saved["frozen"])) or (since is not None and since < 1):
        place = {key: saved[key] for key in PLACE}
        raise ConfigError(f"the place in the cycle of group {group['name']!r} is damaged: {place}. Load another state.")
    for i, (saved_id, (_, label, weight)) in enumerate(zip(saved["params"], labelled_parameters(group), strict=True)):
        momentum_buffer = state.get(saved_id, {}).get("momentum_buffer")
        if momentum_buffer is None and i in drifting:
            raise ConfigError(f"the state has no momentum for {label}, which drifts. Load another state.")
        if momentum_buffer is not None and momentum_buffer.shape != weight.shape:
            raise PartitionError(
                f"the momentum of {label} was saved with shape {tuple(momentum_buffer.shape)}, "
                f"expected {tuple(weight.shape)}. Build the model and the partition as they were when it was saved."
            )


def labelled_parameters(group: ParamGroup) -> list[tuple[int, str, Tensor]]:
    """Return (id, words to call it by, tensor) of every parameter of a group, named or not."""
    params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
    names = group.get("param_names")
    labelled = []
    for i, entry in enumerate(params):
        name, weight = entry if isinstance(entry, tuple) else (names[i] if names else None, entry)
        label = f"parameter {name!r}" if name else f"parameter {i} of group {group['name']!r}"
        if isinstance(weight, Tensor):  # anything else is refused by torch, in its own words
            labelled.append((id(weight), f"{label} of shape {tuple(weight.shape)}", weight))
    return labelled
