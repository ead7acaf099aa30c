"""The layer board under a finger, on a narrow screen."""

from __future__ import annotations

import pytest
from board_rows import FAST, SLOW, middle, pane, row
from board_steps import Open, expect_fast, expect_unmoved
from finger import PHONE, Finger
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_finger_on_the_grip_drags_a_row_to_the_pane_below(board: Open) -> None:
    page = board(**PHONE)
    start = middle(row(page, FAST, "head").locator(".grip"))
    assert start[1] < 600
    Finger(page).swipe(start, (start[0] + 60, start[1] + 260))
    expect_fast(page, [])


def test_a_finger_on_a_row_scrolls_and_moves_nothing(board: Open) -> None:
    page = board("resnet152", **PHONE)
    page.get_by_role("button", name="Expand all").click()
    scroller = pane(page, SLOW).locator(".scroll")
    scroller.scroll_into_view_if_needed()
    box = scroller.bounding_box()
    assert box is not None
    x, y = box["x"] + 150, box["y"] + box["height"] - 40
    Finger(page).swipe((x, y), (x, y - 180))
    page.wait_for_function("e => e.scrollTop > 50", arg=scroller.element_handle())
    expect_unmoved(page, ["fc.weight", "fc.bias"])


def test_the_page_scrolls_when_a_finger_drags_to_the_edge_of_the_window(board: Open) -> None:
    page = board("small", groups=6, **PHONE)
    start = middle(row(page, FAST, "fc").locator(".grip"))
    last = pane(page, 5)
    before = last.evaluate("e => e.getBoundingClientRect().top")
    assert before > PHONE["height"]
    finger = Finger(page)
    finger.send("touchStart", start)
    for step in range(1, 13):
        finger.send("touchMove", (start[0] + 5 * step, start[1] + step * (PHONE["height"] - 12 - start[1]) / 12))
        page.wait_for_timeout(16)
    page.wait_for_function("e => e.getBoundingClientRect().top < 700", arg=last.element_handle())
    box = last.bounding_box()
    assert box is not None
    finger.send("touchMove", (200, box["y"] + 60))
    page.wait_for_timeout(50)
    finger.send("touchEnd")
    expect(row(page, 5, "fc")).to_be_visible()
    expect_fast(page, [])


def test_a_tap_selects_and_the_move_button_moves_on_a_phone(board: Open) -> None:
    page = board(**PHONE)
    row(page, FAST, "head").locator(".text").tap()
    expect(page.get_by_text("1 row selected")).to_be_visible()
    row(page, FAST, "head").locator(".move").tap()
    expect_fast(page, [])


def test_a_narrow_page_stacks_the_panes_and_nothing_is_wider_than_the_screen(board: Open) -> None:
    page = board("resnet152", **PHONE)
    top, below = pane(page, FAST).bounding_box(), pane(page, SLOW).bounding_box()
    assert top is not None and below is not None
    assert below["y"] >= top["y"] + top["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(row(page, FAST, "fc").locator(".kind")).to_be_hidden()
    expect(row(page, FAST, "fc").locator(".params")).to_be_visible()
