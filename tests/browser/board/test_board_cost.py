"""What layers cost and how far gradients travel on a fast step, on the layer board."""

from __future__ import annotations

import re

import pytest
from board_rows import FAST, SLOW, drag, pane, row
from board_steps import HEAD, Open, expect_fast, expect_unmoved, focused, names, press, tab_to_tree, toggle, violations
from board_trees import HOSTILE_NAME
from finger import PHONE
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

ONLY_HEAD = "Fast steps: gradients cross 1 of 16 layers, back to head"
MOVES = r"Moving it to {}: a fast step takes [\d.]+ instead of [\d.]+ ms \({}\d+ %\)"


def words(page: Page) -> Locator:
    return page.locator(".reach-words")


def marked(page: Page, group: int, mark: str = "reached") -> list[str]:
    """The rows of a pane that have this mark, from the top."""
    rows = pane(page, group).locator(f".row.{mark}")
    return rows.evaluate_all("rows => rows.map((row) => row.dataset.id)")


def expect_lines(page: Page, fast: str | None, slow: str | None) -> None:
    """The row of each pane that has the line above it."""
    for group, path in ((FAST, fast), (SLOW, slow)):
        expect(pane(page, group).locator(".row.stop")).to_have_count(int(path is not None))
        if path is not None:
            expect(row(page, group, path)).to_have_class(re.compile("stop"))


def width_of(locator: Locator, part: str, side: str) -> str:
    """How thick one of the drawn lines of a row is."""
    script = "(row, [part, side]) => getComputedStyle(row, part)[`border${side}Width`]"
    return locator.evaluate(script, [part, side])


@pytest.mark.parametrize("cost", ["measured", "graph"])
def test_dragging_an_early_layer_moves_the_line_up_and_undo_brings_it_back(board: Open, cost: str) -> None:
    page = board(cost=cost)
    expect(words(page)).to_have_text(ONLY_HEAD)
    expect_lines(page, "head", None)
    assert (marked(page, FAST), marked(page, SLOW)) == (["head"], [])
    drag(page, row(page, SLOW, "encoder"), pane(page, FAST))
    expect(words(page)).to_have_text("Fast steps: gradients cross 15 of 16 layers, back to encoder.0.attention")
    expect_lines(page, "encoder", HOSTILE_NAME)
    drag(page, row(page, SLOW, "embed"), pane(page, FAST))
    expect(words(page)).to_have_text("Fast steps: gradients cross 16 of 16 layers, back to embed")
    expect_lines(page, "embed", "class_token")
    assert marked(page, SLOW) == ["class_token", HOSTILE_NAME]
    for _ in range(2):
        page.get_by_role("button", name="Undo").click()
    expect(words(page)).to_have_text(ONLY_HEAD)
    expect_lines(page, "head", None)
    expect_fast(page, HEAD)


def test_a_group_that_is_removed_takes_what_was_told_of_its_rows_along(board: Open) -> None:
    page = board(cost="measured", groups="3")
    drag(page, row(page, SLOW, "embed"), pane(page, 2))
    row(page, 2, "embed").hover()
    told = page.locator(".what-if")
    expect(told).to_contain_text("embed")
    page.get_by_role("button", name="Remove group").click()
    expect(page.locator(".pane")).to_have_count(2)
    expect(row(page, SLOW, "embed")).to_be_visible()
    expect(told).not_to_contain_text("embed")
    drag(page, row(page, SLOW, "embed"), pane(page, FAST))
    expect(words(page)).to_have_text(re.compile("back to embed$"))


def test_the_line_is_inside_an_open_block_and_a_closed_one_says_that_it_is_crossed_in_part(board: Open) -> None:
    page = board("small", cost="graph")
    toggle(page, SLOW, "layer2.0")
    row(page, SLOW, "layer2.0.bn2").locator(".move").click()
    expect(words(page)).to_have_text(re.compile("back to layer2.0.bn2$"))
    expect_lines(page, "layer2", "layer2.0.conv3")
    toggle(page, SLOW, "layer2.0")
    expect_lines(page, "layer2", "layer2")
    block = row(page, SLOW, "layer2.0")
    expect(block).to_have_class(re.compile("partly"))
    expect(block).to_have_attribute("aria-label", re.compile(r"gradients pass on fast steps, in \d of \d layers$"))
    assert block.evaluate("row => getComputedStyle(row, '::after').borderRightStyle") == "dashed"


def test_marks_are_drawn_and_not_only_coloured(board: Open) -> None:
    page = board(cost="graph")
    head, embed = row(page, FAST, "head"), row(page, SLOW, "embed")
    assert (width_of(head, "::after", "Right"), width_of(head, "::before", "Top")) == ("4px", "2px")
    assert embed.evaluate("row => getComputedStyle(row, '::after').content") == "none"
    expect(head.get_by_text("gradients stop here")).to_be_visible()
    expect(pane(page, SLOW).get_by_text("gradients stop here").locator("visible=true")).to_have_count(0)


def test_pointing_at_a_row_tells_its_seconds_and_what_moving_it_would_do(board: Open) -> None:
    page = board(cost="measured")
    encoder = row(page, SLOW, "encoder")
    expect(page.locator(".what-if")).to_have_text(
        re.compile(r"^A fast step takes about [\d.]+ ms, a step of SGD [\d.]+ ms$")
    )
    expect(encoder.locator(".bar-cell")).not_to_have_attribute("title", re.compile("."))
    encoder.locator(".madds").hover()
    costs = r"[\d.]+ ms forward, [\d.]+ ms backward, 1.12 MB kept for the backward pass"
    for cell in (".bar-cell", ".madds"):
        expect(encoder.locator(cell)).to_have_attribute(
            "title", re.compile(f"^{costs}\n{MOVES.format('fast', '[+]')}$")
        )
    expect(page.locator(".what-if")).to_have_text(re.compile(f"^encoder · {MOVES.format('fast', '[+]')} · {costs}$"))
    row(page, FAST, "head").hover()
    expect(row(page, FAST, "head").locator(".madds")).to_have_attribute("title", re.compile(MOVES.format("slow", "−")))
    expect(encoder.locator(".madds")).not_to_have_attribute("title", re.compile("."))


def test_what_is_told_follows_the_assignment(board: Open) -> None:
    page = board(cost="measured")
    tab_to_tree(page, SLOW)
    press(page, "End", "ArrowUp")
    told = page.locator(".what-if")
    before = told.inner_text()
    assert before.startswith(f"{HOSTILE_NAME} · Moving it to fast")
    press(page, "Home", "ArrowDown", "f", "End")
    assert focused(page) == f"{SLOW}:{HOSTILE_NAME}"
    expect(told).to_have_text(re.compile("^<img .* Moving it to fast"))
    assert told.inner_text() != before
    press(page, "Control+z")
    expect(told).to_have_text(before)


def test_bars_and_percents_show_time_and_a_folded_run_has_that_of_its_members(board: Open) -> None:
    page = board("resnet152", cost="measured")
    expect(pane(page, SLOW).locator(".columns .bar-cell")).to_have_text("time", use_inner_text=True)
    heading = pane(page, SLOW).locator(".columns .madds")
    expect(heading).to_have_text("share", use_inner_text=True)
    expect(heading.locator("[title]").last).to_have_attribute("title", re.compile("time of a step of SGD"))
    toggle(page, SLOW, "layer3")
    forward, backward = (
        row(page, SLOW, "fold:layer3.1")
        .locator("i")
        .evaluate_all("bars => bars.map((bar) => parseFloat(bar.style.width))")
    )
    assert 0 < forward < backward
    percents = [
        row(page, SLOW, path).locator(".madds").inner_text() for path in ("layer3", "layer3.0", "fold:layer3.1")
    ]
    block, first, rest = (float(text.removesuffix(" %")) for text in percents)
    assert block == pytest.approx(first + rest, abs=0.11)
    assert rest == pytest.approx(forward + backward, abs=0.06)
    assert "% of the time" in (row(page, SLOW, "layer3").get_attribute("aria-label") or "")


def test_without_measured_seconds_none_are_shown(board: Open) -> None:
    page = board(cost="graph")
    row(page, SLOW, "encoder").locator(".madds").hover()
    expect(pane(page, SLOW).locator(".columns .madds")).to_have_text("mult-adds", use_inner_text=True)
    expect(row(page, SLOW, "encoder").locator(".madds")).not_to_have_attribute("title", re.compile("."))
    expect(page.locator(".what-if")).to_be_empty()
    assert not re.search(r"\d ms", page.locator(".board").inner_html())
    assert "of the time" not in (row(page, SLOW, "encoder").get_attribute("aria-label") or "")


def test_without_cost_the_board_is_as_it_was(board: Open) -> None:
    page = board()
    expect(page.locator(".reach")).to_be_hidden()
    expect(page.locator(".row.reached, .row.stop")).to_have_count(0)
    expect(pane(page, SLOW).locator(".columns .bar-cell")).to_have_text("share", use_inner_text=True)
    assert "gradients" not in (row(page, FAST, "head").get_attribute("aria-label") or "")


def test_cost_that_comes_and_goes_changes_what_is_shown_and_nothing_else(board: Open) -> None:
    page = board(cost="measured")
    row(page, SLOW, "embed").locator(".move").click()
    row(page, SLOW, "encoder").hover()
    moved = "Fast steps: gradients cross 16 of 16 layers, back to embed"
    for known in (False, True):
        page.get_by_text("No cost").click()
        expect(page.locator(".reach")).to_be_visible(visible=known)
        expect(page.locator(".row.reached")).to_have_count(7 if known else 0)
        expect(page.locator(".row[aria-description], .row .madds[title*='Moving']")).to_have_count(0)
        heading = pane(page, SLOW).locator(".columns .madds")
        expect(heading).to_have_text("share" if known else "mult-adds", use_inner_text=True)
    expect(words(page)).to_have_text(moved)
    expect_unmoved(page, ["embed.weight", *HEAD])


def test_periods_count_and_no_fast_step_is_said_in_words(board: Open) -> None:
    page = board(cost="measured")
    page.get_by_text("No fast group").click()
    expect(words(page)).to_have_text("Fast steps: no group is updated at every step")
    expect(page.locator(".row.reached, .row.stop")).to_have_count(0)
    row(page, SLOW, "encoder").hover()
    expect(page.locator(".what-if")).not_to_contain_text("Moving")
    page.get_by_text("No fast group").click()
    expect(words(page)).to_have_text(ONLY_HEAD)
    page.get_by_role("button", name="All slow").click()
    expect(words(page)).to_have_text("Fast steps: no layer is updated at every step")
    expect(page.locator(".row.reached, .row.stop")).to_have_count(0)


def test_by_keyboard_a_row_is_told_moved_and_announced_as_passed(board: Open) -> None:
    page = board(cost="measured")
    tab_to_tree(page, SLOW)
    press(page, "ArrowDown")
    embed = row(page, SLOW, "embed")
    expect(embed).to_have_attribute("aria-description", re.compile(MOVES.format("fast", "[+]")))
    press(page, "f")
    expect(words(page)).to_have_text("Fast steps: gradients cross 16 of 16 layers, back to embed")
    expect(row(page, FAST, "embed")).to_have_attribute("aria-label", re.compile("gradients pass on fast steps$"))
    assert focused(page) == f"{SLOW}:encoder"
    expect(page.locator(".what-if")).to_have_text(re.compile("^encoder · "))
    expect(words(page)).to_have_attribute("aria-live", "polite")


def test_a_phone_shows_marks_and_time_and_a_tap_tells_of_a_row(board: Open) -> None:
    page = board("resnet152", cost="measured", **PHONE)
    fc = row(page, FAST, "fc")
    expect(fc.locator(".madds")).to_be_visible()
    assert width_of(fc, "::after", "Right") == "4px"
    top = pane(page, FAST).evaluate("e => e.offsetTop")
    row(page, SLOW, "layer2").locator(".text").tap()
    expect(page.locator(".what-if")).to_have_text(re.compile(f"^layer2 · {MOVES.format('fast', '[+]')}"))
    assert pane(page, FAST).evaluate("e => e.offsetTop") == top
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    row(page, SLOW, "layer2").locator(".move").tap()
    expect(words(page)).to_have_text(re.compile("back to layer2.0.conv1$"))
    expect_fast(page, [*names("resnet152", "layer2"), "fc.weight", "fc.bias"])


def test_pointing_at_rows_sends_nothing_to_python(board: Open) -> None:
    page = board(cost="measured")
    for path in ("class_token", "embed", "encoder"):
        row(page, SLOW, path).hover()
    expect_unmoved(page, HEAD)
    expect(page.locator(".st-key-runs")).to_have_text("run 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_accessibility_violation_in_marks_and_words(board: Open, scheme: str) -> None:
    page = board("toy", cost="measured", color_scheme=scheme, reduced_motion="reduce")
    toggle(page, SLOW, "fold:encoder.0")
    row(page, SLOW, "encoder.2").locator(".move").click()
    row(page, SLOW, "encoder.1").click()
    assert violations(page) == []
