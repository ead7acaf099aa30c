"""`compare`: submit a race, follow it, print the result."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace

from multirate_core import store
from multirate_core.backends import Backend, Inline, LocalProcess
from multirate_core.backends.devices import available_devices
from multirate_core.cli.progress import ProgressLines
from multirate_core.cli.report import make_report
from multirate_core.cli.result_text import loading_lines, prediction_lines, result_lines
from multirate_core.cli.settings import layer_tree, race_config
from multirate_core.config import RaceConfig
from multirate_core.data.catalog import data_shape
from multirate_core.errors import ConfigError
from multirate_core.home import store_path
from multirate_core.memory.words import Outlook, outlook, runs_on_gpu
from multirate_core.models.catalog import model_info
from multirate_core.store import RaceRow

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
POLL_S = 0.2
TEND_EVERY_S = 5.0
STOP_WITHIN_S = 30.0


def run(options: Namespace) -> int:
    """Race what the options say; the race stands on the Runs page like any other.

    Raises:
        MultirateError: bad input that shows before the race begins.
    """
    if options.inline and options.background:
        raise ConfigError("--inline trains in this process and --background leaves it. Give only one of them.")
    config = race_config(options)
    memory = _memory(config)
    if memory.warning:
        print(memory.warning, file=sys.stderr)
    backend: Backend = Inline(store_path()) if options.inline else LocalProcess(store_path())
    race_id = backend.submit(config)  # it refuses a device that this machine has not
    if not memory.warning:
        print(memory.line, file=sys.stderr)
    if options.background:
        print(json.dumps({"race": race_id}) if options.json else race_id)
        return DONE
    try:
        race, interrupted = _follow(backend, race_id), False
    except KeyboardInterrupt:
        race, interrupted = _stop(backend, race_id), True
    code = _finish(race, options.json)
    return INTERRUPTED if interrupted else code


def _memory(config: RaceConfig) -> Outlook:
    """Return what is to be said about the race's memory; ConfigError if it cannot run at all."""
    shape = data_shape(config.data, model_info(config.model.name))
    gpu = runs_on_gpu(config.device, available_devices())
    found = outlook(config, layer_tree(config.model, config.data), shape, gpu)
    if found.refusal:
        raise ConfigError(found.refusal)
    return found


def _follow(backend: Backend, race_id: str) -> RaceRow:
    """Wait for the race to end; progress goes to stderr."""
    lines = ProgressLines(sys.stderr, store_path())
    tended = time.monotonic()
    try:
        while (race := backend.status(race_id)).state != "ended":
            lines.show(race)
            if time.monotonic() - tended > TEND_EVERY_S:
                tended = time.monotonic()
                backend.tend()
            time.sleep(POLL_S)
    finally:
        lines.clear()
    return race


def _stop(backend: Backend, race_id: str) -> RaceRow:
    """Ask the race to stop and wait a little, so that the result tells what there is."""
    backend.request(race_id, "stop")
    deadline = time.monotonic() + STOP_WITHIN_S
    while (race := backend.status(race_id)).state != "ended" and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return race


def _finish(race: RaceRow, as_json: bool) -> int:
    """Print the result, or in one line why there is none; return the exit code."""
    message = " ".join(race.message.split())
    if race.outcome == "failed" and not race.traceback:  # something the user can mend, found by the worker
        print(f"error: {message}", file=sys.stderr)
        return BAD_INPUT
    with store.open_store(store_path()) as opened:
        lanes, tests = store.lanes(opened, race.id), store.evaluations(opened, race.id)
        log = store.log_path(opened, race.id)
    for lane in lanes:
        if lane.message and lane.outcome != "stopped":
            print(lane.message, file=sys.stderr)
    bad = race.outcome in ("failed", "lost", "out_of_memory")
    if bad:
        print(f"the race {race.id} ended as {race.outcome}: {message} (log: {log})", file=sys.stderr)
    report = make_report(race, lanes, tests)
    lines = [*result_lines(report, race), *prediction_lines(race, lanes), *loading_lines(race, lanes)]
    print(json.dumps(report, allow_nan=False) if as_json else "\n".join(lines))
    return FAILED if bad else DONE
