"""What all sessions of this server share: the backend, what other processes make for pages, and the store's upkeep."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
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
UNWANTED_AFTER_S = 5.0  # a page that waits for a measurement asks once a second; in a hidden tab once a minute
GONE_WITHIN_S = 2.0  # all pages wait meanwhile; a process that was killed is gone at once


@dataclass(frozen=True)
class _Wanted:
    """When a page last asked for costs, and how long before that one had."""

    since: float
    gap_s: float

    @property
    def no_more(self) -> bool:
        """Whether pages seem to have gone: they are late by more than one of their turns."""
        return time.monotonic() - self.since > max(UNWANTED_AFTER_S, 2 * self.gap_s)


_lock = threading.Lock()
_started: dict[str, subprocess.Popen[bytes]] = {}
_failed_at: dict[str, float] = {}
_wanted: dict[str, _Wanted] = {}  # which of them measure costs


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
    """Return what was measured of a network's costs, for a page that goes on asking until it has them.

    Measurements that no page asks for any more end where they keep this one waiting.

    Args:
        request: what is wanted.
        begin: have it measured if it was not.

    Returns:
        None while nobody knows.
    """
    key, now = requests.key(request), time.monotonic()
    with _lock:
        _wanted[key] = _Wanted(now, now - _wanted[key].since if key in _wanted else 0.0)
        if begin or _runs(key):
            _end_unwanted()
    return _made(requests, request, requests.CalibrationError, begin)


def is_being_measured(request: requests.CalibrationRequest) -> bool:
    """Tell whether a process measures these costs now, or waits for its turn to."""
    with _lock:
        return _runs(requests.key(request))


def another_is_measured(request: requests.CalibrationRequest) -> bool:
    """Tell whether other costs that a page waits for are measured now: each process has torch in memory."""
    own = requests.key(request)
    with _lock:
        return any(key != own and _runs(key) and not asked.no_more for key, asked in _wanted.items())


def _end_unwanted() -> None:
    """End measurements whose settings were changed, or whose pages were closed; the lock is held."""
    for key in [key for key, asked in _wanted.items() if asked.no_more]:
        del _wanted[key]
        if _runs(key):
            process = _started.pop(key)
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # the next measurement waits for it by itself: they take turns
                process.wait(GONE_WITHIN_S)


def _runs(key: str) -> bool:
    process = _started.get(key)
    return process is not None and process.poll() is None


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
