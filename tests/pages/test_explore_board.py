"""The Explore page: the board, the groups, k, presets; and the address that holds all of it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from sessions import (
    address,
    board,
    button,
    drop,
    glyph_tree,
    group_of,
    groups,
    in_group,
    is_well,
    labels,
    open_app,
    parameters,
    press,
    reopened,
    said,
)

from multirate_core.config import GroupSpec
from multirate_core.layers.tree import LayerTree, from_json, to_json
from multirate_core.partition import Partition, links, preset
from multirate_core.partition.presets import PRESETS
from pages.components.state import period_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def foreign_tree() -> LayerTree:
    """The default network with another name for its head."""
    text = to_json(glyph_tree())
    renamed = from_json(text.replace('"fc', '"head'))
    assert renamed.fingerprint != glyph_tree().fingerprint
    return renamed


def link_with_name(name: bytes) -> str:
    """A link whose check sums are right, with one group of any bytes as its name."""
    sealed = links._seal(0, bytes([1, 1, len(name)]) + name, glyph_tree())
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def test_a_newcomer_sees_the_default_network_with_a_fast_head_and_can_race() -> None:
    session = open_app()
    assert is_well(session)
    assert [each.value for each in session.selectbox][:2] == ["glyph_net", "digits"]
    assert groups(session) == {"fast": 1, "slow": 5}
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]
    assert parameters(session) == [parameter.name for parameter in glyph_tree().trainable()]
    assert not button(session, "Race").disabled
    assert not session.error and not session.warning
    assert "Nothing has been raced on this page yet" in said(session)


def test_the_board_gets_rows_that_a_browser_can_draw() -> None:
    rows = board(open_app())["rows"]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    for row in rows:
        assert row["parent"] is None or row["parent"] in by_id
    assert sum(row["params"] for row in rows if row["unit"]) == glyph_tree().root.parameter_count


def test_k_changes_the_board_and_the_address() -> None:
    session = open_app()
    before = address(session)["p"]
    session.number_input(key=period_key("slow")).set_value(9).run()
    assert is_well(session)
    assert groups(session) == {"fast": 1, "slow": 9}
    assert address(session)["p"] != before
    assert links.decode(address(session)["p"][0], glyph_tree()) == preset("head", glyph_tree(), 9)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_button_puts_its_partition_on_the_board(name: str) -> None:
    session = open_app()
    drop(session, "0" * len(parameters(session)))
    session.button(key=f"preset:{name}").click().run()
    assert is_well(session)
    partition = preset(name, glyph_tree(), 5, 3)
    assert group_of(session) == partition.assignment
    assert board(session)["assign"]["codes"] == session.session_state["codes"]
    assert links.decode(address(session)["p"][0], glyph_tree()) == partition


def test_a_preset_keeps_k_and_takes_its_n() -> None:
    session = open_app()
    session.number_input(key=period_key("slow")).set_value(8)
    session.number_input(key="in:last_n").set_value(1)
    session.button(key="preset:last_n").click().run()
    assert groups(session)["slow"] == 8
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]


def test_a_preset_that_does_not_fit_is_refused_in_words_and_changes_nothing() -> None:
    session = open_app()
    session.number_input(key="in:last_n").set_value(10_000)
    session.button(key="preset:last_n").click().run()
    assert is_well(session)
    assert "n must be at most" in said(session)
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]


def test_a_drop_moves_layers_and_reaches_the_address() -> None:
    session = open_app()
    codes = "0" + session.session_state["codes"][1:]
    drop(session, codes)
    assert is_well(session)
    assert in_group(session, "fast") == [parameters(session)[0], "fc.weight", "fc.bias"]
    assert group_of(reopened(session)) == group_of(session)


def test_everything_slow_is_an_error_beside_the_board_and_no_race_can_start() -> None:
    session = open_app()
    drop(session, "1" * len(parameters(session)))
    assert is_well(session)
    assert "no parameter is in a group of period 1" in said(session)
    assert button(session, "Race").disabled
    session.button(key="preset:head").click().run()
    assert not session.error
    assert not button(session, "Race").disabled


def test_an_unusable_board_keeps_its_last_usable_partition_in_the_address() -> None:
    session = press(open_app(), "Add a group")
    drop(session, "2" + session.session_state["codes"][1:])
    session.number_input(key=period_key("third")).set_value(30).run()
    before, sorted_before = address(session)["p"], group_of(session)
    drop(session, "1" * len(parameters(session)))
    assert "no parameter is in a group of period 1" in said(session)
    assert address(session)["p"] == before
    again = reopened(session)
    assert is_well(again)
    assert groups(again) == {"fast": 1, "slow": 5, "third": 30}
    assert group_of(again) == sorted_before


@pytest.mark.parametrize("codes", ["", "0", "2" * 100, "<img src=x onerror=alert(1)>"])
def test_nonsense_from_a_browser_leaves_the_board_as_it_is(codes: str) -> None:
    session = open_app()
    drop(session, codes)
    assert is_well(session)
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]
    assert not button(session, "Race").disabled


def test_a_third_group_can_be_added_used_and_removed() -> None:
    session = press(open_app(), "Add a group")
    assert groups(session) == {"fast": 1, "slow": 5, "third": 10}
    drop(session, "2" + session.session_state["codes"][1:])
    assert in_group(session, "third") == parameters(session)[:1]
    session.number_input(key=period_key("third")).set_value(30).run()
    assert groups(session)["third"] == 30
    assert groups(reopened(session)) == {"fast": 1, "slow": 5, "third": 30}
    assert group_of(reopened(session)) == group_of(session)
    press(session, "Remove “third”")
    assert is_well(session)
    assert groups(session) == {"fast": 1, "slow": 5}
    assert group_of(session)[parameters(session)[0]] == "slow"
    assert "Remove “slow”" not in labels(session)


def test_groups_can_be_added_up_to_six_whatever_their_periods() -> None:
    session = open_app()
    session.number_input(key=period_key("slow")).set_value(1_000_000).run()
    for _ in range(4):
        press(session, "Add a group")
        assert is_well(session)
    assert list(groups(session)) == ["fast", "slow", "third", "fourth", "fifth", "sixth"]
    assert max(groups(session).values()) == 1_000_000
    assert "Add a group" not in labels(session)
    assert not button(session, "Race").disabled


def test_a_link_with_many_groups_is_restored_and_its_last_group_can_be_removed() -> None:
    many = tuple(GroupSpec(f"group {number}", max(1, number)) for number in range(12))
    names = [parameter.name for parameter in glyph_tree().trainable()]
    assignment = {name: many[number % 12].name for number, name in enumerate(names)}
    session = open_app(p=links.encode(Partition(many, assignment), glyph_tree()))
    assert group_of(session) == assignment
    press(session, "Remove “group 11”")
    assert is_well(session)
    assert group_of(session) == {name: own.replace("11", "10") for name, own in assignment.items()}


def test_a_link_in_which_the_second_group_is_the_fast_one_keeps_its_periods() -> None:
    groups_turned = (GroupSpec("slow", 7), GroupSpec("fast", 1))
    turned = replace(preset("head", glyph_tree(), 5), groups=groups_turned)
    session = open_app(p=links.encode(turned, glyph_tree()))
    assert groups(session) == {"slow": 7, "fast": 1}
    session.button(key="preset:head").click().run()
    assert groups(session) == {"fast": 1, "slow": 7}


def test_a_link_restores_partition_and_k() -> None:
    partition = preset("norms_biases", glyph_tree(), 13)
    session = open_app(p=links.encode(partition, glyph_tree()))
    assert is_well(session)
    assert not session.warning
    assert group_of(session) == partition.assignment
    assert groups(session) == {"fast": 1, "slow": 13}


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("nonsense!", "characters that no link has"),
        ("E", "its length is wrong"),
        ("AAAA", "it is too short"),
        ("A" * 4001, "allowed are 4000"),
        (links.encode(preset("head", glyph_tree(), 5), glyph_tree())[:-3] + "AAA", "check sum is wrong"),
        (links.encode(preset("head", foreign_tree(), 5), foreign_tree()), "made for another model than 'glyph_net'"),
        ("<script>alert(1)</script>", "characters that no link has"),
        (link_with_name(b"\xed\xa0\x80"), "the name of a group is no UTF-8 text"),
    ],
)
def test_a_link_with_a_damaged_or_foreign_partition_says_so_and_shows_the_head_fast(link: str, words: str) -> None:
    session = open_app(p=link)
    assert is_well(session)
    assert words in said(session)
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]
    assert not button(session, "Race").disabled
    assert links.decode(address(session)["p"][0], glyph_tree()) == preset("head", glyph_tree(), 5)
    assert words not in said(session.run())  # said once


def test_group_names_with_markup_are_shown_as_they_are() -> None:
    hostile = "<img src=x>:red[x]$y$"
    partition = preset("head", glyph_tree(), 5)
    named = Partition(
        (GroupSpec("fast", 1), GroupSpec(hostile, 5)),
        {name: own.replace("slow", hostile) for name, own in partition.assignment.items()},
    )
    session = open_app(p=links.encode(named, glyph_tree()))
    assert is_well(session)
    (widget,) = [each for each in session.number_input if each.key == period_key(hostile)]
    assert "<img" not in widget.label.replace("\\<img", "")
    assert groups(session)[hostile] == 5
    press(session, "Add a group")
    assert is_well(session)


def test_the_data_for_the_board_stay_the_same_bytes_while_other_settings_change() -> None:
    session = open_app()
    before = json.dumps(board(session))
    session.number_input(key="in:epochs").set_value(3).run()
    assert json.dumps(board(session)) == before
