"""The Explore page: coming back to a race by its address, whatever became of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plot_races import config, partition
from sessions import (
    address,
    button,
    component,
    drop,
    groups,
    in_group,
    is_well,
    open_app,
    parameters,
    read,
    record,
    reopened,
    said,
)

from multirate_core import home
from multirate_core import store as races
from multirate_core.config import ArmConfig, Budget, ModelConfig, RaceConfig, Recipe
from pages.components import tree_source
from pages.components.state import field_key, period_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

MARKUP = "<img src=x onerror=alert(1)>"
PINNED = ArmConfig("the third", "multirate", partition(20))


def test_an_address_with_only_a_race_restores_settings_board_and_arms_and_shows_the_card() -> None:
    race_id = record(replace(config(period=9), recipe=Recipe(lr=0.25), budget=Budget(seconds=3.0)))
    session = open_app(race=race_id)
    assert is_well(session)
    assert not session.warning
    assert session.number_input(key=field_key("lr")).value == 0.25
    assert session.number_input(key=field_key("seconds")).value == 3.0
    assert (groups(session)["slow"], in_group(session, "fast")) == (9, ["fc.weight", "fc.bias"])
    assert any("multirate and sgd" in read(each.value) for each in session.markdown)
    assert address(session)["lr"] == ["0.25"]


@pytest.mark.parametrize("opened", ["by its address", "from the Runs page"])
def test_a_reload_while_the_layers_of_a_restored_race_are_read_restores_all_of_it(
    opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_app()
    race_id = record(replace(config(period=9), recipe=Recipe(lr=0.25)))
    with monkeypatch.context() as patch:
        patch.setattr(tree_source, "layer_tree", lambda _: None)
        if opened == "by its address":
            session = open_app(race=race_id)
        else:
            session.session_state["race"] = race_id
            session.session_state["restore"] = True  # calls `state.open_race`, as that page does
            session.run()
        assert "Reading the layers of this network" in said(session)
        assert address(session) == {"race": [race_id]}
    for each in (reopened(session), session.run()):
        assert is_well(each)
        assert (groups(each)["slow"], in_group(each, "fast")) == (9, ["fc.weight", "fc.bias"])
        assert set(address(each)) >= {"p", "lr", "race"}


def test_arms_with_names_of_their_own_come_back_as_pins_and_older_pins_go() -> None:
    arms = (ArmConfig("sgd", "sgd"), PINNED, replace(PINNED, name="the-third"))
    with races.open_store(home.store_path()) as store:
        race_id = races.submit(store, RaceConfig(arms), attend=True)
        races.finish(store, race_id, "stopped")
    session = open_app(race=race_id)
    assert is_well(session)
    assert list(session.session_state["pins"]) == ["the third", "the-third"]
    assert session.session_state["in:arms"] == ["sgd"]
    assert not button(session, "Race").disabled


def test_an_address_with_a_race_and_settings_keeps_the_settings() -> None:
    race_id = record(config(period=9))
    session = open_app(race=race_id, e="3")
    assert is_well(session)
    assert session.number_input(key=field_key("epochs")).value == 3
    assert groups(session)["slow"] == 5
    assert any("multirate and sgd" in read(each.value) for each in session.markdown)


def test_what_is_changed_after_a_race_was_opened_does_not_snap_back() -> None:
    session = open_app(race=record(config(period=9)))
    drop(session, "0" * len(parameters(session)))
    session.number_input(key=period_key("slow")).set_value(2).run()
    assert (groups(session)["slow"], in_group(session, "slow")) == (2, [])
    assert groups(session.run())["slow"] == 2


@pytest.mark.parametrize("race_id", ["UNKNOWN", "abcdefghij"])
def test_an_unknown_race_is_said_and_the_page_is_usable(race_id: str) -> None:
    session = open_app(race=race_id)
    assert is_well(session)
    assert said(session).count(f"there is no race {race_id!r}") == 1
    assert said(session).count("It may have been deleted") == 1
    assert not button(session, "Race").disabled
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("race_id", ["../../etc/passwd", "a b", MARKUP, "x" * 1000])
def test_a_race_id_that_is_none_is_left_out(race_id: str) -> None:
    session = open_app(race=race_id)
    assert is_well(session)
    assert "that is no race id" in said(session)
    assert "race" not in address(session)


def test_a_race_with_a_network_of_another_version_shows_its_curves_and_says_so() -> None:
    session = open_app(race=record(replace(config(), model=ModelConfig(f"net_of_2030 {MARKUP}"))))
    assert is_well(session)
    assert f"This version does not know net_of_2030 {MARKUP} on digits" in said(session)
    assert session.selectbox(key=field_key("model")).value == "glyph_net"
    assert component(session, "plots")["figure"] is not None
