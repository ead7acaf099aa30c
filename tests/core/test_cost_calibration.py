"""Calibrations: small networks are really measured on the CPU; damaged files are refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, replace
from typing import Any

import pytest
import torch
from calibrate_cases import shorten
from gradient_cases import Extra as ExtraTensor
from gradient_cases import InPlace, Recurrent, TiedBranches
from tiny_models import Attention, Case, Failing, Frozen, NormOnly, Plain, RootOwned, SharedModule, Tied, Tokens
from torch import Tensor, nn

from multirate_core.config import Precision, Recipe
from multirate_core.cost import assemble, measure
from multirate_core.cost.calibration import Calibration, from_json, to_json
from multirate_core.cost.clocks import Clock
from multirate_core.cost.fit import Measured, module_costs, operation_costs, sources
from multirate_core.cost.operations import BackwardCosts, OperationCost, UnitCost
from multirate_core.cost.passes import LOSS, pass_seconds, trace
from multirate_core.cost.predict import Partitioned, predict
from multirate_core.cost.subject import Subject
from multirate_core.cost.updates import FAST
from multirate_core.errors import ConfigError, ModelError
from multirate_core.layers.gradient_graph import GradientGraph, Operation, merge
from multirate_core.optim.weight_decay import base_name
from multirate_core.training.forward import Forward

Made = tuple[Calibration, Measured, list[tuple[str, float]]]


class Convolutions(nn.Sequential):
    """Blocks in a row, so that lean memory has something to compute again."""

    def __init__(self) -> None:
        super().__init__()
        rows = (nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()) for _ in range(3))
        self.body = nn.Sequential(*rows)
        self.flat = nn.Flatten()
        self.head = nn.Linear(2 * 4 * 4, 3)


class LastUnused(nn.Module):
    """What looks like the head is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.last = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.body(x))


class NothingTrains(LastUnused):
    """Its result does not hang together with its parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


NETWORKS = (
    Case(Convolutions, (2, 4, 4), ("head",)),
    Case(Attention, (5, 8), ("head",)),
    Case(RootOwned, (5, 4), ("head",)),
    Case(Tied, (6,), ("decoder",)),
    Case(TiedBranches, (4,), ("right.2",)),
    Case(SharedModule, (2, 4, 4), ("head",)),
    Case(Recurrent, (5, 3), ("head",)),
    Case(Tokens, (6,), ("head",)),
    Case(Frozen, (4,), ("head",)),
    Case(InPlace, (1, 4, 4), ("head",)),
    Case(NormOnly, (5,), ("norm",)),  # everything is head
    Case(LastUnused, (4,), ("last",)),
    Case(ExtraTensor, (4,), ("head",)),
)


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def subject_of(case: Case, recipe: Recipe | None = None, precision: Precision = "float32") -> Subject:
    recipe = recipe or Recipe(batch_size=4)
    torch.manual_seed(0)
    network = case.build().train()
    shape = (recipe.batch_size, *case.input_shape)
    inputs = torch.randint(0, 10, shape) if case.name == "Tokens" else torch.randn(shape)
    return Subject(Forward(network, precision), inputs, torch.randint(0, 2, shape[:1]), recipe)


def head_of(case: Case, subject: Subject) -> list[str]:
    """As `calibrate` finds them."""
    found = [name for name in subject.trainable if any(name.startswith(f"{path}.") for path in case.head)]
    return found or [list(subject.trainable)[-1]]


def measured(case: Case, subject: Subject, go_on: Callable[[], None] = lambda: None) -> Made:
    """The calibration, what it was made of, and what was said meanwhile."""
    parts: list[Measured] = []
    said: list[tuple[str, float]] = []

    def noting(found: Measured, names: Sequence[str]) -> tuple[OperationCost, ...]:
        parts.append(found)
        return operation_costs(found, names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "operation_costs", noting)
        made = measure.measure(subject, Clock(), head_of(case, subject), lambda *words: said.append(words), go_on)
    return made, parts[0], said


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers in nested dicts and lists."""
    if isinstance(value, dict):
        yield from numbers_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from numbers_in(each)
    elif isinstance(value, int | float):
        yield value


# Real measurements


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_a_network_is_measured_and_left_as_it_was(case: Case) -> None:
    subject = subject_of(case)
    network = subject.model
    flags = [weight.requires_grad for weight in network.parameters()]
    before = [weight.detach().clone() for weight in network.parameters()]
    made, parts, said = measured(case, subject)

    assert all(math.isfinite(number) for number in numbers_in(asdict(made)))
    plain = [asdict(replace(each, extra_s=0.0)) for each in made.operations]  # what rounds differ by may be below 0
    assert min(numbers_in([plain, asdict(made.updates), [asdict(each) for each in made.modules.values()]])) >= 0
    assert min(made.base_s, made.recompute_s, made.spread) >= 0 < min(made.sgd_step_s, made.took_s)
    assert (made.transfer_s, made.notes) == (0.0, ()) and 2 <= made.rounds <= 4
    assert from_json(to_json(made)) == made

    assert made.parameters == tuple(subject.trainable)
    assert made.numbers == tuple(weight.numel() for weight in subject.trainable.values())
    taking_part = {name for each in parts.graph.operations for name in each.parameters if name}
    assert {made.parameters[unit.unit] for each in made.operations for unit in each.units} == taking_part
    merged = merge(parts.graph)
    assert [(each.module, each.inputs) for each in made.operations] == [
        (each.module, each.inputs) for each in merged.operations
    ]
    assert made.operations[-1].module == LOSS

    plain_parts = module_costs(parts, 1.0, 1.0)
    assert sum(each.input_s + each.weight_s for each in plain_parts.values()) == pytest.approx(sum(parts.full_s))
    assert sum(each.forward_s for each in plain_parts.values()) == pytest.approx(sum(parts.kept_s.values()))
    passing, weights = (
        sum(getattr(each, name) for each in made.modules.values())
        / (sum(getattr(each, name) for each in plain_parts.values()) or 1.0)
        for name in ("forward_s", "weight_s")
    )
    assert passing > 0 and list(made.modules) == list(plain_parts)
    for path, each in module_costs(parts, passing, weights).items():  # one factor for each kind of part
        assert astuple(made.modules[path]) == pytest.approx(astuple(each))
    assert made.peaks is not None and made.peaks.sgd >= 4 * sum(weight.numel() for weight in network.parameters())

    assert [weight.requires_grad for weight in network.parameters()] == flags
    assert not any(getattr(weight, "multirate_rests", False) for weight in network.parameters())
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    for weight, old in zip(network.parameters(), before, strict=True):
        assert torch.allclose(weight, old, rtol=0, atol=1e-7)
    fractions = [fraction for _, fraction in said]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert {"tracing the network", "measuring the optimisers"} <= {text for text, _ in said}

    last = {made.parameters[-1]: "fast"}
    found = predict(made, Partitioned({"fast": 1, "slow": 5}, dict.fromkeys(made.parameters, "slow") | last))
    assert min(found.fast_step_s, found.full_step_s, found.frozen_step_s, found.sgd_step_s, found.ratio_limit) > 0


@pytest.mark.slow
def test_parameters_that_never_take_part_have_no_cost() -> None:
    case = Case(RootOwned, (5, 4), ("head",))
    made, _, _ = measured(case, subject_of(case))
    unused = {made.parameters.index(name) for name in ("unused.weight", "unused.bias")}
    assert made.backward.seconds(unused) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "passes"),
    [
        (Recipe(batch_size=4, base="adamw", weight_decay=0.01), 1),
        (Recipe(batch_size=4, momentum=0.0, clip_norm=1.0, label_smoothing=0.1), 1),
        (Recipe(batch_size=6, nesterov=True, weight_decay=0.01, decay_norms=False, accumulate=3), 3),
        (Recipe(batch_size=9, accumulate=8), 4),  # pairs: a single sample could not be normalised
    ],
)
def test_a_step_is_taken_as_the_recipe_says(recipe: Recipe, passes: int) -> None:
    case = NETWORKS[0]
    subject = subject_of(case, recipe)
    before = [weight.detach().clone() for weight in subject.model.parameters()]
    made, _, _ = measured(case, subject)
    assert subject.passes == passes
    assert all(math.isfinite(number) for number in numbers_in(asdict(made)))
    pairs = zip(subject.model.parameters(), before, strict=True)
    assert all(torch.allclose(weight, old, rtol=0, atol=1e-7) for weight, old in pairs)
    assert made.recompute_s > 0 and made.peaks is not None and made.peaks.lean is not None


@pytest.mark.slow
def test_reduced_precision_is_measured_with_every_parameter() -> None:
    case = NETWORKS[0]
    made, _, _ = measured(case, subject_of(case, precision="bf16"))
    assert {unit.unit for each in made.operations for unit in each.units} == set(range(len(made.parameters)))
    assert merge(trace(subject_of(case)).graph).reached(["head.weight"]) == ["head", LOSS]


def test_a_network_that_fails_is_told_by_the_module_that_it_reached() -> None:
    case = Case(Failing, (4,), ("fc",))
    with pytest.raises(ModelError, match="Failing on 4×4 failed in its own code: this network wants a mask"):
        measured(case, subject_of(case))
    wrong = Case(Plain, (1, 6, 6), ("fc",))
    with pytest.raises(ModelError, match=r"Plain on 4×1×6×6 failed in fc: .* cannot be multiplied"):
        measured(wrong, subject_of(wrong))
    narrow = Case(Attention, (5, 7), ("head",))
    with pytest.raises(ModelError, match="Attention on 4×5×7 failed in attention: "):
        measured(narrow, subject_of(narrow))


def test_a_network_without_gradients_is_refused_in_words() -> None:
    case = Case(NothingTrains, (4,), ("classes",))
    with pytest.raises(ModelError, match="no parameter of NothingTrains takes part in its loss"):
        measured(case, subject_of(case))


def test_a_measurement_ends_when_something_else_needs_the_device() -> None:
    calls: list[int] = []

    def go_on() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise ConfigError("a race holds the device")

    with pytest.raises(ConfigError, match="a race holds"):
        measured(NETWORKS[3], subject_of(NETWORKS[3]), go_on)


# From parts to costs


def test_costs_of_merged_operations_add_up_to_those_of_modules() -> None:
    graph = GradientGraph(
        (
            Operation("Conv", "conv", (), ("conv.weight", "conv.bias")),
            Operation("Relu", "relu", (0,), ()),
            Operation("Dropout", "relu", (1,), ()),
            Operation("Linear", "fc", (2,), ("fc.weight", "frozen")),
            Operation("Loss", LOSS, (3,), ()),
        )
    )
    parts = Measured(
        graph=graph,
        full_s=[10.0, 3.0, 2.0, 8.0, 1.0],
        through_s=[0.0, 3.0, 2.0, 5.0, 1.0],
        alone=[(0.75, 0.25), None, None, (0.3, 0.2), None],
        kept_s={"conv": 4.0, "relu": 2.0, "fc": 2.0, LOSS: 1.0},
        bare_s={"conv": 3.0, "relu": 1.5, "fc": 2.0, LOSS: 1.0},
        saved_bytes={"conv": 64},
    )
    names = ["conv.weight", "conv.bias", "fc.weight"]
    made = operation_costs(parts, names)
    assert made == (
        OperationCost("conv", (), 0.0, 1.0, (UnitCost(0, 7.5, 7.5), UnitCost(1, 2.5, 2.5))),
        OperationCost("relu", (0,), 3.0, 0.5 + 2.0, ()),
        OperationCost("fc", (1,), 5.0, 0.0, (UnitCost(2, 3 * 0.6, 8 * 0.3),)),
        OperationCost(LOSS, (2,), 1.0, 0.0, ()),
    )
    modules = module_costs(parts, 1.0, 1.0)
    assert (modules["relu"].input_s, modules["relu"].weight_s, modules["relu"].forward_s) == (5.0, 0.0, 2.0)
    assert (modules["fc"].input_s, modules["fc"].weight_s, modules["conv"].weight_s) == (5.0, 3.0, 10.0)
    assert (modules["conv"].saved_bytes, modules["fc"].saved_bytes) == (64, 0)
    passed = sum(each.input_s + each.weight_s for each in modules.values())
    prepared = sum(parts.kept_s.values()) - sum(parts.bare_s.values())
    frozen = 3 * 0.4  # nothing of it is computed in a race
    assert BackwardCosts(made).seconds({0, 1, 2}) == pytest.approx(passed + prepared - frozen)


class Chancy(nn.Module):
    """Takes another way at every other call, as with layers that are left out at random."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.body(x) if self.calls % 2 else self.body(self.body(x)))


def test_a_network_that_takes_another_way_each_time_is_refused_in_words() -> None:
    recipe = Recipe(batch_size=4)
    subject = Subject(Forward(Chancy().train()), torch.randn(4, 4), torch.zeros(4, dtype=torch.int64), recipe)
    traced = trace(subject)
    with pytest.raises(ModelError, match="another one each time"):
        pass_seconds(subject, Clock(), traced)


def test_gradients_are_passed_on_from_parameters_that_are_used_nowhere_else() -> None:
    first = Operation("EmbeddingBackward0", "embedding", (), ("tied", "own"))
    graph = GradientGraph((first, Operation("MmBackward0", "head", (0,), ("tied",))))
    assert sources(graph) == ["own"]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(batch_size=4),
        Recipe(batch_size=4, base="adamw", weight_decay=0.01, decay_norms=False),
        Recipe(batch_size=4, nesterov=True),
        Recipe(batch_size=4, momentum=0.0),
    ],
    ids=("momentum", "adamw", "nesterov", "plain"),
)
def test_a_step_with_few_gradients_stays_one_after_a_step_that_reaches_the_first_layers(recipe: Recipe) -> None:
    subject = subject_of(next(case for case in NETWORKS if case.name == "Convolutions"), recipe)
    names = list(subject.trainable)
    steps = measure._Steps(subject, names[-2:], [names[0], names[1], names[-1]])
    assert steps.far == names[:2]
    for _ in range(2):
        assert steps.sgd_s() > 0 and all(weight.requires_grad for weight in subject.trainable.values())
        assert steps.few_s() > 0
        assert {base_name(name) for name in steps.multirate.last_refreshed} == {FAST}
        assert steps.far_s() > 0
        assert {base_name(name) for name in steps.multirate.last_refreshed} == {FAST, measure.FAR}
        assert len(steps.multirate.last_refreshed) == (4 if recipe.base == "adamw" else 2)  # norms and biases apart
    steps.release()
