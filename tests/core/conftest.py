"""A store of its own for every test of the core that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multirate_core import store
from multirate_core.store import Store


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with store.open_store(tmp_path / "races.sqlite3") as made:
        yield made
