"""Base rule, precision and a schedule for k, chosen by mouse and keyboard and raced on the digits."""

from __future__ import annotations

import pytest
from app_steps import (
    SMALL,
    expect_raced,
    explore,
    field,
    link,
    press_race,
    settled,
    stored,
    type_into,
    unfold,
    wait_link,
    wait_result,
)
from playwright.sync_api import expect
from servers import OpenPage, Server

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.usefixtures("free_device")
def test_adamw_in_bf16_with_a_schedule_is_raced_and_said(app: Server, open_page: OpenPage) -> None:
    page = explore(open_page, app.address, f"{SMALL}&dev=cpu")
    unfold(page, "More settings")
    page.get_by_role("radio", name="AdamW").click()
    wait_link(page, "base", "adamw")
    expect(field(page, "Momentum")).to_have_count(0)
    expect(field(page, "Learning rate per step")).to_have_value("0.001")
    page.get_by_role("radio", name="bf16").click()
    wait_link(page, "prec", "bf16")

    before = link(page)["p"]
    page.get_by_role("button", name="Rates").click()
    type_into(page, "Schedule for k of slow", "1:1")
    wait_link(page, "p", other_than=before)
    expect(page.get_by_text("slow: k = 1 for 1 epoch, then 5")).to_be_visible()
    page.keyboard.press("Escape")
    settled(page)

    unfold(page, "Take it with you")
    expect(page.locator("[data-testid=stCode]").first).to_contain_text("--base adamw")
    race = press_race(page)
    card = wait_result(page)
    expect(card).to_contain_text("multirate and adamw")
    expect(card).to_contain_text("AdamW, bf16; fast: fc; slow every 5 steps (k = 1 for 1 epoch, then 5)")
    expect_raced(page, ("adamw", "multirate"))
    environment = stored(app.home, race).environment
    assert environment["precision"] == "bf16 autocast"
