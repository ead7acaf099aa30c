"""What the tests of the whole app do and read: steps by mouse, keyboard and touch, and what the page shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psutil
from playwright.sync_api import Locator, Page, expect

from multirate_core import store as races
from multirate_core.store import RaceRow

# The digits with a handful of steps: a race whose time is mostly its worker's start.
SMALL = "nt=128&e=2"
# One that does not end by itself while a test looks at it.
LONG = "nt=128&e=20000"
PATIENCE_MS = 240_000  # for what a worker does: it imports torch and may share the machine
HOSTILE = "<img src=x onerror=alert(1)>"

Open = Callable[..., Page]

# What the live plot shows: races, for every panel and arm the values from left to right, and the range of x.
LIVE = """[...document.querySelectorAll(".mr-plot-chart")]
  .find((chart) => chart.data?.some((trace) => trace.uid.startsWith("accuracy-")))"""
PLOT = f"""() => {{
  const chart = {LIVE};
  if (!chart) return {{ races: [], accuracy: {{}}, loss: {{}}, newest: 0, range: [], zoomed: false }};
  const panel = (name) => Object.fromEntries(chart.data.filter((trace) => trace.uid.startsWith(name + "-"))
    .map((trace) => [trace.name, [...trace.y].filter(Number.isFinite)]));
  return {{
    races: [...new Set(chart.data.map((trace) => trace.uid).filter((uid) => !uid.startsWith("unseen-"))
      .map((uid) => uid.split("-")[1]))],
    accuracy: panel("accuracy"), loss: panel("loss"),
    newest: Math.max(0, ...chart.data.filter((trace) => trace.uid.startsWith("loss-")).map((trace) => trace.x.at(-1))),
    range: [...chart.layout.xaxis.range ?? []], zoomed: chart.layout.xaxis.autorange === false,
  }};
}}"""
# The element with the keyboard, also inside the board, in words.
FOCUSED = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  const row = element?.closest(".row");
  if (row) return `row ${row.closest(".pane").dataset.group}:${row.dataset.id}`;
  return (element?.getAttribute("aria-label") || element?.innerText || element?.tagName || "").trim();
}"""


# ---- the page ------------------------------------------------------------------------------------------------------


def explore(open_page: Open, address: str, query: str = "", **options: Any) -> Page:
    """Open the Explore page in a fresh context and wait for its board."""
    page = open_page(f"{address}/?{query}", **options)
    expect(page.locator(".pane .row").first).to_be_visible(timeout=PATIENCE_MS)
    settled(page)
    return page


def settled(page: Page) -> None:
    """Wait until the page's script has ended and what it sent is on the screen."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)


def link(page: Page) -> dict[str, str]:
    """The address's parameters, each once."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def wait_link(page: Page, name: str, value: str | None = None, other_than: str | None = None) -> str:
    """Wait until the address has this parameter, with this value or another one than before; return its value."""
    end = time.monotonic() + 60
    while (now := link(page).get(name)) in (None, other_than) or value not in (None, now):
        assert time.monotonic() < end, f"{name} is not as expected in {page.url}"
        page.wait_for_timeout(50)
    return link(page)[name]


def address_of(server: str, **parameters: str) -> str:
    return f"{server}/?" + "&".join(f"{name}={quote(value)}" for name, value in parameters.items())


def button(page: Page, name: str) -> Locator:
    """The button of exactly this label: Streamlit puts the name of its icon before it."""
    return page.get_by_role("button").filter(has=page.get_by_text(name, exact=True))


def unfold(page: Page, title: str) -> Locator:
    """Open a folded part of the page by a click."""
    part = page.locator("[data-testid=stExpander]").filter(has=page.locator("summary").filter(has_text=title))
    part.locator("summary").click()
    return part


def choose(page: Page, label: str, title: str) -> None:
    """Choose in a select box by typing the beginning of an entry."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.press_sequentially(title)
    page.get_by_role("option", name=title, exact=True).click()


def field(page: Page, label: str) -> Locator:
    """The text or number input with exactly this label."""
    return page.locator(f'input[aria-label="{label}"]')


def type_into(page: Page, label: str, text: str) -> None:
    """Replace what stands in a text or number input and press Enter."""
    box = field(page, label)
    box.click()
    box.press("Control+a")
    box.press("Delete")
    box.press_sequentially(text)
    box.press("Enter")


def tab_to(page: Page, wanted: str, key: str = "Tab") -> None:
    """Press Tab until the element with the keyboard begins with these words."""
    seen = []
    for _ in range(60):
        page.keyboard.press(key)
        seen.append(page.evaluate(FOCUSED))
        if seen[-1].split("\n")[-1].startswith(wanted):
            return
    raise AssertionError(f"{key} never reached {wanted!r}: {seen}")


def is_too_wide(page: Page) -> bool:
    """Whether the page can be scrolled sideways: the document, or the part of it that Streamlit scrolls."""
    parts = "[document.documentElement, document.querySelector('[data-testid=stMain]')]"
    return page.evaluate(f"{parts}.some((part) => part.scrollWidth > part.clientWidth)")


# ---- races ---------------------------------------------------------------------------------------------------------


def press_race(page: Page) -> str:
    """Click Race and return the id that the address gets."""
    before = link(page).get("race")
    button(page, "Race").click()
    return wait_link(page, "race", other_than=before)


def plot(page: Page) -> dict[str, Any]:
    return page.evaluate(PLOT)


def wait_curves(page: Page, after_s: float = 0.0, race: str = "") -> dict[str, Any]:
    """Wait until the plot shows steps later than this training second, of this race alone, and return what it shows."""
    late_enough = f"""([after, race]) => {{ const shown = ({PLOT})();
      return shown.newest > after && (!race || shown.races.join() === race); }}"""
    page.wait_for_function(late_enough, arg=[after_s, race], timeout=PATIENCE_MS)
    return plot(page)


def wait_result(page: Page) -> Locator:
    """Wait until the race has ended and return its first result card."""
    card = page.locator("[class*=st-key-result-]").first
    expect(card).to_be_visible(timeout=PATIENCE_MS)
    return card


def expect_raced(page: Page, arms: tuple[str, ...] = ("sgd", "multirate")) -> None:
    """What "raced" means: at least two evaluations per arm, and a loss that fell."""
    wanted = sorted(arms)
    page.wait_for_function(f"(wanted) => Object.keys(({PLOT})().loss).sort().join() === wanted", arg=",".join(wanted))
    shown = plot(page)
    assert sorted(shown["accuracy"]) == wanted
    for arm in arms:
        assert len(shown["accuracy"][arm]) >= 2, arm
        assert shown["loss"][arm][-1] < shown["loss"][arm][0], arm


def drag_zoom(page: Page) -> list[float]:
    """Drag a rectangle over the middle of the loss panel; return the range of x that it leaves."""
    place = page.evaluate(
        f"""() => {{ const chart = {LIVE};
          chart.scrollIntoView({{ block: "center" }});
          const box = chart.getBoundingClientRect(), x = chart._fullLayout.xaxis, y = chart._fullLayout.yaxis2;
          return {{ x: box.x + x._offset, y: box.y + y._offset, width: x._length, height: y._length }}; }}"""
    )
    page.mouse.move(place["x"] + 0.3 * place["width"], place["y"] + 0.1 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.6 * place["width"], place["y"] + 0.9 * place["height"], steps=6)
    page.mouse.up()
    page.wait_for_function(f"() => ({PLOT})().zoomed")
    return plot(page)["range"]


# ---- what stands in the store --------------------------------------------------------------------------------------


def stored(home: Path, race_id: str) -> RaceRow:
    with races.open_store(home / "races.sqlite3") as store:
        return races.get_race(store, race_id)


def worker_of(page: Page, home: Path, race_id: str) -> psutil.Process:
    """The process that runs a race, once it has begun."""
    end = time.monotonic() + PATIENCE_MS / 1e3
    while stored(home, race_id).state != "running":
        assert time.monotonic() < end, stored(home, race_id)
        page.wait_for_timeout(100)
    return psutil.Process(stored(home, race_id).pid)


def steps_of(home: Path, race_id: str) -> int:
    with races.open_store(home / "races.sqlite3") as store:
        return sum(lane.steps for lane in races.lanes(store, race_id))


def end_races(home: Path) -> None:
    """Stop every race of this home, so that the next test finds the device free."""
    with races.open_store(home / "races.sqlite3") as store:
        going = [race for race in races.list_races(store) if race.state != "ended"]
        for race in going:
            races.request(store, race.id, "stop")
        end = time.monotonic() + 60
        while any(races.get_race(store, race.id).state != "ended" for race in going):
            assert time.monotonic() < end, "a race did not stop"
            time.sleep(0.1)
