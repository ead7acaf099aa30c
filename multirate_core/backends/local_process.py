"""Every race in a worker process of its own on this machine, which outlives the server."""

from __future__ import annotations

from dataclasses import dataclass

from multirate_core import store
from multirate_core.backends.devices import available_devices
from multirate_core.backends.stored import StoredBackend
from multirate_core.config import RaceConfig
from multirate_core.worker.launch import tend


@dataclass(frozen=True)
class LocalProcess(StoredBackend):
    """Starts workers with `command`; see `StoredBackend`."""

    def submit(self, config: RaceConfig) -> str:
        """Queue a race, and start its worker if the device is free."""
        devices = available_devices()
        with store.open_store(self.path) as opened:
            store.sweep(opened)  # a lost race must not make the queue look full
            race_id = store.submit(opened, config, devices)
            tend(opened, self.command)
        return race_id
