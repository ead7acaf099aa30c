"""Precision, memory format, compiling and lean memory: what every arm then does, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from race_cases import CPU, FROZEN, MULTIRATE, SGD, build_tiny, only, race, tiny_config, tiny_parts, tiny_split
from torch import nn

from multirate_core.config import ArmConfig, Execution, GroupSpec, PartitionSpec, RaceConfig, Recipe, Rule
from multirate_core.errors import ConfigError, ModelError
from multirate_core.events import LaneClock, LaneEnded, PhaseChanged, StepsRecorded
from multirate_core.models.registry import BuiltModel
from multirate_core.race.partitions import resolve_partitions
from multirate_core.race.start import RaceParts, make_lanes, warm_up
from multirate_core.training import compiling
from multirate_core.training.batches import Images
from multirate_core.training.compiling import CompiledCalls, require_compiler
from multirate_core.training.forward import Forward, require_supported
from multirate_core.training.lane import Lane

pytestmark = pytest.mark.slow

ALL_ARMS = (SGD, MULTIRATE, FROZEN)


def images(channels_last: bool = False) -> Images:
    split = tiny_split()
    return Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU, channels_last)


def lanes_of(*arms: ArmConfig, recipe: Recipe | None = None, **execution: Any) -> list[Lane]:
    config = tiny_config(*arms, execution=Execution(**execution), recipe=recipe or Recipe(lr=0.02, batch_size=16))
    return make_lanes(tiny_parts(config), 0, build_tiny(0), images(config.execution.channels_last))


def seen_by_the_head(lane: Lane) -> list[tuple[torch.dtype, bool]]:
    """Watch a lane: at each forward pass the type that the head computed in, and whether it was in train mode."""
    seen: list[tuple[torch.dtype, bool]] = []
    head = lane.model.get_submodule("head")
    head.register_forward_hook(lambda module, _, out: seen.append((out.dtype, module.training)))
    return seen


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_every_arm_trains_and_is_tested_in_the_races_precision(precision: Any, dtype: torch.dtype) -> None:
    for lane in lanes_of(*ALL_ARMS, precision=precision):
        seen = seen_by_the_head(lane)
        lane.train(4, 60.0)
        lane.evaluate(images(), 16)
        assert set(seen) == {(dtype, True), (dtype, False)}
        assert {weight.dtype for weight in lane.model.parameters()} == {torch.float32}


class Block(nn.Sequential):
    """Dropout and BatchNorm inside, which must not be counted twice when a block is recomputed."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))


class WideNet(nn.Module):
    """A row of blocks with channels inside, so that the memory format shows and lean memory finds something."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.head = nn.Linear(144, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)).flatten(1))
        return logits


def wide_lanes(recipe: Recipe | None = None, **execution: Any) -> list[Lane]:
    torch.manual_seed(1)
    built = BuiltModel(WideNet(), ("head",), (0.5,), (0.25,), ())
    chosen = recipe or Recipe(lr=0.02, batch_size=16)
    config = tiny_config(*ALL_ARMS, execution=Execution(**execution), recipe=chosen)
    partitions = resolve_partitions(config, built.module)
    parts = RaceParts(config, lambda _: built, tiny_split(), partitions, CPU)
    return make_lanes(parts, 0, built, images(config.execution.channels_last))


@pytest.mark.parametrize("wanted", [True, False])
def test_every_arm_has_the_races_memory_format_before_and_after_steps(wanted: bool) -> None:
    for lane in wide_lanes(channels_last=wanted):
        kernel = lane.model.get_parameter("blocks.1.0.weight")
        lane.train(4, 60.0)
        assert kernel.is_contiguous(memory_format=torch.channels_last) == wanted
    three = torch.randint(0, 255, (6, 3, 8, 8), dtype=torch.uint8)
    inputs, _ = Images(three, torch.zeros(6, dtype=torch.int64), (0.5,), (0.25,), CPU, wanted).batch(slice(0, 4))
    assert inputs.is_contiguous(memory_format=torch.channels_last) == wanted


def test_lean_memory_changes_the_multirate_arms_only_and_no_number() -> None:
    for recipe in (None, Recipe(lr=0.02, batch_size=16, accumulate=2, clip_norm=0.5, schedule="cosine")):
        plain, lean = wide_lanes(recipe), wide_lanes(recipe, memory="lean")
        wrapped = [any("forward" in module.__dict__ for module in lane.model.modules()) for lane in lean]
        assert wrapped == [False, True, False]
        for one, other in zip(plain, lean, strict=True):
            assert list(one.train(9, 60.0).loss) == list(other.train(9, 60.0).loss)


def test_lean_memory_without_any_blocks_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"memory 'lean' does not fit this network: found no blocks .*Use 'plain'"):
        lanes_of(MULTIRATE, memory="lean")


def test_adamw_and_nesterov_change_the_losses_of_all_arms_alike() -> None:
    recipes = (Recipe(lr=0.02, batch_size=16), Recipe(lr=0.02, batch_size=16, nesterov=True))
    runs = [[list(lane.train(9, 60.0).loss) for lane in lanes_of(*ALL_ARMS, recipe=recipe)] for recipe in recipes]
    runs.append([list(lane.train(9, 60.0).loss) for lane in lanes_of(*ALL_ARMS, recipe=Recipe(0.02, base="adamw"))])
    for arm in range(3):
        assert len({tuple(run[arm]) for run in runs}) == 3


def test_what_a_device_cannot_do_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    require_supported("bf16", False, CPU)
    with pytest.raises(ConfigError, match="compile is for cpu and cuda, got mps"):
        require_compiler(torch.device("mps"))
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, and none was found"):
        require_supported("float32", True, CPU)
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    with pytest.raises(ConfigError, match=r"needs torch 2.7 or newer, got 2.6.0"):
        require_compiler(CPU)


# Compiled: the graphs are made by the backend "eager" here, which takes a moment; one test takes the real one.


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Dynamo trace as always, but run what it has traced as it is."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: real(model, backend="eager", **options))
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


THREE_SPEEDS = ArmConfig(
    "three",
    "multirate",
    PartitionSpec(
        (GroupSpec("fast", 1), GroupSpec("slow", 2), GroupSpec("third", 3)),
        (Rule("head", "fast"), Rule("body.1", "slow"), Rule("*", "third")),
    ),
)


@pytest.mark.usefixtures("quick_compiler")
def test_a_compiled_race_has_the_losses_of_the_other_and_compiling_is_no_training_time() -> None:
    arms = (SGD, MULTIRATE, FROZEN, THREE_SPEEDS)
    plain = list(race(tiny_config(*arms)))
    compiled = list(race(tiny_config(*arms, execution=Execution(compile=True))))
    for lane in range(4):
        before, after = (
            [loss for part in only(StepsRecorded, run, lane) for loss in part.loss] for run in (plain, compiled)
        )
        assert after == pytest.approx(before, rel=1e-5)
        assert only(LaneEnded, compiled, lane)[0].outcome == "finished"
        clock = only(LaneClock, compiled, lane)[-1]
        assert clock.excluded["compiling"] > clock.train_seconds
        total = clock.train_seconds + sum(clock.excluded.values())
        assert total == pytest.approx(clock.wall_seconds, rel=0.03, abs=0.02)
        assert only(LaneClock, plain, lane)[-1].excluded["compiling"] == 0.0
    phases = [event.text for event in only(PhaseChanged, compiled)]
    compiled_things = ["the test", *(arm.name for arm in arms)]
    assert phases == ["warming up", "training"] + [
        text for thing in compiled_things for text in (f"compiling {thing}", "training")
    ]


@pytest.mark.usefixtures("quick_compiler")
def test_every_lane_compiles_one_graph_per_kind_of_step_and_shape_and_no_more() -> None:
    for lane in lanes_of(SGD, MULTIRATE, FROZEN, THREE_SPEEDS, compile=True):
        before, kinds = graphs(), set()
        for step in range(12):
            lane.compile_evaluation(images(), 16)  # 90 images: the one batch of a test
            lane.evaluate(images(), 16)
            kinds.add((lane.train(1, 60.0).due[0], step % 6 == 5))  # five batches of 16 and one of 10
        assert graphs() - before == len(kinds) + 1, lane.name
        assert lane.forward.calls is not None
        assert lane.forward.calls.graphs == len(kinds) + 1


@pytest.mark.usefixtures("quick_compiler")
def test_a_batch_in_parts_needs_graphs_for_the_sizes_of_its_parts_and_has_the_same_losses() -> None:
    recipe = Recipe(lr=0.02, batch_size=16, accumulate=2, label_smoothing=0.1, clip_norm=0.5, schedule="cosine")
    plain, compiled = lanes_of(SGD, MULTIRATE, recipe=recipe), lanes_of(SGD, MULTIRATE, recipe=recipe, compile=True)
    for one, other in zip(plain, compiled, strict=True):
        before, first, second = graphs(), one.train(12, 60.0), other.train(12, 60.0)
        assert list(second.loss) == pytest.approx(list(first.loss), rel=1e-4)
        # Parts of 8 at both kinds of steps; the epoch's last batch, of two fives, comes at a fast step only.
        assert graphs() - before == {"sgd": 2, "multirate": 3}[other.name]


@pytest.mark.usefixtures("quick_compiler")
def test_compiling_leaves_weights_statistics_gradients_and_random_states_as_they_were() -> None:
    lane = lanes_of(MULTIRATE, compile=True)[0]
    lane.train(1, 60.0)  # the next kind of step is a new one
    inputs, labels = images().batch(slice(0, 16))
    before = {name: value.clone() for name, value in lane.model.state_dict().items()}
    state = torch.get_rng_state()
    assert lane._compile_step(inputs, labels) > 0.0
    assert lane._compile_step(inputs, labels) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in lane.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in lane.model.parameters())


@pytest.mark.usefixtures("quick_compiler")
def test_a_graph_that_nobody_asked_for_is_an_error_and_no_silent_eager_step() -> None:
    lane = lanes_of(SGD, compile=True)[0]
    lane.train(2, 60.0)
    lane.forward.calls._ready.add(lane.forward.calls._kind(images().batch(slice(0, 7))[0]))  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="recompile"), lane.forward.strict():
        lane.forward(images().batch(slice(0, 7))[0])


@pytest.mark.usefixtures("quick_compiler")
def test_a_network_that_breaks_into_several_graphs_is_refused() -> None:
    class Breaking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return x

    calls = CompiledCalls(Breaking())
    with pytest.raises(ModelError, match=r"Breaking cannot be compiled: .*Turn compile off"):
        calls.compile_for(torch.ones(2), lambda: calls(torch.ones(2)))


@pytest.mark.usefixtures("quick_compiler")
def test_many_lanes_of_one_architecture_have_a_limit_of_graphs_of_their_own() -> None:
    lanes = lanes_of(
        *(ArmConfig(f"arm {number}", "multirate", THREE_SPEEDS.partition) for number in range(2)), compile=True
    )
    before = graphs()
    for lane in lanes:  # taken together beyond Dynamo's usual eight graphs for one code object
        lane.train(6, 60.0)
    assert graphs() - before == 2 * 5


def test_the_warm_up_compiles_nothing() -> None:
    before = graphs()
    config: RaceConfig = tiny_config(*ALL_ARMS, execution=Execution(compile=True))
    warm_up(tiny_parts(config), build_tiny(0), images())
    assert graphs() == before


def test_the_real_compiler_races_bf16_and_channels_last() -> None:
    try:
        require_compiler(CPU)
    except ConfigError as error:
        pytest.skip(str(error))
    events = list(race(tiny_config(SGD, MULTIRATE, execution=Execution("bf16", True, True))))
    for lane in (0, 1):
        assert only(LaneEnded, events, lane)[0].outcome == "finished"
        losses = [loss for part in only(StepsRecorded, events, lane) for loss in part.loss]
        assert losses[-1] < losses[0]
        assert only(LaneClock, events, lane)[-1].excluded["compiling"] > 0.0


def test_a_forward_without_anything_is_the_model_itself() -> None:
    model = build_tiny(0).module.eval()
    inputs, _ = images().batch(slice(0, 4))
    assert torch.equal(Forward(model)(inputs), model(inputs))
