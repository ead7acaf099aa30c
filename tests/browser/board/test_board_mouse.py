"""The layer board by mouse: rows, selections and cancelled drags."""

from __future__ import annotations

import pytest
from board_rows import FAST, SLOW, drag, grab, middle, pane, row
from board_steps import HEAD, Open, expect_fast, expect_unmoved, names, toggle
from board_trees import HOSTILE_NAME, TREES
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_block_that_is_dragged_takes_everything_below_it_along(board: Open) -> None:
    page = board()
    expect_fast(page, HEAD)
    drag(page, row(page, SLOW, "encoder"), pane(page, FAST))
    expect_fast(page, names("toy", "encoder") + HEAD)
    expect(row(page, SLOW, "encoder")).to_have_count(0)
    expect(row(page, FAST, "encoder")).to_be_visible()


def test_a_single_parameter_can_be_dragged_and_its_module_is_mixed_then(board: Open) -> None:
    page = board()
    toggle(page, SLOW, "embed")
    toggle(page, FAST, "head")
    drag(page, row(page, FAST, "head.bias"), pane(page, SLOW))
    expect_fast(page, ["head.weight"])
    expect(row(page, FAST, "head")).to_contain_text("mixed 1/2")
    expect(row(page, SLOW, "head")).to_contain_text("mixed 1/2")


def test_only_the_part_of_a_mixed_block_that_is_in_the_pane_moves(board: Open) -> None:
    page = board()
    toggle(page, FAST, "head")
    drag(page, row(page, FAST, "head.bias"), pane(page, SLOW))
    expect_fast(page, ["head.weight"])
    drag(page, row(page, SLOW, "head"), pane(page, FAST))
    expect_fast(page, HEAD)


def test_a_selection_made_with_ctrl_and_shift_is_dragged_as_one(board: Open) -> None:
    page = board()
    row(page, SLOW, "class_token").click()
    row(page, SLOW, "encoder").click(modifiers=["Shift"])
    row(page, SLOW, "embed").click(modifiers=["Control"])
    row(page, SLOW, HOSTILE_NAME).click(modifiers=["Control"])
    page.get_by_role("button", name="Collapse").click()
    drag(page, row(page, SLOW, "class_token"), pane(page, FAST))
    expect_fast(page, ["class_token", *names("toy", "encoder"), f"{HOSTILE_NAME}.weight", *HEAD])


def test_a_row_outside_the_selection_is_dragged_alone(board: Open) -> None:
    page = board()
    row(page, SLOW, "encoder").click()
    drag(page, row(page, SLOW, "class_token"), pane(page, FAST))
    expect_fast(page, ["class_token", *HEAD])


def test_escape_cancels_a_drag(board: Open) -> None:
    page = board()
    grab(page, row(page, SLOW, "encoder"))
    page.mouse.move(*middle(pane(page, FAST)), steps=5)
    expect(page.locator(".ghost")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".ghost")).to_be_hidden()
    page.mouse.up()
    expect_unmoved(page, HEAD)


def test_a_drop_on_its_own_pane_or_beside_the_board_moves_nothing(board: Open) -> None:
    page = board()
    drag(page, row(page, SLOW, "encoder"), row(page, SLOW, "class_token"))
    drag(page, row(page, SLOW, "encoder"), page.locator(".st-key-codes"))
    expect_unmoved(page, HEAD)


def test_a_pane_scrolls_while_something_is_dragged_near_its_edge(board: Open) -> None:
    page = board("resnet152", width=1280, height=1000)
    page.get_by_role("button", name="All fast").click()
    expect(row(page, SLOW, "fc")).to_have_count(0)
    row(page, FAST, "conv1").locator(".move").click()
    page.get_by_role("button", name="Expand all").click()
    scroller = pane(page, FAST).locator(".scroll")
    grab(page, row(page, SLOW, "conv1"))
    box = scroller.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + box["height"] - 8, steps=5)
    page.wait_for_function("e => e.scrollTop > 300", arg=scroller.element_handle())
    page.mouse.up()
    expect(page.locator(".st-key-fast")).to_contain_text("fast: conv1.weight")


def test_the_move_button_moves_a_row_and_undo_and_redo_take_it_back_and_forth(board: Open) -> None:
    page = board()
    row(page, SLOW, "class_token").get_by_role("button", name="Move class_token to fast").click()
    expect_fast(page, ["class_token", *HEAD])
    page.get_by_role("button", name="Undo").click()
    expect_fast(page, HEAD)
    page.get_by_role("button", name="Redo").click()
    expect_fast(page, ["class_token", *HEAD])
    expect(page.get_by_role("button", name="Redo")).to_be_disabled()


def test_a_selection_is_moved_by_the_button_of_the_pane_it_goes_to(board: Open) -> None:
    page = board()
    row(page, SLOW, "class_token").click()
    page.get_by_role("button", name="Move selection to fast").click()
    expect_fast(page, ["class_token", *HEAD])
    expect(page.get_by_role("button", name="Move selection to fast")).to_be_hidden()


def test_many_quick_drops_end_with_the_board_and_python_agreeing(board: Open) -> None:
    page = board()
    for path in ("class_token", "embed", "encoder", HOSTILE_NAME):
        row(page, SLOW, path).locator(".move").click(no_wait_after=True)
    expect_fast(page, [each["id"] for each in TREES["toy"]() if each["unit"]])
    expect(pane(page, SLOW)).to_contain_text("Drop layers here")
    for path in ("head", "class_token", "encoder"):
        row(page, FAST, path).locator(".move").click(no_wait_after=True)
    expect_fast(page, ["embed.weight", f"{HOSTILE_NAME}.weight"])
    expect(row(page, FAST, "embed")).to_be_visible()


def test_a_layer_named_like_markup_is_text_and_moves_like_any_other(board: Open) -> None:
    page = board()
    evil = row(page, SLOW, HOSTILE_NAME)
    expect(evil.locator(".text")).to_have_text(HOSTILE_NAME)
    drag(page, evil, pane(page, FAST))
    expect_fast(page, [f"{HOSTILE_NAME}.weight", *HEAD])
    assert page.locator(".board img").count() == 0
