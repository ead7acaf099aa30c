"""A running race's tie to the store: a heartbeat every second, and the answer when the engine asks how to go on."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from multirate_core.errors import StoreError
from multirate_core.store import Store, open_store
from multirate_core.store.health import HEARTBEAT_S, Sign, beat
from multirate_core.store.queue import park, requeue, set_paused, set_running, take_turn
from multirate_core.worker.log import say

PARK_AFTER_S = 120.0  # a paused race keeps its device so long
PATIENCE_S = 2.0  # a stop that the engine has not seen by then interrupts it
TEND_EVERY = 5  # heartbeats
POLL_S = 0.1


class Pulse:
    """Beats in a thread of its own, with a connection of its own, from entering the `with` block to leaving it.

    Args:
        store: of the thread that runs the race; `control` writes with it.
        race_id: of a race that belongs to this process.
        tend: called every few seconds and when a device is given back: it looks after the queue.
        interrupt: called from the thread while a stop goes unseen; None lets it go unseen.

    Attributes:
        before_pause: called before the race is paused.
        engine_works: true while the engine computes and may be interrupted.
    """

    def __init__(
        self,
        store: Store,
        race_id: str,
        tend: Callable[[Store], object],
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self.before_pause: Callable[[], None] = lambda: None
        self.engine_works = False
        self._store = store
        self._race_id = race_id
        self._tend = tend
        self._interrupt = interrupt
        self._sign: Sign = None  # what the store said last; the next beat corrects one that was out of date
        self._stopping = False  # a stop that nothing takes back: a signal, or one that the engine was told
        self._stop_since: float | None = None  # when the heartbeat first knew of a stop
        self._stop_seen = False  # whether the engine was told
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"pulse-{race_id}", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def stop(self) -> None:
        """Let the race stop, whatever the store says."""
        self._stopping = True

    def hear(self, sign: Sign) -> None:
        """Take note of what the store says."""
        self._sign = sign

    @property
    def asked(self) -> Literal["pause", "stop"] | None:
        """What is asked of the race now."""
        if self._stopping or self._sign in ("stop", "leave"):
            return "stop"
        return "pause" if self._sign == "pause" else None

    @property
    def impatient(self) -> bool:
        """Whether a stop was asked for and the engine has not seen it for some time."""
        waiting = self._stop_since is not None and not self._stop_seen
        return waiting and time.monotonic() - (self._stop_since or 0.0) > PATIENCE_S

    def control(self) -> Literal["go", "pause", "stop"]:
        """Answer the engine; returns only when the race may go on or must stop, so a pause is time spent in here."""
        if self.asked == "pause":
            self._wait_out_pause()
        if self.asked == "stop":
            self._stop_seen = self._stopping = True
            return "stop"
        return "go"

    def wait_for_turn(self) -> bool:
        """Wait until the race gets a device; False if it was stopped before."""
        while self.asked != "stop":
            if take_turn(self._store, self._race_id):
                return True
            time.sleep(POLL_S * 3)
        return False

    def _wait_out_pause(self) -> None:
        """Keep the device for two minutes; then give it back, and wait in the queue again when resumed."""
        self.before_pause()
        set_paused(self._store, self._race_id)
        deadline = time.monotonic() + PARK_AFTER_S
        while self.asked == "pause" and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self.asked is None:
            set_running(self._store, self._race_id)
        elif self.asked == "pause":
            self._stay_parked()

    def _stay_parked(self) -> None:
        _release_device_memory()
        park(self._store, self._race_id)
        self._tend(self._store)
        while self.asked != "stop":
            if self.asked == "pause":
                park(self._store, self._race_id)
            else:
                requeue(self._store, self._race_id)
                if take_turn(self._store, self._race_id):
                    return
            time.sleep(POLL_S * 3)

    def _live(self) -> None:
        """Beat until the race is over; trouble with the store is printed, the next beat may work again."""
        beats = 0
        while not self._over.is_set():
            try:
                with open_store(self._store.path) as store:
                    while not self._over.wait(HEARTBEAT_S if beats else 0.0):
                        beats += 1
                        self.hear(beat(store, self._race_id))
                        self._insist_on_stop()
                        if beats % TEND_EVERY == 0:
                            self._tend(store)
            except (StoreError, OSError, RuntimeError) as error:  # also: no thread or process to be had for `tend`
                say(f"heartbeat: {error}")
                self._over.wait(HEARTBEAT_S)

    def _insist_on_stop(self) -> None:
        if self.asked == "stop" and self._stop_since is None:
            self._stop_since = time.monotonic()
        if self.impatient and self._interrupt is not None:
            self._interrupt()


def _release_device_memory() -> None:
    """Give cached GPU memory back to the next race; what the paused model needs stays."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
