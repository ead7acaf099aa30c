"""What this machine offers and which of its processes still live. Standard library and psutil."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

import psutil

Life = Literal["alive", "gone", "other"]

# psutil derives a start time from the boot time, which moves a little when the system clock is set.
START_TOLERANCE_S = 1.5


def usable_cores() -> int:
    """Return the CPU cores that this process may use: affinity and container quota respected, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota_cores(cores)))


def default_threads() -> int:
    """Return the threads that a worker takes unless told otherwise: all cores but one, so that pages stay quick."""
    return max(1, usable_cores() - 1)


def process_start(pid: int) -> float | None:
    """Return when the process started, in seconds since 1970, or None if there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def life_of(pid: int, started: float | None) -> Life:
    """Say whether a process lives: "gone" (also a zombie), "other" (the pid belongs to a later process) or "alive".

    Args:
        pid: the number that was written down.
        started: its start time that was written down with it; None skips the comparison.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return "gone"
        same = started is None or abs(process.create_time() - started) <= START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return "gone"
    except psutil.AccessDenied:  # it exists and belongs to somebody else
        return "other"
    return "alive" if same else "other"


def end_process(pid: int, started: float | None) -> None:
    """Kill a process that hangs, unless it is this one or the pid has passed to another process."""
    if pid != os.getpid() and life_of(pid, started) == "alive":
        try:
            psutil.Process(pid).kill()
        except psutil.Error:
            return  # it ended by itself, or belongs to somebody else


def _quota_cores(otherwise: int) -> int:
    """Return the cores that the container's CPU quota amounts to (Linux control groups, version 2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return otherwise
    return otherwise if quota == "max" else math.ceil(int(quota) / int(period))
