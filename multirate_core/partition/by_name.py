"""Parameter groups for `MultirateSGD` straight from patterns on parameter names: for your own training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multirate_core.checks import require_not_resting, require_period
from multirate_core.config import GroupSpec, Rule
from multirate_core.errors import PartitionError
from multirate_core.partition.partition import Partition, first_matches, param_groups, shorten

if TYPE_CHECKING:
    from torch import nn


def param_groups_by_rules(
    model: nn.Module, periods: Mapping[str, int], rules: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Sort a model's trainable parameters into groups; the first rule that matches a parameter wins.

    Args:
        model: whose `named_parameters` are sorted; parameters with `requires_grad` False are left out.
        periods: name of each group -> its period in steps, >= 1; one of them is 1.
        rules: (pattern, name of a group), in order; `*` crosses dots, a module path means all below it.

    Returns:
        Groups with "params", "name" and "period", ready for `MultirateSGD`.

    Raises:
        PartitionError: a parameter that no rule matches, a rule that decides nothing (except a last rule "*"), a rule
            for an unknown group, or nothing with period 1.
        ConfigError: a period is no whole number >= 1, a name or pattern is no text, or a parameter rests in another
            multirate optimiser right now.
    """
    for period in periods.values():
        require_period(period)
    for name, parameter in model.named_parameters():
        require_not_resting(f"parameter {name!r}", parameter)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    known = {parameter: name for name, parameter in model.named_parameters()}
    everywhere = model.named_parameters(remove_duplicate=False)
    aliases = {name: known[parameter] for name, parameter in everywhere if name != known[parameter]}
    written = tuple(Rule(pattern, group) for pattern, group in rules)
    chosen = first_matches(written, list(known.values()), aliases, type(model).__name__)
    missing = [name for name in names if name not in chosen]
    if missing:
        raise PartitionError(f"no rule matches {shorten(missing)}. Add a rule, or a last one for '*'.")
    groups = tuple(GroupSpec(name, period) for name, period in periods.items())
    return param_groups(Partition(groups, {name: chosen[name] for name in names}), model)
