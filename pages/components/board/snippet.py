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

# `model`{own} are your own."""


def snippet(spec: PartitionSpec, config: RaceConfig) -> str:
    """Return lines that run as they stand where `model`, `loader` and `loss_fn` exist."""
    rules = "\n".join(f"    ({rule.pattern!r}, {rule.group!r})," for rule in spec.rules)
    smoothing = config.recipe.label_smoothing
    own = " and `loader`" if smoothing else ", `loader` and `loss_fn`"
    parts = [
        *_imports(spec, config),
        "",
        HEAD.format(periods={group.name: group.period for group in spec.groups}, rules=rules, own=own),
        *([f"loss_fn = torch.nn.CrossEntropyLoss(label_smoothing={smoothing!r})"] if smoothing else []),
        *_model(config),
        *_optimizer(spec, config),
        *_rates(config),
        *_loop(spec, config),
    ]
    return "\n".join(parts) + "\n"


def _imports(spec: PartitionSpec, config: RaceConfig) -> Iterator[str]:
    execution, recipe = config.execution, config.recipe
    by_clock = recipe.varies_lr and config.budget.seconds is not None
    computing = execution.channels_last or execution.compile or execution.precision == "bf16"
    torch = computing or recipe.varies_lr or recipe.label_smoothing or recipe.clip_norm
    modules = [name for name, needed in (("time", by_clock), ("torch", torch)) if needed]
    if modules:
        yield "\n".join(f"import {name}" for name in modules) + "\n"
    if execution.memory == "lean":
        yield "from multirate_core.lean import make_lean"
    names = [_class(config), *(["PeriodSchedule", "phases_in_steps"] if _scheduled(spec) else [])]
    if recipe.varies_lr:
        names.append("lr_factor")
    if _norms_apart(config):
        names += ["norms_apart", "base_name"] if _scheduled(spec) else ["norms_apart"]
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
    if _norms_apart(config):
        groups = f"norms_apart({groups})"
    own = f"momentum={recipe.momentum!r}, " if recipe.base == "sgd" else ""
    nesterov = " nesterov=True," if recipe.nesterov else ""
    yield f"optimizer = {_class(config)}("
    yield f"    {groups},"
    yield f"    lr={recipe.lr!r}, {own}weight_decay={recipe.weight_decay!r},"
    yield f"    drift={all(arm.drift for arm in config.arms)!r},{nesterov}"
    yield ")"
    if config.execution.memory == "lean":
        yield "make_lean(model, optimizer)"
    yield from _periods(_scheduled(spec), _norms_apart(config))


def _periods(scheduled: list[GroupSpec], apart: bool) -> Iterator[str]:
    """Yield the schedule for k; groups with norms and biases apart are two in the optimiser."""
    if not scheduled:
        return
    if apart:
        yield f"PHASES = { ({group.name: list(group.phases) for group in scheduled})!r}"
        yield "schedule = PeriodSchedule(optimizer, {"
        yield "    group['name']: phases_in_steps(PHASES[base_name(group['name'])], len(loader))"
        yield "    for group in optimizer.param_groups if base_name(group['name']) in PHASES"
    else:
        yield "schedule = PeriodSchedule(optimizer, {"
        for group in scheduled:
            yield f"    {group.name!r}: phases_in_steps({list(group.phases)!r}, len(loader)),"
    yield "})"


def _rates(config: RaceConfig) -> Iterator[str]:
    """Yield the schedule of the learning rate over the whole run."""
    recipe, budget = config.recipe, config.budget
    if not recipe.varies_lr:
        return
    if budget.seconds is None:
        yield f"EPOCHS = {budget.epochs}"
        progress = "step / (EPOCHS * len(loader))"
    else:
        yield f"SECONDS, begun = {budget.seconds!r}, time.perf_counter()  # the race does not count loading"
        progress = "(time.perf_counter() - begun) / SECONDS"
    yield "rates = torch.optim.lr_scheduler.LambdaLR("
    yield f"    optimizer, lambda step: lr_factor({progress}, {recipe.schedule!r}, warmup={recipe.warmup!r})"
    yield ")"


def _loop(spec: PartitionSpec, config: RaceConfig) -> Iterator[str]:
    by_clock = config.recipe.varies_lr and config.budget.seconds is not None
    step = [*_step(config), *(["schedule.step()"] if _scheduled(spec) else [])]
    if config.recipe.varies_lr:
        step.append("rates.step()")
        yield "while time.perf_counter() - begun < SECONDS:" if by_clock else "for epoch in range(EPOCHS):"
    if by_clock:
        step += ["if time.perf_counter() - begun >= SECONDS:", "    break"]
    space = "    " if config.recipe.varies_lr else ""
    yield f"{space}for x, y in loader:"
    yield from (f"{space}    {line}" for line in step)


def _step(config: RaceConfig) -> Iterator[str]:
    """Yield the lines of one step of the optimiser."""
    recipe, size = config.recipe, config.recipe.micro_batch_size
    if config.execution.channels_last:
        yield "x = x.contiguous(memory_format=torch.channels_last)"
    yield "optimizer.zero_grad()"
    if recipe.accumulate == 1:
        yield from _backward(config, "x", "y", "")
    else:
        yield f"parts = {'max(1, len(y) // 2)' if size == 2 else f'-(-len(y) // {size})'}"
        yield "for some_x, some_y in zip(x.tensor_split(parts), y.tensor_split(parts)):"
        yield from (f"    {line}" for line in _backward(config, "some_x", "some_y", " * (len(some_y) / len(y))"))
    if recipe.clip_norm is not None:
        yield f"torch.nn.utils.clip_grad_norm_(model.parameters(), {recipe.clip_norm!r})"
    yield "optimizer.step()"


def _backward(config: RaceConfig, x: str, y: str, share: str) -> Iterator[str]:
    loss = f"loss_fn({'compiled' if config.execution.compile else 'model'}({x}), {y})"
    if config.execution.precision == "bf16":
        yield f"with torch.autocast({x}.device.type, dtype=torch.bfloat16):"
        yield f"    loss = {loss}{share}"
        yield "loss.backward()"
    else:
        yield f"({loss}{share}).backward()" if share else f"{loss}.backward()"


def _class(config: RaceConfig) -> str:
    return "MultirateAdamW" if config.recipe.base == "adamw" else "MultirateSGD"


def _norms_apart(config: RaceConfig) -> bool:
    return config.recipe.weight_decay > 0 and not config.recipe.decay_norms


def _scheduled(spec: PartitionSpec) -> list[GroupSpec]:
    """Return the groups with a schedule; one that no pattern leads to has no parameters."""
    used = {rule.group for rule in spec.rules}
    return [group for group in spec.groups if group.phases and group.name in used]
