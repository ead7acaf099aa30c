"""Where and with what a benchmark ran: hardware, versions, threads, how busy the machine was, the commit."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from benchmarks import ROOT
from multirate_core.machine import default_threads, usable_cores

PACKAGES = ("torch", "torchvision", "streamlit", "plotly", "numpy", "playwright")
WATCHED_S = 2.0
# What a benchmark writes itself does not make the tree a changed one.
OWN_OUTPUT = (":(exclude)benchmarks/results", ":(exclude)docs/measurements.md")


def surroundings() -> dict[str, Any]:
    """Return the facts about this machine and tree; takes two seconds, in which it watches how busy others are."""
    return {
        "hardware": {
            "processor": _processor(),
            "cores": usable_cores(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "threads": default_threads(),
        "load_average": [round(value, 2) for value in psutil.getloadavg()],
        "others_cores": busy_cores(),
        "commit": commit(),
    }


def busy_cores() -> float:
    """Return how many cores are at work now; call it while this process sleeps."""
    percent: float = psutil.cpu_percent(interval=WATCHED_S)
    return round(percent / 100 * (psutil.cpu_count() or 1), 2)


def commit() -> str:
    """Return the short git commit, with "+" if the tree has changes beside the results themselves; "" outside git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *OWN_OUTPUT)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{head}+" if changed else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    """Return the processor's name as the system tells it."""
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
