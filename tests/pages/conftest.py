"""Streamlit's test runner, without what it does again for every session."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from streamlit.components.v2 import manifest_scanner


@pytest.fixture(scope="session", autouse=True)
def read_installed_packages_once() -> Iterator[None]:
    """Every AppTest searches all installed packages for components, a quarter of a second and each time the same."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield
