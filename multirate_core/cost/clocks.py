"""Marks in time: taken where the work is done, read once afterwards, so that a GPU never has to wait."""

from __future__ import annotations

import time
from typing import Any

import torch


class Clock:
    """Marks on the host, for devices where a call returns when its work is done."""

    def mark(self) -> Any:
        """Note this moment."""
        return time.perf_counter()

    def read(self, marks: list[Any]) -> list[float]:
        """Return the marks as seconds on one scale."""
        return marks

    def settle(self) -> None:
        """Wait until the device has done everything."""


class EventClock(Clock):
    """Marks in the stream of a CUDA device: what is measured is the device's time, gaps between kernels included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> Any:
        """Note the moment at which the device gets here."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def read(self, marks: list[Any]) -> list[float]:
        """Wait for the device and return the marks as seconds after the first one."""
        self.settle()
        return [marks[0].elapsed_time(each) / 1000.0 for each in marks] if marks else []

    def settle(self) -> None:
        """Wait until the device has done everything."""
        torch.cuda.synchronize(self._device)


class WaitingClock(Clock):
    """Marks on the host after a wait, for devices without trustworthy events (MPS): slower, and a little too long."""

    def mark(self) -> Any:
        """Wait and note this moment."""
        self.settle()
        return time.perf_counter()

    def settle(self) -> None:
        """Wait until the device has done everything."""
        torch.mps.synchronize()


def clock_of(device: torch.device) -> Clock:
    """Return the clock that fits a device."""
    if device.type == "cuda":
        return EventClock(device)
    return WaitingClock() if device.type == "mps" else Clock()
