"""A stopwatch inside the page: from the user's mouse button or key to what Python makes of it being on the screen."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page

WITHIN_S = 30.0
METER_WITHIN_S = 3.0
LOOK_EVERY_MS = 50.0  # from outside; the time itself is taken inside the page

# Python writes the partition into the address bar, at the end of its run, and into the code to take away. Both have
# to change, and the frame after that has to be drawn. `arm` names the event that starts the clock.
_SCRIPT = """() => {
  const address = () => new URLSearchParams(location.search).get('p');
  const code = () => [...document.querySelectorAll('[data-testid=stCode]')].map((each) => each.textContent).join();
  const meter = () => [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .map((each) => each.shadowRoot?.querySelector('.meter')?.innerHTML ?? '').join();
  const watch = { reaction: null, meter: null };
  watch.arm = (event) => {
    watch.reaction = watch.meter = null;
    window.addEventListener(event, () => {
      const begun = performance.now(), before = [address(), code()], figures = meter();
      const lookAtMeter = () => {
        if (meter() === figures) return requestAnimationFrame(lookAtMeter);
        requestAnimationFrame(() => { watch.meter = performance.now() - begun; });
      };
      lookAtMeter();
      const look = () => {
        if (address() === before[0] || code() === before[1]) return requestAnimationFrame(look);
        requestAnimationFrame(() => { watch.reaction = performance.now() - begun; });
      };
      look();
    }, { capture: true, once: true });
  };
  window.benchmarkWatch = watch;
}"""


def install(page: Page) -> None:
    """Put the stopwatch into the page."""
    page.evaluate(_SCRIPT)


def open_code(page: Page) -> None:
    """Open the code to take away, in which `reaction_ms` looks for the partition."""
    page.get_by_text("Take it with you").click()
    page.locator("[data-testid=stCode]").last.wait_for()


def reaction_ms(page: Page, act: Callable[[], None], event: str = "pointerup") -> float:
    """Act on the board and return the milliseconds until the page shows what Python makes of it.

    Args:
        page: with the stopwatch installed, and the code open.
        act: changes the partition with the mouse or keyboard.
        event: of the browser that starts the clock: the last one that the user makes.
    """
    _start(page, act, event)
    found = _seen(page, "reaction", WITHIN_S)
    if found is None:
        raise RuntimeError(f"the page showed no change within {WITHIN_S:.0f} s")
    return found


def meter_ms(page: Page, act: Callable[[], None]) -> float | None:
    """Move a layer by mouse and return the milliseconds until the cost meter shows something else.

    None if it never does: a layer that costs next to nothing changes no figure.
    """
    _start(page, act, "pointerup")
    return _seen(page, "meter", METER_WITHIN_S)


def _start(page: Page, act: Callable[[], None], event: str) -> None:
    page.evaluate("(event) => window.benchmarkWatch.arm(event)", event)
    act()


def _seen(page: Page, what: str, within_s: float) -> float | None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = page.evaluate("(what) => window.benchmarkWatch[what]", what)
        if found is not None:
            return float(found)
        page.wait_for_timeout(LOOK_EVERY_MS)
    return None
