"""The shared cache of curves against a real store that is written to meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from plot_races import Recorder, config, recorders

from multirate_core import store as races
from multirate_core.errors import RaceNotFoundError
from multirate_core.store import StepColumns
from pages.components.plots import curves as curves_module
from pages.components.plots.buckets import BucketColumns, Buckets, thinned, trailing_mean
from pages.components.plots.curves import RECENT_STEPS, race_curves
from pages.components.plots.live_plot import _race_payload


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> races.Store:
    monkeypatch.setattr(curves_module, "FRESH_S", 0.0)
    with races.open_store(tmp_path / "races.sqlite3") as opened:
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What was asked of the store: (lane, first step)."""
    asked: list[tuple[int, int]] = []
    original = races.steps_since

    def noting(store: races.Store, race: str, lane: int, step: int = 0) -> StepColumns:
        asked.append((lane, step))
        return original(store, race, lane, step)

    monkeypatch.setattr(races, "steps_since", noting)
    return asked


def steps(count: int, first: int = 0, seed: int = 0) -> StepColumns:
    random = np.random.default_rng([seed, first])
    number = first + np.arange(count)
    return StepColumns(
        first,
        (number + 1) * 0.01,
        random.random(count).astype("f4"),
        random.uniform(0.005, 0.01, count).astype("f4"),
        np.where(number % 5 == 0, 3, 1).astype("u8"),
    )


def joined(parts: list[StepColumns]) -> StepColumns:
    names = ("train_seconds", "loss", "step_seconds", "due")
    return StepColumns(0, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def same(one: BucketColumns, other: BucketColumns) -> bool:
    return all(np.allclose(a, vars(other)[name]) for name, a in vars(one).items())


@pytest.mark.parametrize("sizes", [[1] * 37, [5, 11, 21], [100, 1, 400, 3], [8, 8, 8, 8, 1], [1000]])
def test_steps_in_pieces_make_the_same_buckets_as_all_at_once(sizes: list[int]) -> None:
    pieces = [steps(size, sum(sizes[:i])) for i, size in enumerate(sizes)]
    whole, grown = Buckets(8), Buckets(8)
    whole.append(joined(pieces))
    for piece in pieces:
        grown.append(piece)
    assert same(whole.columns(), grown.columns())


def test_no_bucket_is_lost_and_no_spike_is_smoothed_away() -> None:
    columns = steps(100_000)
    columns.loss[77_777] = 50.0
    buckets = Buckets(500)
    buckets.append(columns)
    shown = buckets.columns()
    assert 250 <= len(shown.steps) <= 500
    assert shown.steps.sum() == 100_000
    assert shown.loss_high.max() == 50.0
    assert shown.loss_low.min() == columns.loss.min()
    assert shown.loss.sum() == pytest.approx(columns.loss.sum(dtype="f8"))
    assert shown.full_steps.sum() == 20_000


def test_as_long_as_there_is_room_every_step_is_a_bucket() -> None:
    columns = steps(20)
    buckets = Buckets(32)
    buckets.append(columns)
    shown = buckets.columns()
    assert np.array_equal(shown.loss, columns.loss)
    assert shown.train_seconds == pytest.approx(columns.train_seconds)
    assert shown.step.tolist() == list(range(1, 21))


def test_thinned_buckets_hold_the_same_steps() -> None:
    buckets = Buckets(400)
    buckets.append(steps(397))
    few = thinned(buckets.columns(), 50)
    assert len(few.steps) <= 50
    assert few.steps.sum() == 397
    assert few.step[0] == 4.5  # the mean of steps 1 to 8
    assert few.loss_high.max() == buckets.columns().loss_high.max()


def test_a_trailing_mean_is_weighted_and_leaves_out_what_is_not_finite() -> None:
    sums, counts = np.array([2.0, np.nan, 6.0, 0.0]), np.array([1.0, 1.0, 2.0, 0.0])
    assert trailing_mean(sums, counts, 2).tolist() == [2.0, 2.0, 3.0, 3.0]
    assert np.isnan(trailing_mean(np.zeros(2), np.zeros(2), 5)).all()


def test_only_new_steps_are_read_from_the_store(store: races.Store, reads: list[tuple[int, int]]) -> None:
    race = races.submit(store, config())
    sgd, multirate = recorders(store, race)
    sgd.take(30)
    race_curves(race, store.path)
    sgd.take(12)
    multirate.take(7)
    curves = race_curves(race, store.path)
    race_curves(race, store.path)
    assert reads == [(0, 0), (0, 30), (1, 0)]
    assert [lane.recorded for lane in curves.lanes] == [42, 7]


def test_curves_equal_what_the_store_holds(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[1]
    for count in (3, 60, 41):
        recorder.take(count)
        race_curves(race, store.path)
    lane = race_curves(race, store.path).lanes[1]
    held = races.steps_since(store, race, 1)
    assert lane.buckets.loss == pytest.approx(held.loss)
    assert np.array_equal(lane.due, held.due)
    assert lane.evaluations.step.tolist() == [50, 100]
    assert [(group.name, group.period) for group in lane.groups] == [("fast", 1), ("slow", 5)]


def test_nothing_new_gives_the_same_object_so_that_tabs_share_one_drawing(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[0]
    recorder.take(10)
    first, again = race_curves(race, store.path), race_curves(race, store.path)
    assert again is first
    assert _race_payload((("", first),), "seconds") is _race_payload((("", again),), "seconds")
    recorder.take(10)
    after = race_curves(race, store.path)
    assert after is not first
    assert after.lanes[1] is first.lanes[1]
    assert first.lanes[0].recorded == 10  # what was returned does not change


def test_tabs_that_ask_at_once_share_one_reading(
    store: races.Store, reads: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves_module, "FRESH_S", 60.0)
    race = races.submit(store, config())
    recorders(store, race)[0].take(500)
    seen: list[object] = []
    tabs = [threading.Thread(target=lambda: seen.append(race_curves(race, store.path))) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1
    assert reads == [(0, 0)]


def test_a_lane_that_ends_is_news_even_without_a_step(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[0]
    recorder.take(10)
    assert race_curves(race, store.path).lanes[0].outcome is None
    recorder.end("diverged")
    assert race_curves(race, store.path).lanes[0].outcome == "diverged"


def test_a_race_that_records_no_steps_still_has_its_evaluations(
    store: races.Store, reads: list[tuple[int, int]]
) -> None:
    race = races.submit(store, config(record_steps=False))
    recorder = Recorder(store, race, 0, 1)
    races.record(store, race, [recorder._tested(50, 0.4), recorder._tested(100, 0.8)])
    lane = race_curves(race, store.path).lanes[0]
    assert (lane.recorded, lane.evaluations.step.tolist()) == (0, [50, 100])
    assert reads == []


def test_the_gradients_of_the_last_steps_are_kept_and_no_more(store: races.Store) -> None:
    race = races.submit(store, config())
    recorder = recorders(store, race)[1]
    for count in (400, 401):
        recorder.take(count)
        race_curves(race, store.path)
    lane = race_curves(race, store.path).lanes[1]
    assert len(lane.due) == RECENT_STEPS
    assert lane.due.tolist() == races.steps_since(store, race, 1).due[-RECENT_STEPS:].tolist()


def test_a_deleted_race_is_not_remembered(store: races.Store) -> None:
    race = races.submit(store, config())
    recorders(store, race)[0].take(10)
    race_curves(race, store.path)
    races.finish(store, race, "stopped")
    races.delete_race(store, race)
    with pytest.raises(RaceNotFoundError):
        race_curves(race, store.path)
    assert (race, store.path) not in curves_module._recordings
