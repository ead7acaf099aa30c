"""The device of a race: chosen by name, described in words, with its number of threads."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import torch

import multirate_core
from multirate_core.errors import ConfigError
from multirate_core.machine import default_threads


def choose_device(name: str) -> torch.device:
    """Return the device for a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: this machine does not have it; the message lists what it has.
    """
    found = available_devices()
    if name == "auto":
        return torch.device(found[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise ConfigError(f"this machine has no device {name!r}; it has {', '.join(found)}. Choose one, or 'auto'.")
    return torch.device(wanted)


def available_devices() -> list[str]:
    """Return the names of this machine's devices, best first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def device_title(device: torch.device) -> str:
    """Return what people call the device: the name of the GPU or of the processor."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return _processor()


def environment(device: torch.device) -> dict[str, str]:
    """Return what a race runs on, for its record."""
    return {
        "device": str(device),
        "device_name": device_title(device),
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": metadata.version("torchvision"),  # asked this way it need not be loaded
        "multirate_explorer": multirate_core.__version__,
    }


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads inside the `with` block; None leaves one core to the pages."""
    before = torch.get_num_threads()
    torch.set_num_threads(default_threads() if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processor() -> str:
    """Return the processor's name; Python itself does not know it on Linux."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
