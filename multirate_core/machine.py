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

CGROUP = Path("/sys/fs/cgroup")  # of this process, as containers see it (Linux control groups, version 2)


def usable_cores() -> int:
    """Return the CPU cores that this process may use: affinity and container quota respected, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota_cores(cores)))


def default_threads() -> int:
    """Return the threads that a worker takes unless told otherwise: all cores but one, so that pages stay quick."""
    return max(1, usable_cores() - 1)


def total_memory() -> int:
    """Return the bytes of memory that processes may use here: the machine's, or the container's limit."""
    total: int = psutil.virtual_memory().total
    limit = _cgroup_bytes("memory.max")
    return total if limit is None else min(total, limit)


def available_memory() -> int:
    """Return the bytes of memory that a new process can have, without swapping and within the container's limit."""
    available: int = psutil.virtual_memory().available
    limit, used = _cgroup_bytes("memory.max"), _cgroup_bytes("memory.current")
    if limit is None or used is None:
        return available
    return max(0, min(available, limit - used + _cached_by_cgroup()))


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
    """Return the cores that the container's CPU quota amounts to."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return otherwise
    return otherwise if quota == "max" else math.ceil(int(quota) / int(period))


def _cgroup_bytes(name: str) -> int | None:
    """Return a number of the container's, None if it has none or knows no limit."""
    try:
        return int((CGROUP / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _cached_by_cgroup() -> int:
    """Return the bytes of files that the container holds in memory and would give back."""
    try:
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
