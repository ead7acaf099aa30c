"""How soon the page follows when a layer of ResNet-152 is dropped: real mouse drags and keys, every row open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page

from benchmarks import run, stopwatch
from benchmarks.app_under_test import WINDOW, chromium, open_page, server, wait_complete
from benchmarks.figures import Figure, Result, Target

FAST, SLOW = 0, 1
DRAGS, KEYS = 16, 8
REST_MS = 300.0  # between two drops: rows stop moving
DROP_MS = Target("at most", 250.0)
MEASURED_WITHIN_MS = 240_000.0
ABOUT = (
    "ResNet-152 on the Explore page, its costs measured, every row of its layer tree open and unfolded. Time from the "
    "mouse button's release until the cost meter shows other figures; and, with the code to take away unfolded, until "
    "the partition that Python made is in it and in the address bar, and drawn."
)

# The middle of the name of the n-th row that lies wholly in the pane, below its sticky header.
ROW_IN_SIGHT = """(pane, position) => {
  const { bottom } = pane.getBoundingClientRect(), top = pane.querySelector('.columns').getBoundingClientRect().bottom;
  const boxes = [...pane.querySelectorAll('.row')].map((row) => [row.getBoundingClientRect(), row]);
  const inside = boxes.filter(([box]) => box.top >= top && box.bottom <= bottom).map(([, row]) => row);
  const name = inside[Math.min(position, inside.length - 1)].querySelector('.text').getBoundingClientRect();
  return [name.x + name.width / 2, name.y + name.height / 2];
}"""


def measure(quick: bool) -> Result:
    """Drag rows from slow to fast and back, then move some by key."""
    drags, keys = (3, 2) if quick else (DRAGS, KEYS)
    with run.fresh_home(), server() as app, chromium() as browser:
        page = open_page(browser, f"{app.address}/?m=resnet152")
        wait_complete(page)
        page.get_by_role("button", name="Measure the costs").click()
        page.locator(".meter .figures b").first.wait_for(timeout=MEASURED_WITHIN_MS)
        wait_complete(page)
        rows = _open_all(page)
        stopwatch.install(page)
        metered = [_drop(page, number, stopwatch.meter_ms) for number in range(drags)]
        stopwatch.open_code(page)
        _scroll_up(page)
        dropped = [_drop(page, number, stopwatch.reaction_ms) for number in range(drags)]
        pressed = [_press(page, number) for number in range(keys)]
    return Result(
        "board",
        ABOUT,
        [
            Figure("drop_to_meter_ms", "drop → cost meter updated", "ms", _seen(metered), DROP_MS),
            Figure("drop_to_page_ms", "drop → page updated", "ms", _seen(dropped), DROP_MS),
            Figure("key_to_page_ms", "F or S key → page updated", "ms", pressed),
        ],
        settings={"model": "resnet152", "modules_and_parameters": rows, "drags": drags, "keys": keys},
    )


def _scroll_up(page: Page) -> None:
    """Scroll the page to its top, with the mouse beside the board."""
    page.mouse.move(3, WINDOW["height"] / 2)
    page.mouse.wheel(0, -100_000)
    page.wait_for_timeout(REST_MS)


def _open_all(page: Page) -> int:
    """Unfold and open every row; return how many rows the tree has."""
    page.locator(".fold").uncheck()
    page.get_by_role("button", name="Expand all").click()
    return int(page.locator(".pane .tree").last.evaluate("(tree) => Math.round(tree.scrollHeight / 26)"))


def _seen(times: Sequence[float | None]) -> list[float]:
    return [each for each in times if each is not None]


def _drop(page: Page, number: int, time_ms: Callable[[Page, Callable[[], None]], float | None]) -> float | None:
    """Drag a row of one pane to the other, to fast and back in turn; return the milliseconds."""
    page.wait_for_timeout(REST_MS)
    source, target = (FAST, SLOW) if number % 2 else (SLOW, FAST)
    begin, end = _row_in_sight(page, source, 2 + number % 5), _middle(page.locator(f"[data-group='{target}'] .scroll"))
    return time_ms(page, lambda: _drag(page, begin, end))


def _press(page: Page, number: int) -> float:
    """Move a row to the other pane by its key."""
    page.wait_for_timeout(REST_MS)
    source, key = (FAST, "s") if number % 2 else (SLOW, "f")
    page.mouse.click(*_row_in_sight(page, source, 3))
    page.keyboard.press("Escape")  # the key moves the row alone, not a selection
    return stopwatch.reaction_ms(page, lambda: page.keyboard.press(key), "keydown")


def _drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move(begin[0] + 4, begin[1] + 6, steps=3)
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def _row_in_sight(page: Page, pane: int, position: int) -> tuple[float, float]:
    """Return where the name of one of the rows is that a pane shows now; the pane is not scrolled for it."""
    x, y = page.locator(f"[data-group='{pane}'] .scroll").evaluate(ROW_IN_SIGHT, position)
    return float(x), float(y)


def _middle(locator: Locator) -> tuple[float, float]:
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


if __name__ == "__main__":
    sys.exit(run.main(measure, "board"))
