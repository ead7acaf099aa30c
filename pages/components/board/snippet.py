"""The lines for a training loop of one's own that do what the race does. No streamlit."""

from __future__ import annotations

from collections.abc import Iterator

from multirate_core.config import GroupSpec, PartitionSpec, RaceConfig

HEAD = """\
# Period 1: a gradient at every step.
# The first pattern that matches a parameter's name decides.
PERIODS = {periods}
RULES = [
{rules}
]

# `model`, `loader` and `loss_fn` are your own."""


def snippet(spec: PartitionSpec, config: RaceConfig) -> str:
    """Return lines that run as they stand where `model`, `loader` and `loss_fn` exist."""
    rules = "\n".join(f"    ({rule.pattern!r}, {rule.group!r})," for rule in spec.rules)
    parts = [
        *_imports(spec, config),
        "",
        HEAD.format(periods={group.name: group.period for group in spec.groups}, rules=rules),
        *_model(config),
        *_optimizer(spec, config),
        *_loop(spec, config),
    ]
    return "\n".join(parts) + "\n"


def _imports(spec: PartitionSpec, config: RaceConfig) -> Iterator[str]:
    execution = config.execution
    if execution.channels_last or execution.compile or execution.precision == "bf16":
        yield "import torch\n"
    if execution.memory == "lean":
        yield "from multirate_core.lean import make_lean"
    names = [_class(config), *(["PeriodSchedule", "phases_in_steps"] if _scheduled(spec) else [])]
    yield f"from multirate_core.optim import {', '.join(names)}"
    yield "from multirate_core.partition.by_name import param_groups_by_rules"


def _model(config: RaceConfig) -> Iterator[str]:
    if config.execution.channels_last:
        yield "model = model.to(memory_format=torch.channels_last)"
    if config.execution.compile:
        yield "torch._dynamo.config.recompile_limit = 64  # a graph for every kind of step, mode and shape"
        yield "compiled = torch.compile(model, dynamic=False)"


def _optimizer(spec: PartitionSpec, config: RaceConfig) -> Iterator[str]:
    recipe = config.recipe
    factors = {group.name: group.lr_factor for group in spec.groups if group.lr_factor != 1}
    groups = "param_groups_by_rules(model, PERIODS, RULES)"
    if factors:
        yield f"groups = {groups}"
        yield "for group in groups:"
        yield f"    group['lr'] = {recipe.lr!r} * {factors}.get(group['name'], 1.0)"
        groups = "groups"
    own = f"momentum={recipe.momentum!r}, " if recipe.base == "sgd" else ""
    nesterov = " nesterov=True," if recipe.nesterov else ""
    yield f"optimizer = {_class(config)}("
    yield f"    {groups},"
    yield f"    lr={recipe.lr!r}, {own}weight_decay={recipe.weight_decay!r},"
    yield f"    drift={all(arm.drift for arm in config.arms)!r},{nesterov}"
    yield ")"
    if config.execution.memory == "lean":
        yield "make_lean(model, optimizer)"
    if _scheduled(spec):
        yield "schedule = PeriodSchedule(optimizer, {"
        for group in _scheduled(spec):
            yield f"    {group.name!r}: phases_in_steps({list(group.phases)!r}, len(loader)),"
        yield "})"


def _loop(spec: PartitionSpec, config: RaceConfig) -> Iterator[str]:
    model = "compiled" if config.execution.compile else "model"
    yield "for x, y in loader:"
    if config.execution.channels_last:
        yield "    x = x.contiguous(memory_format=torch.channels_last)"
    yield "    optimizer.zero_grad()"
    if config.execution.precision == "bf16":
        yield "    with torch.autocast(x.device.type, dtype=torch.bfloat16):"
        yield f"        loss = loss_fn({model}(x), y)"
        yield "    loss.backward()"
    else:
        yield f"    loss_fn({model}(x), y).backward()"
    yield "    optimizer.step()"
    if _scheduled(spec):
        yield "    schedule.step()"


def _class(config: RaceConfig) -> str:
    return "MultirateAdamW" if config.recipe.base == "adamw" else "MultirateSGD"


def _scheduled(spec: PartitionSpec) -> list[GroupSpec]:
    """Return the groups with a schedule; one that no pattern leads to has no parameters."""
    used = {rule.group for rule in spec.rules}
    return [group for group in spec.groups if group.phases and group.name in used]
