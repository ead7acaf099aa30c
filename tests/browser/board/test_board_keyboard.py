"""The layer board by keyboard alone, and what a screen reader is told."""

from __future__ import annotations

import pytest
from board_rows import FAST, SLOW, row
from board_steps import HEAD, Open, expect_fast, focused, press, tab_to_tree
from board_trees import HOSTILE_NAME, TREES
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_everything_can_be_moved_by_keyboard_and_the_focus_stays_on_the_next_row(board: Open) -> None:
    page = board()
    tab_to_tree(page, SLOW)
    assert focused(page) == f"{SLOW}:class_token"
    press(page, "ArrowDown", "f")
    assert focused(page) == f"{SLOW}:encoder"
    expect_fast(page, ["embed.weight", *HEAD])
    press(page, "End", "f")
    expect_fast(page, ["embed.weight", f"{HOSTILE_NAME}.weight", *HEAD])
    press(page, "Home", "1")
    expect_fast(page, ["class_token", "embed.weight", f"{HOSTILE_NAME}.weight", *HEAD])
    assert focused(page) == f"{SLOW}:encoder"
    press(page, "Control+z", "Home", " ", "ArrowDown", "f")
    assert focused(page) == f"{SLOW}:encoder"
    press(page, "f")
    assert focused(page) == f"{FAST}:encoder"


def test_arrows_open_and_close_blocks_and_s_moves_to_slow(board: Open) -> None:
    page = board()
    tab_to_tree(page, FAST)
    press(page, "ArrowRight", "ArrowRight")
    assert focused(page) == f"{FAST}:head.weight"
    press(page, "s")
    assert focused(page) == f"{FAST}:head.bias"
    expect_fast(page, ["head.bias"])
    press(page, "ArrowLeft")
    assert focused(page) == f"{FAST}:head"
    press(page, "ArrowLeft")
    expect(row(page, FAST, "head.bias")).to_have_count(0)
    press(page, "s")
    expect_fast(page, [])
    assert focused(page) == f"{SLOW}:head"


def test_space_shift_and_ctrl_a_select_and_ctrl_z_and_y_undo_and_redo(board: Open) -> None:
    page = board()
    everything = [each["id"] for each in TREES["toy"]() if each["unit"]]
    tab_to_tree(page, SLOW)
    press(page, " ", "ArrowDown", " ", "f")
    expect_fast(page, ["class_token", "embed.weight", *HEAD])
    press(page, "Control+z")
    expect_fast(page, HEAD)
    press(page, "Control+y")
    expect_fast(page, ["class_token", "embed.weight", *HEAD])
    press(page, "Control+a", "f")
    expect_fast(page, everything)
    press(page, "Control+z", "Control+z", "Control+Shift+z")
    expect_fast(page, ["class_token", "embed.weight", *HEAD])
    press(page, "Control+z")
    expect_fast(page, HEAD)
    tab_to_tree(page, SLOW)
    press(page, "Home", "Shift+ArrowDown", "f")
    expect_fast(page, ["class_token", "embed.weight", *HEAD])


def test_moves_are_announced_to_a_screen_reader(board: Open) -> None:
    page = board()
    tab_to_tree(page, SLOW)
    press(page, "f")
    expect(page.locator(".live")).to_have_text("Moved class_token (1 tensor) to fast")
    press(page, "4")
    expect(page.locator(".live")).to_have_text("There is no group 4")


def test_the_help_opens_and_closes_by_keyboard(board: Open) -> None:
    page = board()
    page.get_by_role("button", name="Keyboard and mouse help").press("Enter")
    expect(page.get_by_role("dialog", name="Keyboard and mouse help")).to_be_visible()
    press(page, "Escape")
    expect(page.get_by_role("dialog", name="Keyboard and mouse help")).to_be_hidden()
