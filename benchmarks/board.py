"""How soon the page follows when a layer of ResNet-152 is dropped: real mouse drags and keys, every row open."""

from __future__ import annotations

import sys

from playwright.sync_api import Locator, Page

from benchmarks import run, stopwatch
from benchmarks.app_under_test import chromium, open_page, server, wait_complete
from benchmarks.figures import Figure, Result, Target

FAST, SLOW = 0, 1
DRAGS, KEYS = 16, 8
DROP_MS = Target("at most", 250.0)
ABOUT = (
    "ResNet-152 on the Explore page, every row of its layer tree open and unfolded. Time from the mouse button's "
    "release until the partition that Python made is in the address bar and in the code to take away, and drawn."
)


def measure(quick: bool) -> Result:
    """Drag rows from slow to fast and back, then move some by key."""
    drags, keys = (3, 2) if quick else (DRAGS, KEYS)
    with run.fresh_home(), server() as app, chromium() as browser:
        page = open_page(browser, f"{app.address}/?m=resnet152")
        wait_complete(page)
        rows = _open_all(page)
        stopwatch.install(page)
        page.keyboard.press("Home")
        dropped = [_drop(page, number) for number in range(drags)]
        pressed = [_press(page, number) for number in range(keys)]
    return Result(
        "board",
        ABOUT,
        [
            Figure("drop_to_page_ms", "drop → page updated", "ms", dropped, DROP_MS),
            Figure("key_to_page_ms", "F or S key → page updated", "ms", pressed),
        ],
        settings={"model": "resnet152", "modules_and_parameters": rows, "drags": drags, "keys": keys},
    )


def _open_all(page: Page) -> int:
    """Unfold and open every row; return how many rows the tree has."""
    page.locator(".fold").uncheck()
    page.get_by_role("button", name="Expand all").click()
    return int(page.locator(".pane .tree").last.evaluate("(tree) => Math.round(tree.scrollHeight / 26)"))


def _drop(page: Page, number: int) -> float:
    """Drag a row of one pane to the other: mostly to fast, every fourth one back."""
    source, target = (FAST, SLOW) if number % 4 == 3 else (SLOW, FAST)
    return stopwatch.reaction_ms(page, lambda: _drag(page, _row(page, source, 2 + number % 5), target))


def _press(page: Page, number: int) -> float:
    """Move a row to the other pane by its key."""
    source, key = (FAST, "s") if number % 2 else (SLOW, "f")
    _row(page, source, 3).locator(".text").click()
    page.keyboard.press("Escape")  # the key moves the row alone, not a selection
    return stopwatch.reaction_ms(page, lambda: page.keyboard.press(key), "keydown")


def _drag(page: Page, source: Locator, target: int) -> None:
    x, y = _middle(source.locator(".text"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y + 6, steps=3)
    page.mouse.move(*_middle(page.locator(f".pane[data-group='{target}'] .scroll")), steps=8)
    page.mouse.up()


def _row(page: Page, pane: int, position: int) -> Locator:
    """Return one of the rows that are in view in a pane."""
    rows = page.locator(f".pane[data-group='{pane}'] .row")
    return rows.nth(min(position, rows.count() - 1))


def _middle(locator: Locator) -> tuple[float, float]:
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


if __name__ == "__main__":
    sys.exit(run.main(measure, "board"))
