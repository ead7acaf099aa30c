"""Races inside this process, in a thread each: for tests and `--inline`. They end with the process."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from multirate_core import store
from multirate_core.backends.devices import available_devices
from multirate_core.backends.stored import StoredBackend
from multirate_core.config import RaceConfig
from multirate_core.worker import Engine, run_race
from multirate_core.worker.launch import tend


@dataclass(frozen=True)
class Inline(StoredBackend):
    """Starts a thread for each race; `command` starts the workers of other races in the same queue.

    Args:
        run: the engine; None takes `multirate_core.race.run`.
    """

    run: Engine | None = None

    def submit(self, config: RaceConfig) -> str:
        """Queue a race and begin it in a thread when its turn comes."""
        devices = available_devices()
        with store.open_store(self.path) as opened:
            store.sweep(opened)
            race_id = store.submit(opened, config, devices, attend=True)
        threading.Thread(target=self._work, args=(race_id,), name=f"race-{race_id}", daemon=True).start()
        return race_id

    def _work(self, race_id: str) -> None:
        with store.open_store(self.path) as opened:
            run_race(opened, race_id, self.run, self.command)
            tend(opened, self.command)
