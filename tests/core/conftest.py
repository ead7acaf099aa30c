"""A store, or a data folder with an upload in it, for every test of the core that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from zip_cases import CLASSES, unpack, zip_of

from multirate_core import store
from multirate_core.store import Store


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with store.open_store(tmp_path / "races.sqlite3") as made:
        yield made


@pytest.fixture
def data_folder(own_home: Path) -> Path:
    """The user's data folder with an upload of somebody else."""
    unpack(zip_of([f"other/{name}" for name in CLASSES]))
    (own_home / "races.sqlite3").write_bytes(b"races")
    return own_home
