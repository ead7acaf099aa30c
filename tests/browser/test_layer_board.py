"""The layer board in a real browser, by mouse, keyboard and touch, on the page of board_app.py."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from board_trees import HOSTILE_NAME, TREES
from finger import Finger
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

FAST, SLOW = 0, 1
HEAD = ["head.weight", "head.bias"]
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def address(streamlit_server: Callable[..., str]) -> str:
    return streamlit_server(Path(__file__).with_name("board_app.py"))


@pytest.fixture
def board(open_page: Open, address: str) -> Callable[..., Page]:
    """Open the board of a tree: board("toy", groups=2, **options of the page)."""

    def start(tree: str = "toy", groups: int = 2, **options: object) -> Page:
        page = open_page(f"{address}/?tree={tree}&groups={groups}", **options)
        expect(page.locator(".pane .row").first).to_be_visible()
        return page

    return start


def pane(page: Page, group: int) -> Locator:
    return page.locator(f".pane[data-group='{group}']")


def row(page: Page, group: int, path: str) -> Locator:
    return pane(page, group).locator(f".row[data-id='{path}']")


def names(tree: str, prefix: str) -> list[str]:
    """The parameters of a test tree whose name starts so."""
    return [each["id"] for each in TREES[tree]() if each["unit"] and each["id"].startswith(prefix)]


def expect_fast(page: Page, paths: list[str]) -> None:
    """What Python says is in the first group, in architecture order."""
    expect(page.locator(".st-key-fast")).to_have_text("fast: " + ", ".join(paths))


def expect_unmoved(page: Page, paths: list[str]) -> None:
    """After one more run, in which anything that was sent would have arrived, these are still the fast ones."""
    runs = page.locator(".st-key-runs")
    before = runs.inner_text()
    page.get_by_role("button", name="Plain rerun").click()
    expect(runs).not_to_have_text(before)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    expect_fast(page, paths)


def middle(locator: Locator) -> tuple[float, float]:
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def grab(page: Page, source: Locator) -> tuple[float, float]:
    """Press the mouse on a row's name and move far enough for a drag to begin."""
    x, y = middle(source.locator(".text"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y + 6, steps=3)
    return x, y


def drag(page: Page, source: Locator, target: Locator) -> None:
    grab(page, source)
    page.mouse.move(*middle(target), steps=8)
    page.mouse.up()


def toggle(page: Page, group: int, path: str) -> None:
    row(page, group, path).locator(".twist").click()


# ---- mouse ---------------------------------------------------------------------------------------------------------


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


# ---- keyboard ------------------------------------------------------------------------------------------------------


def focused(page: Page) -> str:
    """`group:id` of the row that has the keyboard."""
    return page.evaluate(
        """() => { const host = document.querySelector('[data-testid=stBidiComponentIsolated]');
                   const row = host.shadowRoot.activeElement?.closest('.row');
                   return row && `${row.closest('.pane').dataset.group}:${row.dataset.id}`; }"""
    )


def tab_to_tree(page: Page, group: int) -> None:
    """Walk with Tab from the filter until a row of this pane has the keyboard."""
    page.locator(".filter").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if (focused(page) or "").startswith(f"{group}:"):
            return
    raise AssertionError("Tab never reached the tree")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


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


# ---- filter, folding -----------------------------------------------------------------------------------------------


def test_all_layers_of_a_type_are_selected_and_moved_at_once(board: Open) -> None:
    page = board("small")
    norms = [name for name in names("small", "") if re.search(r"(bn\d|downsample\.1)\.", name)]
    page.locator(".filter").press_sequentially("batchnorm")
    page.get_by_role("button", name="Select 9 matches").click()
    page.get_by_role("button", name="Move selection to fast").click()
    expect_fast(page, [*norms, "fc.weight", "fc.bias"])


def test_a_pattern_selects_parameters_across_blocks(board: Open) -> None:
    page = board("small")
    page.locator(".filter").press_sequentially("layer?.*.bias")
    page.get_by_role("button", name="Select 8 matches").click()
    page.get_by_role("button", name="Move selection to fast").click()
    biases = [name for name in names("small", "layer") if name.endswith(".bias")]
    expect_fast(page, [*biases, "fc.weight", "fc.bias"])
    page.locator(".filter").fill("no such layer")
    expect(page.get_by_text("No match in this group")).to_have_count(2)


def test_repeated_blocks_are_folded_moved_together_and_opened(board: Open) -> None:
    page = board("resnet152")
    toggle(page, SLOW, "layer3")
    fold = row(page, SLOW, "fold:layer3.1")
    expect(fold).to_contain_text("1…35")
    expect(fold).to_contain_text("35 × Bottleneck")
    drag(page, fold, pane(page, FAST))
    expect(row(page, FAST, "fold:layer3.1")).to_be_visible()
    expect(row(page, FAST, "layer3")).to_contain_text("mixed 315/327")
    page.get_by_role("button", name="Undo").click()
    toggle(page, SLOW, "fold:layer3.1")
    row(page, SLOW, "layer3.2").locator(".move").click()
    expect_fast(page, [*names("resnet152", "layer3.2."), "fc.weight", "fc.bias"])
    page.get_by_label("fold repeated blocks").uncheck()
    expect(row(page, SLOW, "layer3.1")).to_be_visible()
    expect(row(page, SLOW, "fold:layer3.1")).to_have_count(0)


def test_layers_without_parameters_are_shown_on_request_and_tied_ones_always(board: Open) -> None:
    page = board("small")
    expect(row(page, SLOW, "relu")).to_have_count(0)
    expect(row(page, FAST, "avgpool")).to_have_count(0)
    page.get_by_label("hide layers without parameters").uncheck()
    expect(row(page, FAST, "avgpool")).to_be_visible()
    page = board("toy")
    toggle(page, SLOW, "decoder")
    expect(row(page, SLOW, "decoder.weight")).to_contain_text("tied to embed.weight")
    row(page, SLOW, "embed").locator(".move").click()
    expect(row(page, FAST, "decoder.weight")).to_be_visible()
    expect_fast(page, ["embed.weight", *HEAD])


# ---- together with Python ------------------------------------------------------------------------------------------


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


def test_a_layer_named_like_markup_is_text_and_moves_like_any_other(board: Open) -> None:
    page = board()
    evil = row(page, SLOW, HOSTILE_NAME)
    expect(evil.locator(".text")).to_have_text(HOSTILE_NAME)
    drag(page, evil, pane(page, FAST))
    expect_fast(page, [f"{HOSTILE_NAME}.weight", *HEAD])
    assert page.locator(".board img").count() == 0


# ---- touch and narrow screens --------------------------------------------------------------------------------------


PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}


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


# ---- looks and speed -----------------------------------------------------------------------------------------------


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
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[dev]'")
    page = board("toy", groups=groups, color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="Expand all").click()
    row(page, SLOW, "encoder").click()
    for group in range(2, groups):
        row(page, SLOW, f"encoder.{group - 2}.norm").click()
        press(page, str(group + 1))
    page.mouse.move(0, 0)
    # Streamlit greys out what a run under way has not reached yet.
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_function(
        """() => { for (let e = document.querySelector('[data-testid=stBidiComponentIsolated]'); e; e = e.parentElement)
                     if (getComputedStyle(e).opacity < 1) return false;
                   return true; }"""
    )
    results = axe.Axe().run(page, context="[data-testid=stBidiComponentIsolated]")
    found = [f"{each['id']}: {node['html']}" for each in results.response["violations"] for node in each["nodes"]]
    assert results.response["passes"]
    assert found == []


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
