"""The store keeps what it is told: configurations, curves, outcomes; and says in words when it cannot."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scripted_engine import ARMS, scripted, steps

from multirate_core import schema, store
from multirate_core.config import DataConfig, ModelConfig, RaceConfig
from multirate_core.errors import ConfigError, RaceNotFoundError, StoreError
from multirate_core.events import EnvironmentFound, Evaluated, LaneClock, LaneEnded, PhaseChanged, Progress
from multirate_core.store import Store
from multirate_core.store.ending import COMPACT_STEPS
from multirate_core.store.races import count_races


def test_a_submitted_configuration_comes_back_equal(opened: Store) -> None:
    config = scripted(name="folder")
    race = store.get_race(opened, store.submit(opened, config))
    assert race.config == config
    assert (race.state, race.outcome, race.device, race.queue_position) == ("queued", None, None, 1)
    assert [(lane.lane, lane.seed, lane.arm) for lane in store.lanes(opened, race.id)] == [
        (0, 0, "SGD"),
        (1, 0, "multirate"),
    ]


def test_a_race_of_another_version_is_named_and_hides_no_other(opened: Store) -> None:
    foreign, own = store.submit(opened, scripted()), store.submit(opened, scripted())
    opened.connection.execute("UPDATE races SET config = '[]' WHERE id = ?", (foreign,))
    assert [race.id for race in store.list_races(opened)] == [own]
    assert list(store.unreadable_races(opened)) == [foreign]
    assert "RaceConfig must be an object" in store.unreadable_races(opened)[foreign]
    with pytest.raises(ConfigError, match="RaceConfig must be an object"):
        store.get_race(opened, foreign)


def test_ids_are_short_url_safe_and_different(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", "1000")
    ids = {store.submit(opened, scripted()) for _ in range(100)}
    assert len(ids) == 100
    assert all(len(race_id) == 10 and race_id.isalnum() and race_id.isascii() for race_id in ids)


def test_an_unknown_id_is_told_as_such_even_if_it_is_hostile(opened: Store) -> None:
    with pytest.raises(RaceNotFoundError, match="no race 'nothing'"):
        store.get_race(opened, "nothing")
    with pytest.raises(RaceNotFoundError) as caught:
        store.get_race(opened, "'; DROP TABLE races; --" + "x" * 10_000)
    assert len(str(caught.value)) < 200
    assert store.list_races(opened) == []


def test_steps_come_back_as_they_were_recorded(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    store.record(opened, race_id, [steps(0, 0, 7), steps(1, 0, 3), steps(0, 7, 5)])
    store.record(opened, race_id, [steps(0, 12, 4)])
    columns = store.steps_since(opened, race_id, 0)
    assert columns.first_step == 0
    np.testing.assert_array_equal(columns.train_seconds, (np.arange(16) + 1) / 100)
    np.testing.assert_allclose(columns.loss, 1 / (np.arange(16) + 1), rtol=1e-6)
    assert columns.due.tolist() == [3 if i % 5 == 0 else 1 for i in range(16)]
    assert columns.due.dtype == np.uint64
    assert len(store.steps_since(opened, race_id, 1)) == 3
    assert [lane.steps for lane in store.lanes(opened, race_id)] == [16, 3]


@pytest.mark.parametrize("since", [0, 1, 6, 7, 11, 12, 15, 16, 17])
@pytest.mark.parametrize("compacted", [False, True])
def test_reading_from_a_step_on_gives_exactly_the_newer_ones(opened: Store, since: int, compacted: bool) -> None:
    race_id = store.submit(opened, scripted())
    for first, count in ((0, 7), (7, 5), (12, 4)):
        store.record(opened, race_id, [steps(0, first, count)])
    if compacted:
        store.finish(opened, race_id, "finished")
        store.compact(opened, race_id)
    columns = store.steps_since(opened, race_id, 0, since)
    assert columns.first_step == since
    np.testing.assert_array_equal(columns.train_seconds, (np.arange(since, 16) + 1) / 100)


def test_compacting_joins_chunks_and_changes_nothing_that_is_read(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    length = COMPACT_STEPS + 100
    for first in range(0, length, 1000):
        store.record(opened, race_id, [steps(0, first, min(1000, length - first))])
    before = store.steps_since(opened, race_id, 0)
    store.finish(opened, race_id, "finished")
    assert store.compact(opened, race_id) == 2
    after = store.steps_since(opened, race_id, 0)
    for field in dataclasses.fields(before):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_a_gap_in_the_steps_is_refused_and_the_whole_batch_with_it(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    with pytest.raises(StoreError, match="step 6 does not follow"):
        store.record(opened, race_id, [PhaseChanged("training"), steps(0, 0, 5), steps(0, 6, 1)])
    assert len(store.steps_since(opened, race_id, 0)) == 0
    assert store.get_race(opened, race_id).phase == ""


def test_every_kind_of_event_is_read_back(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    tested = [Evaluated(0, 0, 0.0, 0.0, 0.1, 2.3, "start"), Evaluated(0, 9, 1.0, 0.09, 0.9, 0.3, "epoch")]
    clock = LaneClock(0, 2.0, 0.09, {"evaluation": 1.5, "loading": 0.41})
    ended = LaneEnded(0, "diverged", "the loss is not finite at step 9", 9, 1.0, 0.09)
    told = [PhaseChanged("loading data"), EnvironmentFound({"device": "cpu"}), EnvironmentFound({"torch": "2"})]
    store.record(opened, race_id, [*told, *tested, clock, ended, Progress(0.25, 12.0)])
    race = store.get_race(opened, race_id)
    assert (race.phase, race.fraction, race.seconds_left) == ("loading data", 0.25, 12.0)
    assert race.environment == {"device": "cpu", "torch": "2"}
    assert store.evaluations(opened, race_id) == tested
    lane = store.lanes(opened, race_id)[0]
    assert (lane.outcome, lane.message, lane.steps) == ("diverged", "the loss is not finite at step 9", 9)
    assert lane.clock == {"wall": 2.0, "training": 0.09, "evaluation": 1.5, "loading": 0.41}
    assert [text for _, text in store.phases(opened, race_id)] == ["loading data"]


def test_a_text_with_bytes_that_are_no_unicode_is_written_with_their_numbers(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    name, readable = "caf\udce9.jpg", "caf\\udce9.jpg"
    ended = LaneEnded(0, "failed", name, 0, 0.0, 0.0)
    store.record(opened, race_id, [PhaseChanged(name), EnvironmentFound({"notes": name}), ended])
    store.finish(opened, race_id, "failed", name, f"Traceback: {name}")
    race = store.get_race(opened, race_id)
    assert (race.phase, race.environment["notes"], race.message) == (readable, readable, readable)
    assert race.traceback == f"Traceback: {readable}"
    assert store.lanes(opened, race_id)[0].message == readable
    assert [text for _, text in store.phases(opened, race_id)] == [readable]
    assert store.list_races(opened, name) == []
    with pytest.raises(RaceNotFoundError):
        store.get_race(opened, name)


def test_a_configuration_that_would_not_come_back_equal_is_refused_in_words(opened: Store) -> None:
    config = RaceConfig(arms=ARMS, data=DataConfig("folder", path="/images/caf\udce9"), device="cpu")
    with pytest.raises(ConfigError, match=r"/images/caf\\udce9 is not valid Unicode"):
        store.submit(opened, config)
    assert store.list_races(opened) == []


def test_steps_bring_the_epochs_of_their_lane_along(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    tested = Evaluated(0, 7, 7 / 47, 0.07, 0.5, 1.0, "mark")
    store.record(opened, race_id, [dataclasses.replace(steps(0, 0, 7), epochs=7 / 47), tested])
    store.record(opened, race_id, [dataclasses.replace(steps(0, 7, 4), epochs=11 / 47)])
    store.finish(opened, race_id, "lost", "killed")
    lane = store.lanes(opened, race_id)[0]
    assert (lane.steps, lane.epochs) == (11, pytest.approx(11 / 47))


def test_losses_that_are_not_finite_survive_and_the_summary_leaves_them_out(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    store.record(opened, race_id, [Evaluated(0, 5, 1.0, 0.1, 0.1, math.nan, "end")])
    store.record(opened, race_id, [Evaluated(1, 5, 1.0, 0.1, 0.1, math.inf, "end")])
    losses = [tested.loss for tested in store.evaluations(opened, race_id)]
    assert math.isnan(losses[0])
    assert losses[1] == math.inf
    store.finish(opened, race_id, "finished")
    summary = store.get_race(opened, race_id).summary
    assert summary is not None
    assert [lane["final_loss"] for lane in summary["lanes"]] == [None, None]


def test_an_ended_race_has_a_summary_and_takes_no_more_events(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    store.record(opened, race_id, [steps(0, 0, 5), Evaluated(0, 5, 1.0, 0.05, 0.75, 0.5, "end")])
    assert store.finish(opened, race_id, "stopped", "enough seen")
    assert not store.finish(opened, race_id, "finished")
    race = store.get_race(opened, race_id)
    assert (race.state, race.outcome, race.message) == ("ended", "stopped", "enough seen")
    assert race.summary is not None
    first = race.summary["lanes"][0]
    assert (first["arm"], first["steps"], first["final_accuracy"], first["outcome"]) == ("SGD", 5, 0.75, "stopped")
    with pytest.raises(StoreError, match="has ended"):
        store.record(opened, race_id, [steps(0, 5, 1)])


def test_races_are_found_by_model_data_arm_id_and_outcome(opened: Store) -> None:
    one = store.submit(opened, RaceConfig(arms=ARMS, model=ModelConfig("resnet18", "none"), device="cpu"))
    two = store.submit(opened, RaceConfig(arms=ARMS[:1], data=DataConfig("folder", path="/images/ants_bees")))
    store.finish(opened, one, "diverged")

    def found(text: str) -> list[str]:
        return [race.id for race in store.list_races(opened, text)]

    assert found("") == [two, one]
    assert found("ResNet18") == found("multirate") == found("diverged") == found("resnet18 diverged") == [one]
    assert found("ants_bees") == found(two) == found("queued") == [two]
    assert found("resnet18 folder") == found("100%") == found("ants%bees") == []
    assert len(store.list_races(opened, limit=1)) == 1
    assert [count_races(opened, text) for text in ("", "resnet18", "100%")] == [2, 1, 0]


def test_only_an_ended_race_is_deleted_with_everything_that_belongs_to_it(opened: Store) -> None:
    race_id = store.submit(opened, scripted())
    log = store.log_path(opened, race_id)
    log.parent.mkdir()
    log.write_text("said something", encoding="utf-8")
    store.record(opened, race_id, [steps(0, 0, 5), PhaseChanged("x"), Evaluated(0, 5, 1.0, 0.1, 0.1, 1.0, "end")])
    with pytest.raises(StoreError, match="Stop it first"):
        store.delete_race(opened, race_id)
    store.finish(opened, race_id, "finished")
    store.delete_race(opened, race_id)
    with pytest.raises(RaceNotFoundError):
        store.get_race(opened, race_id)
    for table in ("lanes", "step_chunks", "evaluations", "phases"):
        assert opened.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert not log.exists()


@pytest.mark.parametrize(
    ("wanted", "devices", "candidates"),
    [
        ("auto", ("cuda:0", "cuda:1", "cpu"), ("cuda:0", "cuda:1")),
        ("cuda", ("cuda:0", "cuda:1", "cpu"), ("cuda:0", "cuda:1")),
        ("cuda:1", ("cuda:0", "cuda:1", "cpu"), ("cuda:1",)),
        ("auto", ("mps", "cpu"), ("mps",)),
        ("auto", ("cpu",), ("cpu",)),
        ("cpu", ("cuda:0", "cpu"), ("cpu",)),
    ],
)
def test_a_device_setting_becomes_the_devices_that_would_do(
    wanted: str, devices: tuple[str, ...], candidates: tuple[str, ...]
) -> None:
    assert store.candidate_devices(wanted, devices) == candidates


def test_a_device_that_the_machine_lacks_is_refused_with_those_it_has(opened: Store) -> None:
    with pytest.raises(ConfigError, match=r"no device 'cuda:3'; it has: cuda:0, cpu"):
        store.submit(opened, scripted(device="cuda:3"), devices=("cuda:0", "cpu"))


def test_the_store_is_usable_without_torch() -> None:
    names = ", ".join(f"multirate_core.{part}" for part in ("store", "backends", "worker", "machine"))
    code = f"import sys, {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(schema.__file__).parents[1])
