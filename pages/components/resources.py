"""What all sessions of this server share: the backend, layer trees under way, and the store's upkeep."""

from __future__ import annotations

import subprocess
import threading
import time

import streamlit as st

from multirate_core import home
from multirate_core.backends.local_process import LocalProcess
from multirate_core.backends.protocol import Backend
from multirate_core.errors import ConfigError, StoreError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.own_sources import listed_models
from pages.components.text import plain

RETRY_AFTER_S = 20.0

_lock = threading.Lock()
_started: dict[str, tuple[subprocess.Popen[bytes], float]] = {}


def backend() -> Backend:
    """Return where races run."""
    return LocalProcess(home.store_path())


def listed_models_are_well() -> bool:
    """Tell whether the list of own networks can be read; if not, the page says why."""
    try:
        listed_models()
    except ConfigError as error:
        st.error(plain(error))
        return False
    return True


def tidy_store() -> None:
    """Mark races whose worker died as lost and start the next ones; an unusable store is said on the page."""
    try:
        backend().tend()
    except StoreError as error:
        st.error(plain(error))


def layer_tree(request: describe.TreeRequest) -> LayerTree | describe.DescribeError | None:
    """Return a network's tree, or start making it in another process and return None until it is there."""
    key = describe.key(request)  # another one once the files that it describes have changed
    with _lock:
        if key in _started:
            process, started_at = _started[key]
            answer = describe.outcome(request, process)
            if not isinstance(answer, describe.DescribeError) or time.monotonic() - started_at < RETRY_AFTER_S:
                return answer
        else:
            answer = describe.read(request)
            if isinstance(answer, LayerTree):
                return answer
        _started[key] = (describe.start(request), time.monotonic())
        return None
