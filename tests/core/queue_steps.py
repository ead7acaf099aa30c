"""What the tests of the queue do to a store, with this process in the place of the workers."""

from __future__ import annotations

import os
from typing import Any

from multirate_core import store
from multirate_core.store import Store


def start(opened: Store) -> list[str]:
    """Give out the devices; this process stands in for the workers."""
    return store.start_next(opened, lambda _: os.getpid())


def state(opened: Store, race_id: str) -> str:
    return store.get_race(opened, race_id).state


def set_columns(opened: Store, race_id: str, **values: Any) -> None:
    assignments = ", ".join(f"{name} = ?" for name in values)
    opened.connection.execute(f"UPDATE races SET {assignments} WHERE id = ?", (*values.values(), race_id))
