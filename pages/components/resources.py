"""What all sessions of this server share: the backend, layer trees and previews under way, and the store's upkeep."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Any

import streamlit as st

from multirate_core import home
from multirate_core.backends.local_process import LocalProcess
from multirate_core.backends.protocol import Backend
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.data import hub_facts, preview
from multirate_core.data.preview_form import DataPreview
from multirate_core.errors import ConfigError, StoreError
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.models.own_sources import listed_models
from pages.components.text import plain

RETRY_AFTER_S = 20.0
UNWANTED_AFTER_S = 5.0  # a page that waits for a measurement asks once a second

_lock = threading.Lock()
_started: dict[str, subprocess.Popen[bytes]] = {}
_failed_at: dict[str, float] = {}
_wanted: dict[str, tuple[requests.CalibrationRequest, float]] = {}  # measurements, and when a page last asked


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
    return _made(describe, request, describe.DescribeError)


def data_preview(request: preview.PreviewRequest) -> DataPreview | preview.PreviewError | None:
    """Return a look at the data, or start one in another process and return None until it is there."""
    return _made(preview, request, preview.PreviewError)


def facts_of_hub_data(request: hub_facts.HubRequest) -> hub_facts.HubFacts | hub_facts.HubError | None:
    """Return classes and sizes of data from Hugging Face, or have them found in another process and return None."""
    return _made(hub_facts, request, hub_facts.HubError)


def calibration(request: requests.CalibrationRequest, begin: bool) -> Calibration | requests.CalibrationError | None:
    """Return what was measured of a network's costs; None before that.

    Args:
        request: what is wanted.
        begin: have it measured if it was not, and end the measurements that no page waits for any more.
    """
    with _lock:
        _wanted[requests.key(request)] = (request, time.monotonic())
        if begin:
            _end_unwanted()
    return _made(requests, request, requests.CalibrationError, begin)


def is_being_measured(request: requests.CalibrationRequest) -> bool:
    """Tell whether a process measures these costs now."""
    with _lock:
        return _runs(requests.key(request))


def another_is_measured(request: requests.CalibrationRequest) -> bool:
    """Tell whether a page waits for other costs, measured now: each process has torch in memory while it waits."""
    own = requests.key(request)
    with _lock:
        return any(key != own and _runs(key) and not _is_unwanted(since) for key, (_, since) in _wanted.items())


def _end_unwanted() -> None:
    """End measurements whose settings were changed, or whose pages were closed: what is wanted waits for them."""
    for key, (request, since) in list(_wanted.items()):
        if _is_unwanted(since):
            del _wanted[key]
            if _runs(key):
                requests.stop(request, _started.pop(key))


def _runs(key: str) -> bool:
    process = _started.get(key)
    return process is not None and process.poll() is None


def _is_unwanted(since: float) -> bool:
    return time.monotonic() - since > UNWANTED_AFTER_S


def _made(maker: Any, request: Any, failure: type[Any], begin: bool = True) -> Any:
    """Return what a maker (`describe`, `preview`, `hub_facts`, `cost.request`) has; what failed is tried again later.

    Args:
        maker: the module.
        request: what is wanted of it.
        failure: its type of answer that says why there is none.
        begin: have the answer made if there is none.
    """
    key = maker.key(request)  # another one once the files that it looks at have changed
    with _lock:
        process = _started.get(key)
        answer = maker.read(request) if process is None else maker.outcome(request, process)
        if process is not None and answer is None and process.poll() is not None:
            del _started[key]  # its answer was thrown away
            process = None
        if isinstance(answer, failure) and process is not None:
            # From the moment it was seen to fail: what takes long to fail would otherwise never be told.
            failed_at = _failed_at.setdefault(key, time.monotonic())
            if time.monotonic() - failed_at < RETRY_AFTER_S:
                return answer
        elif process is not None or (answer is not None and not isinstance(answer, failure)):
            return answer
        if not begin:
            return answer
        _failed_at.pop(key, None)
        _started[key] = maker.start(request)
        return None
