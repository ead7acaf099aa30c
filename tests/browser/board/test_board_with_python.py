"""The layer board and the script behind it: presets, reruns, other pages, groups and networks."""

from __future__ import annotations

import pytest
from board_rows import FAST, SLOW, drag, grab, middle, pane, row
from board_steps import HEAD, Open, expect_fast, expect_unmoved, names, press, tab_to_tree, toggle
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_preset_replaces_the_assignment_and_can_be_undone_on_the_board(board: Open) -> None:
    page = board()
    row(page, SLOW, "class_token").locator(".move").click()
    expect_fast(page, ["class_token", *HEAD])
    page.get_by_role("button", name="All slow").click()
    expect_fast(page, [])
    expect(pane(page, FAST)).to_contain_text("Drop layers here")
    expect_unmoved(page, [])
    page.get_by_role("button", name="Undo").click()
    expect_fast(page, ["class_token", *HEAD])
    drag(page, row(page, SLOW, "embed"), pane(page, FAST))
    expect_fast(page, ["class_token", "embed.weight", *HEAD])


def test_a_drop_right_after_a_preset_leaves_board_and_python_agreeing(board: Open) -> None:
    page = board()
    for _ in range(4):
        page.get_by_role("button", name="All slow").click(no_wait_after=True)
        row(page, SLOW, "encoder").locator(".move").click(no_wait_after=True)
        before = page.locator(".st-key-runs").inner_text()
        page.get_by_role("button", name="Plain rerun").click()
        expect(page.locator(".st-key-runs")).not_to_have_text(before)
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        page.wait_for_function(
            """() => { const { shadowRoot } = document.querySelector('[data-testid=stBidiComponentIsolated]');
                       const has = (group) => !!shadowRoot.querySelector(`[data-group='${group}'] [data-id=encoder]`);
                       const python = document.querySelector('.st-key-fast').innerText.includes('encoder');
                       return has(0) === python && has(1) === !python; }"""
        )


def test_the_assignment_survives_another_page_and_a_move_within_the_page(board: Open) -> None:
    page = board()
    drag(page, row(page, SLOW, "encoder"), pane(page, FAST))
    fast = names("toy", "encoder") + HEAD
    expect_fast(page, fast)
    page.get_by_role("link", name="Other").click()
    expect(page.get_by_text("nothing here")).to_be_visible()
    page.get_by_role("link", name="Board").click()
    expect_fast(page, fast)
    expect(row(page, FAST, "encoder")).to_be_visible()
    row(page, SLOW, "class_token").locator(".move").click()
    expect_fast(page, ["class_token", *fast])
    page.get_by_text("Elsewhere").click()
    expect(page.locator(".st-key-frame .pane")).to_have_count(2)
    expect(row(page, FAST, "class_token")).to_be_visible()
    row(page, SLOW, "embed").locator(".move").click()
    expect_fast(page, ["class_token", "embed.weight", *fast])


def test_a_drag_goes_on_while_the_page_refreshes_itself(board: Open) -> None:
    page = board()
    page.get_by_text("Ticking").click()
    expect(page.get_by_text("tick 3")).to_be_visible()
    grab(page, row(page, SLOW, "encoder"))
    page.mouse.move(*middle(pane(page, FAST)), steps=5)
    page.wait_for_function("+document.body.innerText.match(/tick (\\d+)/)[1] > 6")
    expect(page.locator(".ghost")).to_be_visible()
    page.mouse.up()
    expect_fast(page, names("toy", "encoder") + HEAD)


def test_a_third_group_gets_a_pane_and_takes_layers_by_drag_key_and_menu(board: Open) -> None:
    page = board()
    row(page, SLOW, "encoder").locator(".move").click()
    expect_fast(page, names("toy", "encoder") + HEAD)
    page.get_by_role("button", name="Add group").click()
    expect(pane(page, 2)).to_contain_text("Drop layers here")
    expect(row(page, FAST, "encoder")).to_be_visible()
    row(page, FAST, "encoder").locator(".move").click()
    page.get_by_role("menuitem", name="slow").click()
    expect(pane(page, 2)).to_contain_text("every 25 steps")
    drag(page, row(page, SLOW, "class_token"), pane(page, 2))
    tab_to_tree(page, FAST)
    press(page, "3")
    row(page, SLOW, "embed").locator(".move").click()
    page.get_by_role("menuitem", name="third").click()
    expect(page.locator(".st-key-codes")).to_have_text("22" + "1" * 21 + "22")
    page.get_by_role("button", name="Remove group").click()
    expect(pane(page, 2)).to_have_count(0)
    expect(page.locator(".st-key-codes")).to_have_text("1" * 25)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_another_network_starts_afresh_and_can_be_moved(board: Open) -> None:
    page = board()
    drag(page, row(page, SLOW, "encoder"), pane(page, FAST))
    page.get_by_role("button", name="Other model").click()
    expect_fast(page, ["fc.weight", "fc.bias"])
    drag(page, row(page, SLOW, "layer1"), pane(page, FAST))
    expect_fast(page, [*names("small", "layer1"), "fc.weight", "fc.bias"])
    page.get_by_role("button", name="Other model").click()
    expect_fast(page, HEAD)
    expect(row(page, SLOW, "encoder")).to_be_visible()


def test_a_disabled_board_moves_nothing_but_can_be_looked_at(board: Open) -> None:
    page = board()
    page.get_by_text("Disabled").click()
    expect(row(page, SLOW, "encoder").locator(".move")).to_be_hidden()
    drag(page, row(page, SLOW, "encoder"), pane(page, FAST))
    row(page, SLOW, "encoder").click()
    press(page, "f")
    toggle(page, SLOW, "embed")
    expect(row(page, SLOW, "embed.weight")).to_be_visible()
    expect_unmoved(page, HEAD)
