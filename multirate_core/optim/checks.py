"""What multirate optimisers refuse, in words: options, overlapping groups, sparse gradients, foreign states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from multirate_core.checks import require_flag, require_not_resting, require_number, require_period
from multirate_core.errors import ConfigError, PartitionError

if TYPE_CHECKING:
    from multirate_core.optim.multirate import MultirateOptimizer

ParamGroup: TypeAlias = dict[str, Any]
RequireRule: TypeAlias = Callable[[ParamGroup], None]

PLACE = ("steps_since_refresh", "drifting", "jumped", "frozen")  # where a group is in its cycle, saved with the options
# Set by torch (names) and by its schedulers when they resume; everything else would be a typo without effect.
ALSO_ALLOWED = ("params", "param_names", "name", "initial_lr")


def require_group(group: ParamGroup, defaults: Mapping[str, Any], require_rule: RequireRule) -> None:
    """Raise ConfigError unless a new param group has known options within their ranges and real parameters.

    Args:
        group: options filled up with the defaults; "params" holds parameters or (name, parameter) pairs.
        defaults: options that the optimiser itself has.
        require_rule: checks the options of the base rule.
    """
    unknown = sorted(set(group) - set(defaults) - set(ALSO_ALLOWED))
    if unknown:
        allowed = ", ".join((*ALSO_ALLOWED, *defaults))
        raise ConfigError(f"unknown options {unknown} in a param group; allowed: {allowed}. Remove or rename them.")
    if "params" not in group:
        raise ConfigError("a param group needs its parameters under the key 'params', got none. Add them.")
    if not isinstance(group["name"], str) or not group["name"]:
        raise ConfigError(f"a group's name must be a text of at least one character, got {group['name']!r}. Name it.")
    require_options(group, require_rule)
    require_number(f"lr of group {group['name']!r}", group["lr"], above=0.0)
    for _, label, weight in labelled_parameters(group):
        if weight.is_complex():
            raise ConfigError(
                f"{label} is complex ({weight.dtype}); allowed are real parameters. "
                "Train it as two real ones (torch.view_as_real)."
            )
        require_not_resting(label, weight)


def require_options(group: ParamGroup, require_rule: RequireRule) -> None:
    """Raise ConfigError unless the options of a group are in range; a scheduler may have brought lr down to 0."""
    of_group = f"of group {group['name']!r}"
    try:
        require_period(group["period"])
    except ConfigError as error:
        raise ConfigError(f"group {group['name']!r}: {error}") from error
    require_number(f"lr {of_group}", group["lr"], least=0.0)
    require_number(f"weight_decay {of_group}", group["weight_decay"], least=0.0)
    require_flag(f"drift {of_group}", group["drift"])
    if group["foreach"] is not None:
        require_flag(f"foreach {of_group} (if not None)", group["foreach"])
    require_rule(group)


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


def require_usable(group: ParamGroup, positions: Iterable[int], optimizer: str) -> None:
    """Raise ConfigError if the gradient of a parameter at one of the positions is sparse or complex."""
    for i in positions:
        gradient: Tensor = group["params"][i].grad
        if gradient.layout == torch.strided and not gradient.is_complex():
            continue
        _, label, _ = labelled_parameters(group)[i]
        kind = "complex" if gradient.is_complex() else "sparse"
        raise ConfigError(
            f"the gradient of {label} is {kind}; {optimizer} takes dense, real gradients. "
            "Build the layer with sparse=False, or train it with another optimiser."
        )


def require_same_tensors(group: ParamGroup, positions: Iterable[int], state: Mapping[Tensor, Any]) -> None:
    """Raise ConfigError if a parameter no longer has the shape, dtype or device that its state was made for."""
    for i in positions:
        weight: Tensor = group["params"][i]
        if weight not in state:
            continue
        for value in state[weight].values():
            if isinstance(value, Tensor) and not (
                value.dtype is weight.dtype and value.device == weight.device and value.shape == weight.shape
            ):
                _, label, _ = labelled_parameters(group)[i]
                raise ConfigError(
                    f"{label} was changed after the optimiser had begun: its state has {_words(value)}, the "
                    f"parameter {_words(weight)}. Move or convert the model first, then build the optimiser."
                )


def _words(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def require_covers(groups: Sequence[ParamGroup], model: nn.Module) -> None:
    """Raise PartitionError unless the groups hold exactly the model's parameters; frozen ones may be left out."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    trainable = {id(weight) for weight in model.parameters() if weight.requires_grad}
    labels = {weight_id: label for group in groups for weight_id, label, _ in labelled_parameters(group)}
    without_group = [names[weight_id] for weight_id in names if weight_id in trainable - labels.keys()]
    not_in_model = [label for weight_id, label in labels.items() if weight_id not in names]
    if without_group or not_in_model:
        raise PartitionError(
            f"the optimiser does not fit {type(model).__name__}: parameters in no group: {_listed(without_group)}; "
            f"in a group but not in the model: {_listed(not_in_model)}. Was the model changed after the optimiser "
            "was built? Build the optimiser again."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) or "none"
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def find_group(name: str, groups: Sequence[ParamGroup]) -> ParamGroup:
    """Return the group of this name; ConfigError if there is none."""
    for group in groups:
        if group["name"] == name:
            return group
    raise ConfigError(f"no group is called {name!r}; there are {', '.join(repr(group['name']) for group in groups)}.")


def find_parameters(params: Iterable[Tensor] | nn.Module, groups: Sequence[ParamGroup]) -> list[set[int]]:
    """Return, for each group, the positions of those parameters; PartitionError if one is in no group."""
    if isinstance(params, Tensor | nn.Module):
        params = [params] if isinstance(params, Tensor) else params.parameters()
    place = {id(weight): (g, i) for g, group in enumerate(groups) for i, weight in enumerate(group["params"])}
    found: list[set[int]] = [set() for _ in groups]
    for weight in params:
        if id(weight) not in place:
            what = f"shape {tuple(weight.shape)}" if isinstance(weight, Tensor) else f"type {type(weight).__name__}"
            raise PartitionError(
                f"a parameter of {what} is in no group of this optimiser. Take it from the model that was given to it."
            )
        group, position = place[id(weight)]
        found[group].add(position)
    return found


def require_loadable(state_dict: Mapping[str, Any], optimizer: MultirateOptimizer) -> None:
    """Raise ConfigError or PartitionError unless `state_dict` was saved by such an optimiser over groups like these."""
    groups, kind = optimizer.param_groups, type(optimizer).__name__
    saved_groups = state_dict.get("param_groups")
    if not isinstance(saved_groups, list) or not isinstance(state_dict.get("state"), Mapping):
        raise ConfigError(
            f"an optimiser state has 'state' and 'param_groups', got {sorted(map(str, state_dict))}. "
            f"Load what {kind}.state_dict() returned."
        )
    if len(saved_groups) != len(groups):
        raise PartitionError(
            f"the state was saved with {len(saved_groups)} groups, this optimiser has {len(groups)}. "
            "Build it with the same partition first."
        )
    for saved, group in zip(saved_groups, groups, strict=True):
        _require_same_group(saved, group, optimizer)
        _require_same_shapes(saved, group, state_dict["state"], optimizer._held_names)
    require_moving(saved_groups)


def _require_same_group(saved: ParamGroup, group: ParamGroup, optimizer: MultirateOptimizer) -> None:
    """Raise unless a saved group has all options, and the name and the parameters of the present group."""
    options = [key for key in optimizer.defaults if key in group]  # torch adds a default of its own after a load
    missing = [key for key in ("name", "params", *options, *PLACE) if key not in saved]
    if missing:
        raise ConfigError(
            f"a saved group lacks {missing}: the state comes from another optimiser. "
            f"Load what {type(optimizer).__name__}.state_dict() returned."
        )
    require_options(saved, optimizer._require_rule)
    compared = [("name", saved["name"], group["name"]), ("size", len(saved["params"]), len(group["params"]))]
    if "param_names" in saved and "param_names" in group:
        compared += [("parameter", *names) for names in zip(saved["param_names"], group["param_names"], strict=False)]
    for what, theirs, ours in compared:
        if theirs != ours:
            raise PartitionError(
                f"group {group['name']!r} was saved with another {what}: got {theirs!r}, expected {ours!r}. "
                "Build the optimiser with the same partition first."
            )


def _require_same_shapes(
    saved: ParamGroup, group: ParamGroup, state: Mapping[Any, Any], held_names: tuple[str, ...]
) -> None:
    """Raise unless every saved tensor fits its parameter and every drifting parameter has a direction."""
    positions = range(len(group["params"]))
    drifting, counts = saved["drifting"] or [], (saved["steps_since_refresh"], saved["jumped"])
    inside = all(i in positions for i in (*drifting, *saved["frozen"]))
    if not inside or any(count is not None and count < 1 for count in counts):
        place = {key: saved[key] for key in PLACE}
        raise ConfigError(f"the place in the cycle of group {group['name']!r} is damaged: {place}. Load another state.")
    for i, (saved_id, (_, label, weight)) in enumerate(zip(saved["params"], labelled_parameters(group), strict=True)):
        tensors = {name: value for name, value in state.get(saved_id, {}).items() if isinstance(value, Tensor)}
        if i in drifting and not any(name in tensors for name in held_names):
            raise ConfigError(f"the state has no direction for {label}, which drifts. Load another state.")
        for name, value in tensors.items():
            if value.shape != weight.shape:
                raise PartitionError(
                    f"the {name} of {label} was saved with shape {tuple(value.shape)}, expected "
                    f"{tuple(weight.shape)}. Build the model and the partition as they were when it was saved."
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
