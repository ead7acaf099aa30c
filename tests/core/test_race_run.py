"""A race from its configuration: the offline network on the shipped digits, and what stops it before it begins."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from race_cases import MULTIRATE, SGD, only

from multirate_core.config import (
    ArmConfig,
    Budget,
    DataConfig,
    Execution,
    GroupSpec,
    ModelConfig,
    PartitionSpec,
    RaceConfig,
    Rule,
)
from multirate_core.errors import ConfigError, DataError, PartitionError
from multirate_core.events import EnvironmentFound, Evaluated, Event, LaneClock, LaneEnded, PhaseChanged, StepsRecorded
from multirate_core.race import engine, run

EVERYTHING_FAST = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 5)), (Rule("*", "fast"),))


def config_of(*arms: ArmConfig, **changes: Any) -> RaceConfig:
    settings: dict[str, Any] = {
        "model": ModelConfig("glyph_net", "none"),
        "data": DataConfig(train_images=40),
        "budget": Budget(epochs=1),
        "device": "cpu",
        "threads": 1,
    }
    return RaceConfig(arms=arms, **(settings | changes))


def go() -> Any:
    return "go"


@pytest.mark.slow
def test_the_offline_network_races_on_the_shipped_digits() -> None:
    threads = torch.get_num_threads()
    everything = ArmConfig("everything fast", "multirate", EVERYTHING_FAST)
    events = list(run(config_of(SGD, everything), go))
    assert [type(event) for event in events[:2]] == [PhaseChanged, PhaseChanged]
    found = only(EnvironmentFound, events)[0].values
    assert {"device", "device_name", "threads", "python", "torch", "torchvision", "multirate_explorer"} <= found.keys()
    assert (found["device"], found["threads"]) == ("cpu", "1")
    assert (found["train_images"], found["test_images"], found["steps_per_epoch"]) == ("40", "600", "2")
    assert "scikit-learn" in found["notes"]
    for lane in (0, 1):
        assert only(LaneEnded, events, lane)[0].outcome == "finished"
        assert len(only(Evaluated, events, lane)) >= 2
        assert only(LaneClock, events, lane)
    first, second = (list(only(StepsRecorded, events, lane)[0].loss) for lane in (0, 1))
    assert first == second  # period 1 everywhere is SGD
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_the_record_says_what_lean_recomputes_and_which_schedule_the_budget_cuts_off() -> None:
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 5, phases=((1, 1), (2, 2))))
    spec = PartitionSpec(groups, (Rule("fc", "fast"), Rule("*", "slow")))
    arm = ArmConfig("multirate", "multirate", spec)
    race = config_of(arm, execution=Execution(memory="lean"), budget=Budget(epochs=3))
    notes = only(EnvironmentFound, list(run(race, go)))[0].values["notes"]
    assert "schedule of the group slow takes 3 epochs and the budget is 3: it never gets to k = 5" in notes
    assert "Lean: 2 blocks, layer1 to layer2, are computed again" in notes
    longer = dataclasses.replace(race, budget=Budget(epochs=4), execution=Execution())
    notes = only(EnvironmentFound, list(run(longer, go)))[0].values["notes"]
    assert "schedule" not in notes and "Lean" not in notes


@pytest.mark.parametrize(
    ("config", "error", "named"),
    [
        (config_of(SGD, device="cuda:77"), ConfigError, "cuda:77"),
        (config_of(SGD, MULTIRATE), PartitionError, "'head'"),  # a pattern for another network
        (config_of(SGD, data=DataConfig("folder", path="/no/such/folder")), DataError, "/no/such/folder"),
        (config_of(SGD, data=DataConfig("fashion_mnist", path="/no/such/place")), DataError, "/no/such/place"),
        (config_of(SGD, data=DataConfig(train_images=3)), DataError, "train_images"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(
    config: RaceConfig, error: type[Exception], named: str
) -> None:
    events: list[Event] = []
    with pytest.raises(error, match=named):
        events.extend(run(config, go))
    assert not only(StepsRecorded, events)


@pytest.mark.slow
def test_a_long_loading_is_told_about_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def load_slowly(*_args: Any, say: Any, **_options: Any) -> None:
        say("reading")
        stopped.wait(60)  # a race that waits for its data never sets it
        say("read")

    monkeypatch.setattr(engine.data_registry, "load", load_slowly)
    calls = iter(["go", "go", "go"])
    events: Iterator[Event] = run(config_of(SGD), lambda: next(calls, "stop"))  # type: ignore[arg-type, return-value]
    texts = [event.text for event in events if isinstance(event, PhaseChanged)]
    stopped.set()
    assert "reading" in texts and "read" not in texts
