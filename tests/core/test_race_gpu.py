"""The race on a CUDA device: the same promises, with events in place of waits."""

from __future__ import annotations

import pytest
import torch
from race_cases import MULTIRATE, SGD, build_tiny, only, tiny_config, tiny_split

from multirate_core.config import Budget
from multirate_core.events import Evaluated, LaneClock, LaneEnded, StepsRecorded
from multirate_core.race import RaceParts, race_lanes
from multirate_core.race.partitions import resolve_partitions
from multirate_core.race.start import make_lanes
from multirate_core.training.batches import Images
from multirate_core.training.lane import train_step

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def parts_on_gpu() -> RaceParts:
    config = tiny_config(SGD, MULTIRATE, budget=Budget(seconds=1.0), device="cuda:0")
    partitions = resolve_partitions(config, build_tiny(0).module)
    return RaceParts(config, build_tiny, tiny_split(), partitions, torch.device("cuda:0"))


def test_training_and_excluded_parts_add_up_to_the_wall_time_on_the_device() -> None:
    events = list(race_lanes(parts_on_gpu(), lambda: "go"))
    for lane in (0, 1):
        clock = only(LaneClock, events, lane)[-1]
        assert clock.train_seconds + sum(clock.excluded.values()) == pytest.approx(clock.wall_seconds, rel=0.03)
        assert clock.excluded["other"] < 0.05 * clock.wall_seconds
        assert only(LaneEnded, events, lane)[0].outcome == "finished"
        assert len(only(Evaluated, events, lane)) >= 20
        assert all(seconds > 0 for part in only(StepsRecorded, events, lane) for seconds in part.step_seconds)


def test_no_step_waits_for_the_device() -> None:
    parts = parts_on_gpu()
    split = parts.split
    train = Images(split.train_images, split.train_labels, (0.5,), (0.25,), parts.device)
    assert train.resident
    data = [train.batch(torch.arange(16, device=parts.device)) for _ in range(6)]
    for lane in make_lanes(parts, 0, build_tiny(0), train):
        inputs, labels = data[0]
        train_step(lane.forward, lane.arm, inputs, labels)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")  # a hidden wait raises from here on
        try:
            for inputs, labels in data:
                assert lane.arm.due() > 0
                train_step(lane.forward, lane.arm, inputs, labels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
