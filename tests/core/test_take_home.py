"""The lines that the page gives away run as they stand, and train what the partition says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import BANK, MARKUP, OddNames, tree_named
from torch import Tensor, nn

from multirate_core.config import ArmConfig, Execution, GroupSpec, PartitionSpec, RaceConfig, Recipe, Rule
from multirate_core.layers.tree import LayerTree
from multirate_core.optim import MultirateAdamW
from multirate_core.partition import preset, resolve, to_spec
from multirate_core.partition.presets import PRESETS
from pages.components.board.snippet import snippet

STEPS = 12


def build(name: str) -> nn.Module:
    torch.manual_seed(3)
    return next(case for case in BANK if case.name == name).build()


def batches(tree: LayerTree, classes: int) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(5)
    inputs = [torch.randn(4, *tree.input_shape, generator=source) for _ in range(STEPS)]
    return [(x, torch.randint(0, classes, (4,), generator=source)) for x in inputs]


def run(
    code: str, model: nn.Module, loader: list[tuple[Tensor, Tensor]]
) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Run the lines; return their names, and the steps at which each parameter had a gradient."""
    had: dict[str, list[int]] = {name: [] for name, _ in model.named_parameters()}
    given: list[int] = []  # steps whose batch was handed out

    class Counted(list[Any]):
        def __iter__(self) -> Any:
            for step, batch in enumerate(loader):
                given.append(step)
                yield batch

    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: had[name].append(given[-1]))
    names: dict[str, Any] = {
        "model": model,
        "loader": Counted(loader),
        "loss_fn": lambda out, y: nn.functional.cross_entropy(out, y),
    }
    exec(compile(code, "snippet", "exec"), names)
    return names, had


def config(spec: PartitionSpec, drift: bool = True, **recipe: Any) -> RaceConfig:
    arms = (ArmConfig("sgd", "sgd", drift=drift), ArmConfig("multirate", "multirate", spec, drift))
    return RaceConfig(arms, recipe=Recipe(**{"lr": 0.05, **recipe}))


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_the_lines_train_every_group_at_its_period(name: str, drift: bool) -> None:
    tree, model = tree_named("Plain"), build("Plain")
    partition = preset(name, tree, 3)
    spec = to_spec(partition, tree)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    _, had = run(snippet(spec, config(spec, drift)), model, batches(tree, 3))
    periods = {group.name: group.period for group in partition.groups}
    for key, steps in had.items():
        assert steps == list(range(0, STEPS, periods[partition.assignment[key]])), key
        assert not torch.equal(before[key], dict(model.named_parameters())[key]), key


def test_three_groups_have_three_rhythms() -> None:
    tree, model = tree_named("Plain"), build("Plain")
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 2), GroupSpec("third", 5))
    spec = PartitionSpec(groups, (Rule("fc", "fast"), Rule("norm", "slow"), Rule("*", "third")))
    _, had = run(snippet(spec, config(spec)), model, batches(tree, 3))
    assert had["fc.weight"] == list(range(12))
    assert had["norm.weight"] == [0, 2, 4, 6, 8, 10]
    assert had["conv.weight"] == [0, 5, 10]


def test_the_lines_take_over_recipe_and_drift() -> None:
    tree = tree_named("Plain")
    spec = to_spec(preset("head", tree, 4), tree)
    wanted = {"lr": 1e-05, "momentum": 0.25, "weight_decay": 0.001}
    for drift in (True, False):
        names, _ = run(snippet(spec, config(spec, drift, **wanted)), build("Plain"), batches(tree, 3))
        group = names["optimizer"].param_groups[1]
        assert (group["name"], group["period"]) == ("slow", 4)
        assert {key: group[key] for key in wanted} == wanted
        assert names["optimizer"].defaults["drift"] is drift


RATES = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 4, 0.5, ((0.25, 1), (0.25, 2))))


def everything(**execution: Any) -> tuple[PartitionSpec, RaceConfig]:
    spec = PartitionSpec(RATES, (Rule("fc", "fast"), Rule("*", "slow")))
    recipe = Recipe(0.004, base="adamw", weight_decay=0.01)
    return spec, replace(config(spec), recipe=recipe, execution=Execution(**execution))


def test_base_rule_rates_and_schedule_are_in_the_lines() -> None:
    tree = tree_named("Plain")
    names, had = run(snippet(*everything()), build("Plain"), batches(tree, 3))
    assert isinstance(names["optimizer"], MultirateAdamW)
    assert [group["lr"] for group in names["optimizer"].param_groups] == [0.008, 0.002]
    assert [group["weight_decay"] for group in names["optimizer"].param_groups] == [0.01, 0.01]
    # k = 1 for 3 steps; at the first step of k = 2 AdamW needs a direction to hold; k = 2 until step 5, then 4.
    assert had["conv.weight"] == [0, 1, 2, 3, 5, 9]
    spec = to_spec(preset("head", tree, 3), tree)
    names, _ = run(snippet(spec, config(spec, nesterov=True)), build("Plain"), batches(tree, 3))
    assert [group["nesterov"] for group in names["optimizer"].param_groups] == [True, True]


def test_the_schedule_of_a_group_that_no_pattern_leads_to_is_left_out() -> None:
    tree, (spec, settings) = tree_named("Plain"), everything()
    empty = GroupSpec("empty", 7, phases=((1, 2),))
    lines = snippet(replace(spec, groups=(*spec.groups, empty)), settings)
    names, _ = run(lines, build("Plain"), batches(tree, 3))
    assert [group["name"] for group in names["optimizer"].param_groups] == ["fast", "slow"]


def test_ways_of_computing_are_in_the_lines() -> None:
    tree, model = tree_named("Plain"), build("Plain")
    seen: list[torch.dtype] = []
    model.get_submodule("fc").register_forward_hook(lambda *parts: seen.append(parts[2].dtype))
    run(snippet(*everything(precision="bf16", channels_last=True)), model, batches(tree, 3))
    assert set(seen) == {torch.bfloat16}
    assert model.get_parameter("conv.weight").is_contiguous(memory_format=torch.channels_last)
    assert "torch.compile(model, dynamic=False)" in snippet(*everything(compile=True))
    assert "make_lean(model, optimizer)" in snippet(*everything(memory="lean"))


def test_the_loss_falls() -> None:
    tree, model = tree_named("Plain"), build("Plain")
    spec = to_spec(preset("head", tree, 3), tree)
    x, y = batches(tree, 3)[0]
    before = nn.functional.cross_entropy(model(x), y)
    run(snippet(spec, config(spec)), model, [(x, y)] * STEPS)
    assert nn.functional.cross_entropy(model(x), y) < before / 2


def test_layer_and_group_names_with_quotes_and_markup_stay_names() -> None:
    tree, model = tree_named("OddNames"), OddNames()
    fast, slow = 'it\'s "fast" {x} \\', "slow\n'''\"\"\""
    rules = tuple(Rule(pattern, fast) for pattern in (MARKUP, "a[[]b][*][?]", "größe 1"))
    spec = PartitionSpec((GroupSpec(fast, 1), GroupSpec(slow, 4)), (*rules, Rule("*", slow)))
    _, had = run(snippet(spec, config(spec)), model, batches(tree, 3))
    partition = resolve(spec, tree)
    assert {key for key, steps in had.items() if len(steps) == STEPS} == set(partition.members(fast))
    assert {key for key, steps in had.items() if steps == [0, 4, 8]} == set(partition.members(slow))


@pytest.mark.parametrize("name", ["Nested", "SharedModule", "Frozen", "Attention", "RootOwned"])
def test_the_lines_run_on_awkward_networks(name: str) -> None:
    tree, model = tree_named(name), build(name)
    spec = to_spec(preset("head", tree, 3), tree)
    _, had = run(snippet(spec, config(spec)), model, batches(tree, 2))
    fast = resolve(spec, tree).members("fast")
    assert all(had[key] == list(range(STEPS)) for key in fast)
    slow = [steps for key, steps in had.items() if key not in fast]
    assert {tuple(steps) for steps in slow if steps} == {(0, 3, 6, 9)}


def test_the_lines_are_short_enough_to_be_read() -> None:
    tree = tree_named("Plain")
    spec = to_spec(preset("norms_biases", tree, 3), tree)
    code = snippet(spec, config(spec))
    assert len(code.splitlines()) < 30
    assert "{" in code.split("RULES")[0]  # the periods, by name
    assert code.count("import") == 2
