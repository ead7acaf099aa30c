"""Clocks of one slice: how long each step took, and how long its batches took, without a wait per step on a GPU.

A step lasts from its batch being on the device until `step()` has returned; on a GPU until the device has done it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch


@dataclass(frozen=True)
class SliceTimes:
    """Where the time of a slice went.

    Args:
        step_s: seconds of each step, in order.
        loading_s: seconds in which batches were fetched, moved and normalised.
    """

    step_s: list[float]
    loading_s: float


class SliceTimer(Protocol):
    """Times the steps of one slice: `begin`, then `start` and `stop` around every step, then `finish`."""

    live: bool  # whether `trained_s` is known before `finish`
    ahead: bool  # whether all batches of the slice must lie ready before the first step
    trained_s: float

    def begin(self) -> None:
        """Start the slice; on a GPU wait until earlier work is done."""

    def start(self) -> None:
        """A batch lies ready on the device."""

    def stop(self) -> None:
        """The optimiser's step has returned."""

    def finish(self) -> SliceTimes:
        """Wait for the device and return the times."""


@dataclass
class HostTimer:
    """For the CPU, where a call returns when the work is done."""

    live = True
    ahead = False
    now: Callable[[], float] = time.perf_counter
    trained_s: float = 0.0
    _loading_s: float = 0.0
    _last: float = 0.0
    _steps: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Start the slice."""
        self.trained_s, self._loading_s, self._steps = 0.0, 0.0, []
        self._last = self.now()

    def start(self) -> None:
        """End the loading of a batch."""
        self._loading_s += self._lap()

    def stop(self) -> None:
        """End a step."""
        self._steps.append(self._lap())
        self.trained_s += self._steps[-1]

    def finish(self) -> SliceTimes:
        """Return the times."""
        return SliceTimes(self._steps, self._loading_s)

    def _lap(self) -> float:
        """Return the seconds since the last call."""
        earlier, self._last = self._last, self.now()
        return self._last - earlier


@dataclass
class EventTimer:
    """For CUDA: events in the stream mark the borders, and the host waits once, at the end of the slice."""

    device: torch.device
    live = False
    ahead = False
    trained_s: float = 0.0
    _events: list[Any] = field(default_factory=list)
    _used: int = 0

    def begin(self) -> None:
        """Start the slice on an idle device."""
        torch.cuda.synchronize(self.device)
        self.trained_s, self._used = 0.0, 0
        self._mark()

    def start(self) -> None:
        """Mark the end of the loading of a batch."""
        self._mark()

    def stop(self) -> None:
        """Mark the end of a step."""
        self._mark()

    def finish(self) -> SliceTimes:
        """Wait for the device and read the events: loading and steps take turns."""
        torch.cuda.synchronize(self.device)
        marks = self._events[: self._used]
        laps = [a.elapsed_time(b) / 1000.0 for a, b in pairwise(marks)]
        self.trained_s = sum(laps[1::2])
        return SliceTimes(laps[1::2], sum(laps[0::2]))

    def _mark(self) -> None:
        """Record the next event, from the pool while it lasts."""
        if self._used == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        self._events[self._used].record(torch.cuda.current_stream(self.device))
        self._used += 1


@dataclass
class BorderTimer:
    """For devices without trustworthy events (MPS): wait at the borders of the slice and divide by its steps."""

    wait: Callable[[], None]
    now: Callable[[], float] = time.perf_counter
    live = False
    ahead = True
    trained_s: float = 0.0
    _begun: float = 0.0
    _ready: float = 0.0
    _steps: int = 0

    def begin(self) -> None:
        """Start the slice on an idle device."""
        self.wait()
        self.trained_s, self._steps, self._begun = 0.0, 0, self.now()

    def start(self) -> None:
        """Before the first step: wait for the batches of the whole slice."""
        if self._steps == 0:
            self.wait()
            self._ready = self.now()

    def stop(self) -> None:
        """Count a step."""
        self._steps += 1

    def finish(self) -> SliceTimes:
        """Wait for the device and give every step the same share."""
        self.wait()
        self.trained_s = self.now() - self._ready
        return SliceTimes([self.trained_s / self._steps] * self._steps, self._ready - self._begun)


def slice_timer(device: torch.device) -> SliceTimer:
    """Return the timer that fits a device."""
    if device.type == "cuda":
        return EventTimer(device)
    if device.type == "mps":
        return BorderTimer(torch.mps.synchronize)
    return HostTimer()
