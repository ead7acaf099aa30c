"""The Explore page: base rule, precision, memory, and the rates of the groups."""

from __future__ import annotations

import pytest
from sessions import address, glyph_tree, groups, is_well, open_app, press, read, reopened, said, stored
from streamlit.testing.v1 import AppTest

from multirate_core.config import Execution, GroupSpec, Recipe
from multirate_core.partition import links
from pages.components.state import field_key, lr_factor_key, period_key, phases_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def specs(session: AppTest) -> tuple[GroupSpec, ...]:
    """The groups as the link has them."""
    return links.decode(address(session)["p"][0], glyph_tree()).groups


def labels_of(widgets: object) -> list[str]:
    return [read(each.label) for each in widgets]  # type: ignore[attr-defined]


def line(session: AppTest) -> str:
    """The command line for the same race."""
    return next(each.value for each in session.code if each.language == "sh")


def test_adamw_is_a_click_away_takes_its_usual_lr_and_has_no_momentum() -> None:
    session = open_app()
    assert {"Momentum", "Nesterov momentum"} <= {*labels_of(session.number_input), *labels_of(session.toggle)}
    session.button_group(key=field_key("base")).set_value("adamw").run()
    assert is_well(session)
    assert not {"Momentum", "Nesterov momentum"} & {*labels_of(session.number_input), *labels_of(session.toggle)}
    assert session.number_input(key=field_key("lr")).value == 0.001
    assert address(session)["base"] == ["adamw"]
    assert "race against AdamW" in session.get("html")[0].proto.body
    assert "MultirateAdamW(" in "".join(each.value for each in session.code)
    assert "--base adamw" in line(session) and "--lr" not in line(session)
    session.button_group(key=field_key("base")).set_value("sgd").run()
    assert session.number_input(key=field_key("lr")).value == 0.015
    assert set(address(session)) == {"p"}


def test_an_lr_that_was_typed_stays_with_another_base_rule() -> None:
    session = open_app()
    session.number_input(key=field_key("lr")).set_value(0.07).run()
    session.button_group(key=field_key("base")).set_value("adamw").run()
    assert session.number_input(key=field_key("lr")).value == 0.07


def test_ways_of_computing_stand_in_address_line_and_race(running: str) -> None:
    session = open_app(dev="cpu")
    session.button_group(key=field_key("precision")).set_value("bf16")
    session.button_group(key=field_key("memory")).set_value("lean")
    session.toggle(key=field_key("channels_last")).set_value(True)
    session.toggle(key=field_key("nesterov")).set_value(True)
    session.run()
    assert is_well(session)
    shown = address(session)
    assert {name: shown[name] for name in shown if name not in ("p", "dev")} == {
        "prec": ["bf16"], "mem": ["lean"], "cl": ["1"], "nest": ["1"]
    }  # fmt: skip
    for option in ("--precision bf16", "--memory lean", "--channels-last", "--nesterov"):
        assert option in line(session)
    again = reopened(session)
    assert address(again) == shown
    race = press(again, "Race").session_state["race"]
    config = stored(race).config
    assert config.execution == Execution("bf16", True, memory="lean")
    assert config.recipe.nesterov is True


def test_lean_and_compile_together_are_refused_beside_the_board() -> None:
    session = open_app(mem="lean")
    session.toggle(key=field_key("compile")).set_value(True).run()
    assert is_well(session)
    assert "Memory of multirate 'lean' cannot be combined with compile" in said(session)
    session.button_group(key=field_key("memory")).set_value("plain").run()
    assert said(session).count("lean") == 0
    assert address(session)["comp"] == ["1"]


def test_the_rates_of_a_group_are_edited_beside_the_board_and_stand_in_the_link(running: str) -> None:
    session = open_app(dev="cpu")
    session.number_input(key=lr_factor_key("slow")).set_value(0.5).run()
    session.text_input(key=phases_key("slow")).set_value("1:2, 2:0.5").run()
    assert is_well(session)
    wanted = (GroupSpec("fast", 1), GroupSpec("slow", 5, 0.5, ((2, 1), (0.5, 2))))
    assert specs(session) == wanted
    words = "slow: lr × 0.5, k = 1 for 2 epochs, 2 for 0.5 epochs, then 5"
    assert words in [read(each.value) for each in session.caption]
    assert "--k-phases 1:2,2:0.5 --slow-lr-factor 0.5" in line(session)
    assert "PeriodSchedule(optimizer" in "".join(each.value for each in session.code)
    other = reopened(session)
    assert specs(other) == wanted
    assert other.text_input(key=phases_key("slow")).value == "1:2,2:0.5"
    assert other.number_input(key=lr_factor_key("slow")).value == 0.5
    race = press(other, "Race").session_state["race"]
    partition = stored(race).config.arms[1].partition
    assert partition is not None and partition.groups == wanted
    restored = open_app(race=race)
    assert specs(restored) == wanted


def test_a_preset_keeps_the_rates_and_a_group_of_period_one_has_no_schedule() -> None:
    session = open_app()
    session.number_input(key=lr_factor_key("fast")).set_value(2.0).run()
    session.text_input(key=phases_key("slow")).set_value("1:2").run()
    session.button(key="preset:last_block_head").click().run()
    assert specs(session) == (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 5, phases=((2, 1),)))
    session.number_input(key=period_key("slow")).set_value(1).run()
    assert is_well(session)
    assert specs(session) == (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 1))
    assert not any("Schedule for k" in label for label in labels_of(session.text_input))
    session.number_input(key=period_key("slow")).set_value(4).run()
    assert session.text_input(key=phases_key("slow")).value == ""


@pytest.mark.parametrize(
    ("kind", "typed", "words"),
    [
        ("phases", "1 2", "K:EPOCHS separated by commas, got '1 2'"),
        ("phases", "0:2", "the period of a phase of group"),
        ("phases", "<img src=x>", "got '<img src=x>'"),
        ("factor", 0.0, "lr_factor of group 'slow' must be a finite number > 0 and ≤ 100, got 0.0"),
        ("factor", 101.0, "lr_factor of group 'slow'"),
    ],
)
def test_rates_that_cannot_be_are_named_and_the_old_ones_stay(kind: str, typed: object, words: str) -> None:
    session = open_app()
    session.number_input(key=lr_factor_key("slow")).set_value(0.5).run()
    session.text_input(key=phases_key("slow")).set_value("2:1").run()
    before = address(session)
    if kind == "phases":
        session.text_input(key=phases_key("slow")).set_value(typed).run()
    else:
        session.number_input(key=lr_factor_key("slow")).set_value(typed).run()
    assert is_well(session)
    assert words in said(session)
    assert address(session) == before
    assert session.text_input(key=phases_key("slow")).value == "2:1"
    assert session.number_input(key=lr_factor_key("slow")).value == 0.5


def test_a_group_that_is_added_again_has_no_rates_of_the_one_before() -> None:
    session = press(open_app(), "Add a group")
    session.number_input(key=lr_factor_key("third")).set_value(0.1).run()
    session.text_input(key=phases_key("third")).set_value("1:1").run()
    session = press(press(session, "Remove “third”"), "Add a group")
    assert is_well(session)
    assert groups(session) == {"fast": 1, "slow": 5, "third": 10}
    assert specs(session)[2] == GroupSpec("third", 10)
    assert session.number_input(key=lr_factor_key("third")).value == 1.0


def test_a_closed_popover_draws_nothing_and_keeps_what_is_set() -> None:
    session = open_app()
    session.number_input(key=lr_factor_key("slow")).set_value(0.5).run()
    session.session_state["in:rates"] = False
    session.run()
    assert not any("lr factor" in label for label in labels_of(session.number_input))
    assert specs(session)[1] == GroupSpec("slow", 5, 0.5)


def test_the_recipe_of_the_race_is_that_of_the_page(running: str) -> None:
    session = open_app(dev="cpu", base="adamw", lr="0.002", mom="0.4")
    race = press(session, "Race").session_state["race"]
    assert stored(race).config.recipe == Recipe(0.002, batch_size=16, base="adamw")
