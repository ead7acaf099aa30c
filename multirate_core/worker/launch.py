"""Start worker processes, and look after the queue: lost races out, waiting ones in. Imports no torch."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from multirate_core.errors import StoreError
from multirate_core.store import Store, log_path, open_store, start_next, sweep

# What starts a worker; `--store PATH --race ID` is put behind it.
COMMAND = (sys.executable, "-m", "multirate_core.worker")

_ROOT = Path(__file__).resolve().parents[2]


def tend(store: Store, command: Sequence[str] = COMMAND) -> list[str]:
    """Mark races whose process died as lost and start the next ones on every free device.

    Returns:
        Ids of the races whose workers were started.
    """
    sweep(store)
    return start_next(store, lambda race_id: spawn(store, race_id, command))


def spawn(store: Store, race_id: str, command: Sequence[str] = COMMAND) -> int:
    """Start a worker that outlives this process; what it prints goes to the race's log.

    Returns:
        The worker's pid.

    Raises:
        OSError: the process or its log cannot be made.
    """
    log = log_path(store, race_id)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:  # a file and never a pipe: a full pipe would stop the worker
        process = subprocess.Popen(
            [*command, "--store", str(store.path.resolve()), "--race", race_id],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            **_detached(),
        )
    Thread(target=_watch, args=(process, store.path, command), name=f"watch-{race_id}", daemon=True).start()
    return process.pid


def _watch(process: subprocess.Popen[bytes], path: Path, command: Sequence[str]) -> None:
    """Collect the worker when it ends, and let the queue go on even if it was killed and no page is open."""
    process.wait()
    try:
        with open_store(path) as store:
            tend(store, command)
    except StoreError as error:
        logging.getLogger(__name__).warning("after the end of worker %d: %s", process.pid, error)


def _environment() -> dict[str, str]:
    """Let the worker find this package wherever it is started."""
    others = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *([others] if others else [])])}


def _detached() -> dict[str, Any]:
    """Return what keeps the worker alive when the terminal or the server ends."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}
