"""What recording costs a race, what a busy tab costs it, and how soon a click is answered while it runs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks import races, run, stopwatch
from benchmarks.app_under_test import Server, chromium, open_page, server
from benchmarks.figures import Figure, Result, Target
from benchmarks.live import wait_plot
from multirate_core import home, store
from multirate_core.backends import LocalProcess
from multirate_core.store import LaneRow

PAIRS, RACE_S = 6, 8.0  # races with and without the recorder, training seconds of each of their two arms
ROUNDS, PHASE_S, SETTLE_S = 6, 12.0, 2.0
CLICK_EVERY_S = 1.0
LOOK_EVERY_S = 0.03
STEPS_WITHIN_S = 120.0
RECORDING, CLICK_MS, BUSY_TAB = (Target("at most", limit) for limit in (2.0, 500.0, 10.0))
ABOUT = (
    "The digits preset in a worker process. Recorder: pairs of equal races with and without `record_steps`, in "
    "alternating order, steps of both arms per wall second; without it evaluations and progress are still written. "
    "Busy tab: one long race, in turns without any tab and beside a tab that shows it live and moves a layer once a "
    "second; the browser uses the same cores."
)


def measure(quick: bool) -> Result:
    """Race with and without the recorder, then beside a busy tab."""
    pairs, rounds, phase_s = (1, 1, 5.0) if quick else (PAIRS, ROUNDS, PHASE_S)
    with run.fresh_home():
        races_of_pairs = [_pair(number) for number in range(pairs)]
    with run.fresh_home() as folder, server() as app, chromium() as browser:
        alone, beside, clicks, cpu = _beside_a_tab(browser, app, folder, rounds, phase_s)
    figures = [
        Figure("recorder_cost", "steps per wall second that recording costs", "%", _losses(races_of_pairs), RECORDING),
        Figure("recording_share", "wall time booked as recording", "%", [each.share for each, _ in races_of_pairs]),
        Figure("click_ms", "click on the board → page updated, during a race", "ms", clicks, CLICK_MS),
        Figure("busy_tab_cost", "steps per wall second that a busy tab costs", "%", _lost(alone, beside), BUSY_TAB),
        Figure("busy_tab_server_cpu", "of one core, what the server used for the busy tab", "%", cpu),
    ]
    details = {
        "steps_per_s_recorded": [round(each.rate, 2) for each, _ in races_of_pairs],
        "steps_per_s_not_recorded": [round(each.rate, 2) for _, each in races_of_pairs],
        "steps_per_s_alone": [round(rate, 2) for rate in alone],
        "steps_per_s_beside_a_tab": [round(rate, 2) for rate in beside],
    }
    settings = {"preset": "digits", "pairs": pairs, "race_s": RACE_S, "rounds": rounds, "phase_s": phase_s}
    return Result("recording", ABOUT, figures, [], settings, details)


@dataclass(frozen=True)
class Speed:
    """How fast a race went: steps of all lanes per wall second, and the percentage of wall time spent recording."""

    rate: float
    share: float


def _pair(number: int) -> tuple[Speed, Speed]:
    """Race with and without the recorder, the other way round in every second pair."""
    config = races.config("--preset", "digits", "--seconds", str(RACE_S))
    order = (True, False) if number % 2 == 0 else (False, True)
    speeds = {on: _speed(races.race_to_the_end(replace(config, record_steps=on))) for on in order}
    run.say(f"pair {number + 1}: {speeds[True].rate:.1f} steps/s recorded, {speeds[False].rate:.1f} not")
    return speeds[True], speeds[False]


def _speed(lanes: Sequence[LaneRow]) -> Speed:
    wall_s = max(lane.clock["wall"] for lane in lanes)
    recording_s = max(lane.clock["recording"] for lane in lanes)  # every lane is charged for all of it
    return Speed(sum(lane.steps for lane in lanes) / wall_s, 100 * recording_s / wall_s)


def _losses(pairs: Sequence[tuple[Speed, Speed]]) -> list[float]:
    return _lost([off.rate for _, off in pairs], [on.rate for on, _ in pairs])


def _lost(without: Sequence[float], burdened: Sequence[float]) -> list[float]:
    """Return how much smaller the second rates are than the first, in percent."""
    return [100 * (1 - low / high) for high, low in zip(without, burdened, strict=True)]


def _beside_a_tab(
    browser: Browser, app: Server, folder: Path, rounds: int, phase_s: float
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return steps per second alone and beside a busy tab, milliseconds of every click, the server's CPU in percent."""
    backend = LocalProcess(home.store_path())
    race = backend.submit(races.config("--preset", "digits", "--seconds", "3600"))
    counter = StepCounter(folder / home.store_path().name, race)
    alone, beside, clicks, cpu = [], [], [], []
    try:
        counter.wait_for_steps()
        for _ in range(rounds):
            alone.append(_quiet_phase(counter, phase_s))
            rate, took, share = _busy_phase(browser, app, race, counter, phase_s)
            beside.append(rate)
            cpu.append(share)
            clicks += took
            run.say(f"{alone[-1]:.1f} steps/s alone, {rate:.1f} beside a tab, clicks {[round(ms) for ms in took]} ms")
    finally:
        counter.stop()
        backend.request(race, "stop")
    while backend.status(race).state != "ended":
        time.sleep(races.POLL_S)
    return alone, beside, clicks, cpu


def _quiet_phase(counter: StepCounter, phase_s: float) -> float:
    time.sleep(SETTLE_S)
    begun = time.monotonic()
    time.sleep(phase_s)
    return counter.rate(begun, time.monotonic())


def _busy_phase(
    browser: Browser, app: Server, race: str, counter: StepCounter, phase_s: float
) -> tuple[float, list[float], float]:
    page = open_page(browser, f"{app.address}/?race={race}")
    wait_plot(page)
    stopwatch.install(page)
    stopwatch.open_code(page)
    page.wait_for_timeout(SETTLE_S * 1e3)
    clicks: list[float] = []
    begun, cpu_s = time.monotonic(), app.cpu_seconds()
    while time.monotonic() < begun + phase_s:
        next_click = time.monotonic() + CLICK_EVERY_S
        clicks.append(stopwatch.reaction_ms(page, lambda: _move_first(page, to_fast=len(clicks) % 2 == 0)))
        page.wait_for_timeout(max(0.0, 1e3 * (next_click - time.monotonic())))
    ended = time.monotonic()
    share = 100 * (app.cpu_seconds() - cpu_s) / (ended - begun)
    page.context.close()
    return counter.rate(begun, ended), clicks, share


def _move_first(page: Page, to_fast: bool) -> None:
    """Click the button that moves the first row of one pane to the other."""
    page.locator(f".pane[data-group='{int(to_fast)}'] .row").first.locator(".move").click()


class StepCounter:
    """Watches in a thread how many steps a race has written down, and when.

    Args:
        path: of the store.
        race: its id.
    """

    def __init__(self, path: Path, race: str) -> None:
        self._path, self._race = path, race
        self._seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait_for_steps(self) -> None:
        """Return when the race has written steps; RuntimeError if that takes too long."""
        end = time.monotonic() + STEPS_WITHIN_S
        while not self._seen:
            if time.monotonic() > end:
                raise RuntimeError(f"the race wrote no step within {STEPS_WITHIN_S:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def rate(self, begun: float, ended: float) -> float:
        """Return the steps per second between two moments of `time.monotonic`, from one commit to another."""
        inside = [(at, steps) for at, steps in list(self._seen) if begun <= at <= ended]
        (first_at, first), (last_at, last) = inside[0], inside[-1]
        return (last - first) / (last_at - first_at)

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with store.open_store(self._path) as opened:
            steps = 0
            while not self._over.wait(LOOK_EVERY_S):
                now = sum(lane.steps for lane in store.lanes(opened, self._race))
                if now > steps:
                    self._seen.append((time.monotonic(), now))
                    steps = now


if __name__ == "__main__":
    sys.exit(run.main(measure, "recording"))
