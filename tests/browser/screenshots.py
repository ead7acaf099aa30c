"""Take the pictures of the README: `python tests/browser/screenshots.py docs/screenshots`.

Two real races of the default preset, in light and dark, wide and narrow; about three minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from app_steps import explore, press_race, stored, type_into, wait_curves, wait_link, wait_result
from board_rows import FAST, SLOW, drag, pane, row
from finger import PHONE
from playwright.sync_api import Browser, Page, sync_playwright
from servers import CHROMIUM_ARGS, ROOT, Server, chromium_path, free_port
from test_runs import mark, table

WIDE = {"width": 1440, "height": 1000, "device_scale_factor": 1.5}
TALLEST_PX = 1500
MEASURED_WITHIN_MS = 120_000


def take_all(browser: Browser, server: Server, out: Path) -> None:
    """Walk through the app once."""

    def open_page(url: str, width: int, height: int, **options: Any) -> Page:
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        page.goto(url)
        return page

    page = explore(open_page, server.address, **WIDE)
    page.locator(".meter .figures b").first.wait_for(timeout=MEASURED_WITHIN_MS)  # begins by itself
    first = press_race(page)
    _wait_for_half(page, server, first)
    shoot(page, out / "explore.png")
    for name, options in (("dark", {**WIDE, "color_scheme": "dark"}), ("narrow", dict(PHONE))):
        other = open_page(page.url, **options)
        wait_curves(other)
        shoot(other, out / f"{name}.png")
        other.context.close()
    wait_result(page)
    shoot(page, out / "result.png")

    drag(page, row(page, SLOW, "layer3"), pane(page, FAST))
    before = wait_link(page, "p")
    type_into(page, "k", "10")
    wait_link(page, "p", other_than=before)
    second = press_race(page)
    while stored(server.home, second).state != "ended":
        page.wait_for_timeout(500)
    page.get_by_role("link", name="Runs").click()
    table(page).locator("td").first.wait_for(state="attached")
    mark(page, 0)
    wait_curves(page)
    mark(page, 1)
    page.get_by_text("Difference of the two configurations").wait_for()
    wait_curves(page)
    page.mouse.move(0, 0)
    shoot(page, out / "runs.png")


def _wait_for_half(page: Page, server: Server, race: str) -> None:
    while stored(server.home, race).fraction < 0.5:
        page.wait_for_timeout(200)
    wait_curves(page)


def shoot(page: Page, path: Path) -> None:
    """Save what is on the page, not only what fits into the window."""
    page.wait_for_timeout(1500)  # for what moves: the board's flashes, the plot's axes
    height = page.locator("[data-testid=stMain]").evaluate("part => part.scrollHeight")
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": size["width"], "height": min(height, TALLEST_PX)})
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    page.set_viewport_size(size)


def main(out: Path) -> None:
    """Start a server with an empty home and a browser, and take all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = Server(ROOT / "app.py", Path(home), Path(home) / "server.log", {}, free_port())
        server.start()
        try:
            take_all(playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_ARGS), server, out)
        finally:
            server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
