"""The Python side of the layer board in Streamlit's test runner: the tests write what a browser would send."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest


def app() -> None:
    import streamlit as st

    from multirate_core.errors import PartitionError
    from pages.components.board.layer_board import board_content, layer_board, set_codes

    state = st.session_state
    units = state.get("units", 3)
    rows = [{"id": "net", "parent": None, "name": "net", "kind": "Net", "unit": False}]
    rows += [
        {"id": f"net.{i}", "parent": "net", "name": str(i), "kind": "parameter", "unit": True} for i in range(units)
    ]
    rows = [{"params": 1, "shape": "", "madds": 0, "fold": "", "note": "", **row} for row in rows]
    content = board_content(rows, state.get("cost"))
    groups = [{"name": name, "period": 1} for name in "abcd"[: state.get("count", 2)]]
    st.button("preset", on_click=set_codes, args=("board", state.get("preset", "000")))
    if state.get("shown", True):
        try:
            state["seen"] = layer_board(f"net{units}", content, groups, "1" * units, "board")
        except PartitionError as error:
            st.error(str(error))


@pytest.fixture
def board() -> AppTest:
    return AppTest.from_function(app).run()


def sent(board: AppTest) -> dict:
    """What the browser got."""
    data = json.loads(board.get("bidi_component")[0].proto.json)[0]
    return data | json.loads(data["content"])


def drop(board: AppTest, codes: object, stamp: str | None = None) -> AppTest:
    """What the browser sends for a drop that builds on the newest seed."""
    stamp = stamp or sent(board)["assign"]["stamp"]
    board.session_state["board"]["assign"] = {"stamp": f"{stamp}/test.1", "codes": codes}
    return board.run()


def seen(board: AppTest) -> str:
    assert not board.exception and not board.error
    return board.session_state["seen"]


def test_at_first_the_board_shows_the_codes_it_was_given(board: AppTest) -> None:
    assert seen(board) == "111"
    assert sent(board)["assign"]["codes"] == "111"
    assert sent(board)["tree"] == "net3"


def test_a_drop_arrives_and_the_data_sent_stay_the_same_bytes(board: AppTest) -> None:
    before = board.get("bidi_component")[0].proto.json
    assert seen(drop(board, "101")) == "101"
    assert seen(board.run()) == "101"
    assert board.get("bidi_component")[0].proto.json == before


def test_the_cost_goes_to_the_browser_and_one_of_another_network_does_not(board: AppTest) -> None:
    assert sent(board)["cost"] is None
    cost = {"measured": False, "nodes": [], "rows": {}, "unit_s": [0, 0, 0], "base_s": 0, "sgd_s": 0}
    board.session_state["cost"] = cost
    assert seen(drop(board, "101")) == "101"
    assert sent(board.run())["cost"] == cost
    before = board.get("bidi_component")[0].proto.json
    assert seen(drop(board, "110")) == "110"
    assert board.get("bidi_component")[0].proto.json == before
    board.session_state["units"] = 5
    assert sent(board.run())["cost"] is None


@pytest.mark.parametrize("codes", ["10", "1011", "102", "1a1", "", None, 7, ["1", "0", "1"], "1\n1"])
def test_a_drop_that_is_no_assignment_changes_nothing(board: AppTest, codes: object) -> None:
    drop(board, "101")
    assert seen(drop(board, codes)) == "101"


@pytest.mark.parametrize("value", [None, "101", 5, [], {}, {"codes": "101"}, {"stamp": 3, "codes": "101"}])
def test_a_state_of_another_shape_changes_nothing(board: AppTest, value: object) -> None:
    board.session_state["board"]["assign"] = value
    assert seen(board.run()) == "111"


def test_a_preset_wins_over_what_was_dropped_before(board: AppTest) -> None:
    drop(board, "101")
    board.button[0].click().run()
    assert seen(board) == "000"
    assert sent(board)["assign"]["codes"] == "000"


def test_a_drop_that_a_preset_overtook_is_ignored_and_the_next_one_counts(board: AppTest) -> None:
    old = sent(board)["assign"]["stamp"]
    board.button[0].click().run()
    assert seen(drop(board, "101", stamp=old)) == "000"
    assert seen(drop(board, "011")) == "011"


def test_codes_outlive_a_time_in_which_the_board_is_not_shown(board: AppTest) -> None:
    drop(board, "101")
    board.session_state["shown"] = False
    board.run().run()
    board.session_state["shown"] = True
    board.run()
    assert seen(board) == "101"
    assert sent(board)["assign"]["codes"] == "101"


def test_another_network_starts_from_its_own_codes(board: AppTest) -> None:
    drop(board, "101")
    board.session_state["units"] = 5
    board.run()
    assert seen(board) == "11111"
    assert seen(drop(board, "01010")) == "01010"


def test_a_third_group_keeps_the_codes_and_may_be_used(board: AppTest) -> None:
    drop(board, "101")
    board.session_state["count"] = 3
    assert seen(board.run()) == "101"
    assert seen(drop(board, "102")) == "102"


def test_a_group_that_goes_needs_new_codes_and_says_so(board: AppTest) -> None:
    board.session_state["count"] = 3
    board.run()
    drop(board, "102")
    board.session_state["count"] = 2
    board.run()
    assert "one code per parameter" in board.error[0].value
    board.button[0].click().run()
    assert seen(board) == "000"


def test_codes_may_be_set_before_the_board_was_ever_shown() -> None:
    board = AppTest.from_function(app)
    board.session_state["shown"] = False
    board.run()
    board.button[0].click()
    board.session_state["shown"] = True
    board.run()
    assert seen(board) == "000"


def test_codes_of_a_wrong_length_are_refused_with_the_numbers() -> None:
    board = AppTest.from_function(app)
    board.session_state["preset"] = "0000"
    board.run().button[0].click().run()
    assert "3 characters of '01', got 4" in board.error[0].value
