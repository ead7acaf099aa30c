"""Streamlit's command line with a clock around every fragment: `python -m benchmarks.timed_server run app.py`.

The app is untouched. Each run of a fragment that repeats itself appends a line of JSON to the file that
MULTIRATE_FRAGMENT_TIMES names: {"at": time.time(), "wall_ms", "cpu_ms"}, the CPU time being that of its own thread.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit
from streamlit.web.cli import main

VARIABLE = "MULTIRATE_FRAGMENT_TIMES"


def timed_fragment(original: Callable[..., Any], path: Path) -> Callable[..., Any]:
    """Return `st.fragment` with a clock around the functions that it is given with `run_every`."""

    @functools.wraps(original)
    def fragment(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return lambda later: fragment(later, **options)
        watched = function if options.get("run_every") is None else _timed(function, path)
        return original(watched, **options)

    return fragment


def _timed(function: Callable[..., Any], path: Path) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(*arguments: Any, **named: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            spent = {"wall_ms": 1e3 * (time.perf_counter() - wall), "cpu_ms": 1e3 * (time.thread_time() - cpu)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": time.time(), **spent}) + "\n")

    return watched


if __name__ == "__main__":
    streamlit.fragment = timed_fragment(streamlit.fragment, Path(os.environ[VARIABLE]))
    sys.argv[0] = "streamlit"
    sys.exit(main())
