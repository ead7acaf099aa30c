"""The Explore page: pinned partitions and partition files."""

from __future__ import annotations

import json

import pytest
from sessions import (
    address,
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
from streamlit.testing.v1 import AppTest

from multirate_core.layers import describe
from multirate_core.layers.tree import from_json, to_json
from multirate_core.partition import files, links, preset, to_spec
from pages.components.state import field_key, period_key

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

MARKUP = "<img src=x onerror=alert(1)>"


def upload(session: AppTest, content: bytes, name: str = "net.multirate.json") -> AppTest:
    session.file_uploader(key="in:file").upload(name, content, "application/json")
    return session.run()


def file_of(name: str, k: int = 5) -> bytes:
    return files.dumps(to_spec(preset(name, glyph_tree(), k), glyph_tree())).encode()


# Pinned partitions


def pin(session: AppTest, name: str) -> AppTest:
    session.text_input(key="in:pin").set_value(name)
    return press(session, "Pin this partition")


def test_a_pinned_partition_is_an_arm_stands_in_the_address_and_returns_to_the_board() -> None:
    session = pin(open_app(), MARKUP)
    session.number_input(key=period_key("slow")).set_value(3).run()
    session.button(key="preset:last_n").click().run()
    assert is_well(session)
    assert address(session)["pin"] == [f"{MARKUP}~{links.encode(preset('head', glyph_tree(), 5), glyph_tree())}"]
    other = reopened(session)
    assert other.session_state["pins"] == session.session_state["pins"]
    assert not any(f" {MARKUP}" in f" {each.value}" for each in other.markdown)
    other.button(key=f"pin:show:{MARKUP}").click().run()
    assert is_well(other)
    assert (groups(other)["slow"], in_group(other, "fast")) == (5, ["fc.weight", "fc.bias"])
    other.button(key=f"pin:remove:{MARKUP}").click().run()
    assert is_well(other)
    assert "pin" not in address(other)


def test_pins_of_another_network_wait_for_it_and_are_in_no_race_meanwhile() -> None:
    request = {"model": "resnet18", "num_classes": 10, "input_shape": (3, 32, 32)}
    assert describe.main([json.dumps(request)]) == 0  # else the page would start a process
    session = pin(open_app(), "ours")
    pinned = address(session)["pin"]
    session.selectbox(key=field_key("model")).set_value("resnet18").run()
    assert is_well(session)
    assert "ours" not in said(session)
    assert any("of another network" in each.value for each in session.caption)
    assert "Show on the board" not in labels(session)
    assert not any("(1 pinned)" in each.label for each in session.expander)
    assert address(session)["pin"] == pinned
    session.selectbox(key=field_key("model")).set_value("glyph_net").run()
    assert any("(1 pinned)" in each.label for each in session.expander)
    assert "Show on the board" in labels(session)


def test_pins_without_a_name_are_numbered_and_six_are_enough() -> None:
    session = open_app()
    for _ in range(6):
        press(session, "Pin this partition")
    assert list(session.session_state["pins"]) == [f"partition {number}" for number in range(1, 7)]
    assert button(session, "Pin this partition").disabled
    assert not button(session, "Race").disabled


@pytest.mark.parametrize("name", ["sgd", "multirate", "frozen", "twice"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    session = pin(open_app(), "twice")
    pin(session, name)
    assert is_well(session)
    assert f"There is an arm called {name} already" in said(session)
    assert list(session.session_state["pins"]) == ["twice"]


def test_pins_in_the_address_that_do_not_fit_are_removed_and_named() -> None:
    good = links.encode(preset("all_fast", glyph_tree(), 5), glyph_tree())
    session = open_app(pin=[f"good~{good}", "bad~nonsense", "no tilde", f"~{good}", f"a~b~{good}"])
    assert is_well(session)
    assert "The pinned partition bad was removed: the link is damaged" in said(session)
    assert list(session.session_state["pins"]) == ["good", "a~b"]
    assert "removed" not in said(session.run())


def test_a_pin_in_the_address_called_like_an_arm_is_refused_and_can_be_removed() -> None:
    session = open_app(pin=f"sgd~{links.encode(preset('all_fast', glyph_tree(), 5), glyph_tree())}")
    assert is_well(session)
    assert "only an arm of kind 'sgd' may have that name" in said(session)
    assert button(session, "Race").disabled
    session.button(key="pin:remove:sgd").click().run()
    assert not button(session, "Race").disabled


def test_the_command_line_names_the_board_and_says_what_it_cannot_name() -> None:
    session = open_app()
    line, snippet = (each.value for each in session.code)
    assert line.endswith("--arms sgd,multirate --fast-pattern fc --k 5 --json")
    assert "('fc', 'fast')" in snippet
    pin(session, "ours")
    assert any("no place on the command line" in each.value for each in session.caption)


# Partition files


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_partition_file_comes_to_the_board_with_its_periods(mark: bytes) -> None:
    session = upload(open_app(), mark + file_of("norms_biases", 17))
    assert is_well(session)
    assert not session.warning
    assert group_of(session) == preset("norms_biases", glyph_tree(), 17).assignment
    assert groups(session) == {"fast": 1, "slow": 17}
    drop(session, "0" * len(parameters(session)))
    assert in_group(session, "slow") == []  # the file does not come back by itself


def foreign_file() -> bytes:
    tree = from_json(to_json(glyph_tree()).replace('"fc', '"head'))
    return files.dumps(to_spec(preset("head", tree, 5), tree)).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"\x80\x04K\x01.", "is not JSON"),
        (b"[]", "is no partition"),
        (json.dumps({"format": "multirate-partition", "version": 2}).encode(), "has version 2"),
        (foreign_file(), "made for another model"),
        (file_of("head").replace(b'"fc"', b'"nothing.*"').replace(b"fingerprint", b"fingerprint"), "nothing.*"),
        (file_of("head").replace(b'"period": 1', b'"period": 2'), "no group has period 1"),
        (file_of("head").replace(b'"period": 5', b'"period": 0'), "period must be a whole number"),
        (file_of("head").replace(b'"slow"', b'"\\ud800"'), "must be text that UTF-8 can hold"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason_and_changes_nothing(content: bytes, words: str) -> None:
    session = upload(open_app(), content, f"{MARKUP}.json")
    assert is_well(session)
    assert f"{MARKUP}.json was not loaded:" in said(session)
    assert words in said(session)
    assert in_group(session, "fast") == ["fc.weight", "fc.bias"]
