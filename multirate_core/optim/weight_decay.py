"""Param groups in which norms and biases have no weight decay."""

from __future__ import annotations

from collections.abc import Iterable

from multirate_core.optim.checks import ParamGroup

# Longer than the name of a group can be in a configuration, so that no other group there has such a name.
NORMS = ": norms and biases, without weight decay"


def norms_apart(groups: Iterable[ParamGroup]) -> list[ParamGroup]:
    """Return the groups with their norms and biases in groups of their own, which have no weight decay.

    What has at most one dimension counts: weights and biases of norms, biases of layers. Where a group holds nothing
    else, it keeps its name; otherwise the new group is called as `base_name` knows it, and comes right after the old.
    All other options are those of the group, which itself is not changed.

    Args:
        groups: for any optimiser; "params" holds parameters, of any shapes.

    Source: usual in fine-tuning and in training networks with norms, e.g. He et al., CVPR 2019 (arXiv 1812.01187), 3.1.
    """
    apart: list[ParamGroup] = []
    for group in groups:
        params = list(group["params"])
        weights, norms = [each for each in params if each.dim() > 1], [each for each in params if each.dim() <= 1]
        if weights:
            apart.append({**group, "params": weights})
        if norms:
            own = {**group, "params": norms, "weight_decay": 0.0}
            if weights and "name" in group:
                own["name"] = group["name"] + NORMS
            apart.append(own)
    return apart


def base_name(name: str) -> str:
    """Return the name that a group had before `norms_apart`."""
    return name.removesuffix(NORMS)
