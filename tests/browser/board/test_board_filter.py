"""The layer board's filter, its folded blocks, and rows that hold nothing of their own."""

from __future__ import annotations

import re

import pytest
from board_rows import FAST, SLOW, drag, pane, row
from board_steps import HEAD, Open, expect_fast, names, toggle
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


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
