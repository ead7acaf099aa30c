"""The cost meter of the Explore page: measured or not, at drops and changes of k, and the layer that pulls back."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cost_cases import keep, made_up
from sessions import board, button, component, drop, glyph_tree, group_of, is_well, labels, open_app, press, read
from streamlit.testing.v1 import AppTest

from multirate_core import home
from multirate_core.config import DataConfig, Execution, RaceConfig
from multirate_core.cost import calibrate
from multirate_core.cost import request as requests
from multirate_core.data.catalog import data_shape
from multirate_core.models.catalog import model_info
from multirate_core.partition.codes import DIGITS
from multirate_core.presets import DEFAULT, RACE_PRESETS
from pages.components import resources
from pages.components.meter import panel
from pages.components.state import field_key, period_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

MEASURE = "Measure the costs"


@pytest.fixture
def measured() -> None:
    """The costs of the page's first network are known."""
    keep(first_request(), made_up(glyph_tree()))


def first_request() -> requests.CalibrationRequest:
    """The measurement that the page's first settings need."""
    preset = RACE_PRESETS[DEFAULT]
    config = RaceConfig(arms=(panel_arm(),), model=preset.model, data=preset.data, recipe=preset.recipe, device="cpu")
    return requests.request_of(config, data_shape(config.data, model_info(config.model.name)), "cpu")


def panel_arm() -> Any:
    from multirate_core.config import ArmConfig

    return ArmConfig("multirate", "multirate", panel.ANY_PARTITION)


def meter(session: AppTest) -> dict[str, Any]:
    return component(session, "meter:figures")


def speed_up(session: AppTest) -> float:
    return float(meter(session)["cells"][0]["value"].removesuffix("×"))


def messages(session: AppTest) -> str:
    return "\n".join(read(each.value) for each in (*session.caption, *session.markdown))


def with_fast(session: AppTest, *prefixes: str) -> AppTest:
    """Drop what begins so into the fast group."""
    codes = [
        DIGITS[0] if name.startswith(prefixes) else code
        for name, code in zip(group_of(session), session.session_state["codes"], strict=True)
    ]
    return drop(session, "".join(codes))


def test_without_costs_the_board_knows_the_graph_and_the_page_offers_to_measure() -> None:
    session = open_app()
    assert is_well(session) and MEASURE in labels(session)
    cost = board(session)["cost"]
    assert cost["measured"] is False and cost["nodes"] and cost["sgd_s"] == 0


def test_known_costs_stand_above_the_board_and_on_its_rows(measured: None) -> None:
    session = open_app()
    assert is_well(session) and MEASURE not in labels(session)
    values = [cell["value"] for cell in meter(session)["cells"]]
    assert re.fullmatch(r"[\d.]+×", values[0]) and values[1].endswith("an epoch")
    assert values[2] == "52 MB in tensors" and values[3].endswith("MB a step")
    assert "30 MB with lean memory" in meter(session)["cells"][2]["about"]
    cost = board(session)["cost"]
    assert cost["measured"] is True and cost["rows"]["fc"]["saved_bytes"] == 1_000_000


def test_a_drop_and_another_k_change_the_meter_and_leave_the_boards_costs_as_they_are(measured: None) -> None:
    session = open_app()
    first, cost = speed_up(session), board(session)["cost"]
    with_fast(session, "layer3.")
    more_fast = speed_up(session)
    assert more_fast < first and board(session)["cost"] == cost
    session.number_input(key=period_key("slow")).set_value(20.0).run()
    assert speed_up(session) > more_fast
    curve = meter(session)["curve"]
    assert curve["k"] == 20 and curve["speed_up"] < curve["limit"]
    assert [value for _, value in curve["points"]] == sorted(value for _, value in curve["points"])


def test_the_layer_that_pulls_gradients_back_is_named_and_a_button_moves_it(measured: None) -> None:
    session = open_app()
    assert "No single layer sends gradients far back." in messages(session)
    first = speed_up(session)
    with_fast(session, "stem.0.")
    assert "stem.0 is fast: on fast steps gradients cross 19 of 19 layers instead of 1." in messages(session)
    assert "saves" in messages(session) and speed_up(session) < first
    press(session, "Move stem.0 to slow")
    assert is_well(session) and speed_up(session) == first
    assert group_of(session)["stem.0.weight"] == "slow"


def test_the_warning_needs_no_measurement() -> None:
    session = with_fast(open_app(), "stem.0.")
    assert "Moving it to slow cuts that short." in messages(session)
    press(session, "Move stem.0 to slow")
    assert group_of(session)["stem.0.weight"] == "slow"


def test_other_settings_are_other_costs(measured: None) -> None:
    session = open_app()
    session.number_input(key=field_key("batch_size")).set_value(64.0).run()
    assert is_well(session) and MEASURE in labels(session) and board(session)["cost"]["measured"] is False
    session.number_input(key=field_key("batch_size")).set_value(16.0).run()
    assert MEASURE not in labels(session)


def test_compiled_races_are_refused_in_words(measured: None) -> None:
    session = open_app()
    session.toggle(key=field_key("compile")).set_value(True).run()
    assert is_well(session) and "a compiled network has no layers left to measure" in messages(session)


def test_a_failed_measurement_says_why_and_can_be_tried_again() -> None:
    answer = requests.answer_of(first_request())
    answer.error_path.write_text('{"error": "a forward pass failed in conv1."}', encoding="utf-8")
    session = open_app()
    assert "No costs: a forward pass failed in conv1." in messages(session)
    assert not button(session, MEASURE).disabled


@pytest.mark.usefixtures("running")
def test_a_measurement_waits_for_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(panel.VARIABLE, "auto")
    session = open_app()
    assert is_well(session) and "are measured when the race has ended" in messages(session)


def test_the_servers_owner_can_turn_the_meter_off(measured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(panel.VARIABLE, "off")
    session = open_app()
    assert is_well(session) and MEASURE not in labels(session) and board(session)["cost"]["measured"] is False


@pytest.fixture
def none_ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every measurement waits for its turn; after two seconds without a question it is unwanted."""
    monkeypatch.setattr(resources, "UNWANTED_AFTER_S", 2.0)
    with (home.home_folder() / calibrate.LOCK).open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        monkeypatch.setattr(resources._Wanted, "no_more", True)
        resources._end_unwanted()  # none is left behind


def within_a_minute(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def with_batches_of(size: int) -> requests.CalibrationRequest:
    first = first_request()
    return replace(first, recipe=replace(first.recipe, batch_size=size))


@pytest.mark.usefixtures("none_ends")
def test_a_measurement_that_no_page_waits_for_any_more_makes_room_for_the_next() -> None:
    first, second, third = (with_batches_of(size) for size in (16, 17, 18))
    assert resources.calibration(first, begin=True) is None
    assert resources.another_is_measured(second)
    within_a_minute(lambda: not resources.another_is_measured(second))
    assert resources.is_being_measured(first)  # as long as nobody wants another one
    resources.calibration(second, begin=True)
    assert not resources.is_being_measured(first) and resources.is_being_measured(second)
    assert resources.calibration(first, begin=False) is None  # as if it had not been asked for
    resources.calibration(second, begin=False)
    resources.calibration(third, begin=True)
    assert resources.is_being_measured(second)  # a page has just asked for it


@pytest.mark.usefixtures("none_ends")
def test_a_measurement_that_waits_for_its_turn_ends_the_one_that_nobody_wants() -> None:
    first, second = with_batches_of(16), with_batches_of(17)
    resources.calibration(first, begin=True)
    resources.calibration(second, begin=True)
    assert resources.is_being_measured(first) and resources.is_being_measured(second)

    def ended() -> bool:
        assert resources.calibration(second, begin=False) is None
        return not resources.is_being_measured(first)

    within_a_minute(ended)
    assert resources.is_being_measured(second)


def test_a_tab_that_asks_seldom_keeps_its_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert not resources._Wanted(now - 4, 0.1).no_more and resources._Wanted(now - 6, 1.0).no_more
    assert not resources._Wanted(now - 110, 60.0).no_more and resources._Wanted(now - 130, 60.0).no_more


def test_another_word_for_the_meter_is_refused_and_the_page_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(panel.VARIABLE, "sometimes")
    session = open_app()
    assert is_well(session) and "MULTIRATE_METER must be one of auto, ask, off, got 'sometimes'" in messages(session)
    assert board(session)["rows"]


def test_a_damaged_calibration_counts_as_none() -> None:
    requests.answer_of(first_request()).path.write_text("{", encoding="utf-8")
    session = open_app()
    assert is_well(session) and MEASURE in labels(session)


def test_texts_and_precision_belong_to_the_request() -> None:
    config = RaceConfig(arms=(panel_arm(),), data=DataConfig("digits"), execution=Execution(precision="bf16"))
    shape = data_shape(config.data, model_info(config.model.name))
    assert requests.key(requests.request_of(config, shape, "cpu")) != requests.key(first_request())


def test_costs_of_a_network_that_was_changed_since_are_not_shown() -> None:
    known = made_up(glyph_tree())
    keep(first_request(), replace(known, parameters=("other", *known.parameters[1:])))
    session = open_app()
    assert is_well(session) and "the network was changed since it was measured" in messages(session)
    assert MEASURE not in labels(session) and board(session)["cost"]["measured"] is False


def test_a_calibration_that_is_thrown_away_is_offered_anew(measured: None) -> None:
    session = open_app()
    requests.forget(first_request())
    assert MEASURE in labels(session.run())


def test_a_schedule_for_k_is_said_to_be_left_out(measured: None) -> None:
    session = open_app()
    slow = session.session_state["groups"][1]
    session.session_state["groups"] = (session.session_state["groups"][0], replace(slow, phases=((1, 2),)))
    session.run()
    assert is_well(session) and "With the periods after all schedules for k." in messages(session)
