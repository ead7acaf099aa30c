"""The Explore page: starting a race and following it."""

from __future__ import annotations

import time

import pytest
from plot_races import config
from sessions import (
    FOLDERS,
    address,
    button,
    component,
    is_well,
    labels,
    open_app,
    press,
    race_count,
    read,
    record,
    said,
    stored,
)

from multirate_core import home
from multirate_core import store as races
from multirate_core.backends.local_process import LocalProcess
from multirate_core.config import Budget, DataConfig, ModelConfig, RaceConfig, Recipe
from multirate_core.errors import StoreError
from multirate_core.store.queue import set_paused
from pages.components.state import field_key, period_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def waiting_race() -> RaceConfig:
    """The configuration of the race that was submitted last."""
    with races.open_store(home.store_path()) as store:
        newest = races.list_races(store)[0]
    assert newest.state == "queued"
    return newest.config


# Starting


def test_every_setting_reaches_the_race_that_is_submitted(running: str) -> None:
    session = open_app(
        dev="cpu", w="none", nt="100", px="0", bad="skip", th="3", n="2", drift="0", mom="0.5", wd="0.01"
    )
    session.number_input(key=field_key("lr")).set_value(0.125)
    session.number_input(key=field_key("batch_size")).set_value(16)
    session.button_group(key=field_key("arms")).set_value(["frozen", "multirate"])
    session.button_group(key=field_key("budget")).set_value("seconds")
    session.number_input(key=period_key("slow")).set_value(4)
    session.text_input(key="in:pin").set_value("ours")
    press(session, "Pin this partition")
    session.number_input(key=field_key("seconds")).set_value(12.5)
    session.button(key="preset:all_fast").click().run()
    press(session, "Race")
    assert is_well(session)
    submitted = waiting_race()
    assert submitted.model == ModelConfig("glyph_net", "none")
    assert submitted.data == DataConfig("digits", train_images=100, bad_images="skip")
    assert submitted.recipe == Recipe(0.125, 0.5, 0.01, 16)
    assert (submitted.budget, submitted.seeds) == (Budget(seconds=12.5), (0, 1))
    assert (submitted.device, submitted.threads) == ("cpu", 3)
    assert [(arm.name, arm.kind) for arm in submitted.arms] == [
        ("frozen", "frozen"), ("multirate", "multirate"), ("ours", "multirate")
    ]  # fmt: skip
    assert not any(arm.drift for arm in submitted.arms)
    fast = {arm.name: [rule.pattern for rule in arm.partition.rules if rule.group == "fast"] for arm in submitted.arms}
    assert fast == {"frozen": ["*"], "multirate": ["*"], "ours": ["fc"]}
    assert {group.period for arm in submitted.arms for group in arm.partition.groups} == {1, 4}


def test_settings_hold_while_their_part_of_the_page_is_folded_and_are_in_the_race(running: str) -> None:
    session = open_app(dev="cpu", lr="0.5", drift="0")
    session.number_input(key=field_key("seeds")).set_value(3).run()
    for folder in FOLDERS:
        session.session_state[folder] = False
    session.run()
    assert is_well(session)
    assert not session.code
    assert field_key("lr") not in [each.key for each in session.number_input]
    press(session, "Race")
    raced = waiting_race()
    assert (raced.recipe.lr, len(raced.seeds), raced.arms[1].drift) == (0.5, 3, False)
    session.session_state["in:more_settings"] = True
    session.run()
    assert session.number_input(key=field_key("lr")).value == 0.5
    assert session.number_input(key=field_key("seeds")).value == 3


def test_a_race_behind_another_waits_says_so_and_can_leave_the_queue(running: str) -> None:
    session = press(open_app(dev="cpu"), "Race")
    assert is_well(session)
    (race_id,) = address(session)["race"]
    assert race_id != running
    assert "Waiting for cpu: number 1 in the queue" in read(session.get("progress")[0].proto.text)
    press(session, "Leave the queue")
    assert is_well(session)
    assert stored(race_id).outcome == "stopped"
    assert "Leave the queue" not in labels(session.run())


def test_a_full_queue_is_said_and_nothing_is_submitted(running: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIRATE_MAX_QUEUED", "0")
    session = press(open_app(dev="cpu"), "Race")
    assert is_well(session)
    assert "this server allows 0" in said(session)
    assert "race" not in address(session)
    assert race_count() == 1


def test_a_device_that_this_machine_has_not_is_said(running: str) -> None:
    session = press(open_app(dev="cuda:7"), "Race")
    assert is_well(session)
    assert "this machine has no device 'cuda:7'" in said(session)
    assert race_count() == 1


@pytest.mark.slow
def test_a_race_that_is_pressed_really_trains_and_ends_with_a_result_card() -> None:
    session = press(open_app(dev="cpu", th="1", w="none", nt="64", bs="16", e="1"), "Race")
    assert is_well(session)
    (race_id,) = address(session)["race"]
    deadline = time.monotonic() + 100
    while stored(race_id).state != "ended" and time.monotonic() < deadline:
        time.sleep(0.2)
    row = stored(race_id)
    assert (row.outcome, row.message) == ("finished", "")
    session.run()
    assert is_well(session)
    assert any("one run: no verdict" in read(each.value) for each in session.markdown)
    assert component(session, "plots")["figure"] is not None
    with races.open_store(home.store_path()) as store:
        assert [lane.steps for lane in races.lanes(store, race_id)] == [4, 4]


# Following


def test_a_running_race_shows_progress_and_can_be_paused_resumed_and_stopped(running: str) -> None:
    session = open_app(race=running)
    assert is_well(session)
    progress = session.get("progress")[0].proto
    assert progress.value == 25
    assert "on cpu, about 1 min 20 s left" in read(progress.text)
    press(session, "Pause")
    assert stored(running).request == "pause"
    press(session, "Resume")
    assert stored(running).request is None
    with races.open_store(home.store_path()) as store:
        set_paused(store, running)
    assert "Resume" in labels(session.run())
    assert "Paused. After two minutes cpu" in read(session.get("progress")[0].proto.text)
    press(session, "Stop")
    assert is_well(session)
    assert stored(running).request == "stop"
    assert button(session, "Stopping …").disabled


def test_a_request_that_fails_is_said_beside_the_buttons_until_the_next_one(
    running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError(f"the store is locked {MARKUP}")

    session = open_app(race=running)
    with monkeypatch.context() as patch:
        patch.setattr(LocalProcess, "request", refuse)
        press(session, "Pause")
    for _ in range(2):  # the next refresh, a second later, still shows it
        assert is_well(session)
        assert said(session).count(f"the store is locked {MARKUP}") == 1
        session.run()
    assert not session.session_state["problems"]  # which only a full run of the page would show
    press(session, "Pause")
    assert "the store is locked" not in said(session)


def test_a_store_that_fails_while_the_result_is_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the store is locked")

    race_id = record(config())
    monkeypatch.setattr(races, "evaluations", fail)
    session = open_app(race=race_id)
    assert is_well(session)
    assert said(session).count("the store is locked") == 1
    assert component(session, "plots")["figure"] is not None


def test_the_curves_are_on_the_page_while_the_race_runs(running: str) -> None:
    session = open_app(race=running)
    assert component(session, "plots")["figure"] is not None
    before = component(session, "plots")
    session.button_group(key=field_key("axis")).set_value("epochs").run()
    assert is_well(session)
    assert address(session)["x"] == ["epochs"]
    assert component(session, "plots") != before


def test_the_end_of_a_race_brings_the_result_card_without_a_reload(running: str) -> None:
    session = open_app(race=running)
    with races.open_store(home.store_path()) as store:
        races.finish(store, running, "finished")
    session.run()
    assert is_well(session)
    assert not {"Pause", "Stop"} & set(labels(session))
    assert any("multirate and sgd" in read(each.value) for each in session.markdown)


@pytest.mark.parametrize("outcome", ["failed", "lost", "out_of_memory", "diverged"])
def test_how_a_race_went_wrong_is_said_as_text_and_its_curves_stay(outcome: str) -> None:
    session = open_app(race=record(config(), outcome=outcome, message=f"The folder {MARKUP} holds one class."))
    assert is_well(session)
    assert f"The folder {MARKUP} holds one class." in said(session)
    assert not any("<img" in each.value.replace("\\<img", "") for each in session.error)
    assert component(session, "plots")["figure"] is not None
    assert not button(session, "Race").disabled
