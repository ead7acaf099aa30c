"""The layer board's colours, motion and accessibility, and what a large tree costs."""

from __future__ import annotations

import re
import statistics

import pytest
from board_rows import FAST, SLOW, drag, middle, pane, row
from board_steps import HEAD, Open, expect_fast, focused, names, press, tab_to_tree, violations
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_colours_follow_the_theme_while_the_board_is_mounted(board: Open) -> None:
    page = board(color_scheme="light")
    drag(page, row(page, SLOW, "class_token"), pane(page, FAST))
    read = "e => getComputedStyle(e).backgroundColor"
    light = pane(page, FAST).evaluate(read)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "([e, before]) => getComputedStyle(e).backgroundColor !== before",
        arg=[pane(page, FAST).element_handle(), light],
    )
    expect_fast(page, ["class_token", *HEAD])
    row(page, SLOW, "embed").locator(".move").click()
    expect_fast(page, ["class_token", "embed.weight", *HEAD])


def test_nothing_is_animated_for_those_who_ask_for_less_motion(board: Open) -> None:
    page = board(reduced_motion="reduce")
    row(page, SLOW, "class_token").locator(".move").click()
    arrived = row(page, FAST, "class_token")
    expect(arrived).to_have_class(re.compile("flash"))
    assert arrived.evaluate("e => getComputedStyle(e).animationName") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("groups", [2, 6])
def test_axe_finds_no_accessibility_violation(board: Open, scheme: str, groups: int) -> None:
    page = board("toy", groups=groups, color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="Expand all").click()
    row(page, SLOW, "encoder").click()
    for group in range(2, groups):
        row(page, SLOW, f"encoder.{group - 2}.norm").click()
        press(page, str(group + 1))
    assert violations(page) == []


def test_only_rows_in_sight_are_in_the_document_however_large_the_tree(board: Open) -> None:
    page = board("resnet152")
    page.get_by_label("fold repeated blocks").uncheck()
    page.get_by_role("button", name="Expand all").click()
    assert pane(page, SLOW).locator(".row").count() < 60
    scroller = pane(page, SLOW).locator(".scroll")
    middle(scroller)
    page.mouse.move(*middle(scroller))
    page.mouse.wheel(0, 100_000)
    expect(row(page, SLOW, "layer4.2.bn3.bias")).to_be_visible()
    tab_to_tree(page, SLOW)
    press(page, "Home")
    assert focused(page) == f"{SLOW}:conv1"
    expect(row(page, SLOW, "conv1")).to_be_in_viewport()
    press(page, "End")
    assert focused(page) == f"{SLOW}:layer4.2.bn3.bias"
    expect(row(page, SLOW, "layer4.2.bn3.bias")).to_be_in_viewport()


def test_a_drop_reaches_python_with_a_message_that_does_not_grow_with_the_tree(board: Open) -> None:
    page = board("resnet152")
    sizes: list[int] = []

    def count(payload: str | bytes) -> None:
        sizes.append(len(payload))

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    page.reload()
    expect(row(page, SLOW, "layer4")).to_be_visible()
    first = sum(sizes)
    expect_fast(page, ["fc.weight", "fc.bias"])
    sizes.clear()
    row(page, SLOW, "layer4").locator(".move").click()
    expect_fast(page, [*names("resnet152", "layer4"), "fc.weight", "fc.bias"])
    assert first > 50_000
    assert statistics.fsum(sizes) < first / 5
