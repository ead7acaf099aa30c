"""Which devices this machine has, without torch in this process: `python -m multirate_core.backends.devices` asks it.

The answer is kept in the user data folder until torch or the visible devices change. Where nothing hints at a GPU the
answer is "cpu" at once.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from multirate_core.errors import StoreError
from multirate_core.home import subfolder

PROBE_WITHIN_S = 120.0  # loading torch from a slow disk for the first time takes its time
CPU_ONLY = ("cpu",)

_lock = threading.Lock()
_known: dict[str, tuple[str, ...]] = {}


def available_devices() -> tuple[str, ...]:
    """Return the machine's devices, best first: "cuda:0", …, "mps", "cpu". Waits for the answer the first time."""
    key = _cache_key()
    with _lock:  # asked once, however many pages wait
        if key not in _known:
            _known[key] = (_read(key) or _ask(key)) if _hints_at_gpu() else CPU_ONLY
        return _known[key]


def devices_if_known() -> tuple[str, ...] | None:
    """Return the devices without waiting; None while they are being found out, which this starts."""
    key = _cache_key()
    if key not in _known and not _lock.locked():
        if _hints_at_gpu() and not _read(key):
            threading.Thread(target=available_devices, name="devices", daemon=True).start()
        else:
            return available_devices()
    return _known.get(key)


def probe() -> tuple[str, ...]:
    """Ask torch for the devices; this loads it."""
    import torch

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    return (*(f"cuda:{index}" for index in range(cuda)), *(["mps"] if mps else []), "cpu")


def _hints_at_gpu() -> bool:
    """Whether it is worth asking torch: a driver of NVIDIA or AMD, or Apple's own chips."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return shutil.which("nvidia-smi") is not None or any(
        Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    )


def _cache_key() -> str:
    """Return what the answer depends on."""
    visible = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")]
    present = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))  # a container may get fewer next time
    return json.dumps([_torch_version(), *visible, *present])


@lru_cache
def _torch_version() -> str:
    return importlib.metadata.version("torch")  # reads a file, and every page run asks


def _cache_file() -> Path:
    return subfolder("devices") / "devices.json"


def _read(key: str) -> tuple[str, ...]:
    """Return the kept answer, () if there is none for this key."""
    try:
        kept = json.loads(_cache_file().read_text(encoding="utf-8"))
        return tuple(str(device) for device in kept.get(key, ()))
    except (OSError, StoreError, ValueError, AttributeError):
        return ()


def _ask(key: str) -> tuple[str, ...]:
    """Let a process of its own ask torch, and keep the answer; the CPU alone if that fails."""
    command = [sys.executable, "-m", "multirate_core.backends.devices"]
    root = Path(__file__).resolve().parents[2]
    try:
        answer = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_WITHIN_S, check=True
        )
        devices = tuple(str(device) for device in json.loads(answer.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logging.getLogger(__name__).warning("the devices could not be found out, using the CPU: %s", error)
        return CPU_ONLY
    if devices == CPU_ONLY:  # with a GPU in the machine: its driver may be back the next time
        return devices
    try:
        _keep(key, devices)
    except (OSError, StoreError) as error:  # the next server asks again
        logging.getLogger(__name__).warning("the list of devices could not be kept: %s", error)
    return devices


def _keep(key: str, devices: tuple[str, ...]) -> None:
    file = _cache_file()
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(json.dumps({key: devices}), encoding="utf-8")
    draft.replace(file)  # whole or not at all: another server may be reading


if __name__ == "__main__":
    print(json.dumps(probe()))
