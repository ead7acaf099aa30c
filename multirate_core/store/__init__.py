"""The store of races: one SQLite file, all SQL of the project. No torch.

Open one store per thread with `open_store`; every function below is one transaction.
"""

from multirate_core.store.connection import Store, open_store
from multirate_core.store.ending import compact, finish
from multirate_core.store.health import beat, sweep
from multirate_core.store.packing import StepColumns
from multirate_core.store.queue import devices_in_use, request, start_next
from multirate_core.store.races import (
    candidate_devices,
    count_races,
    delete_race,
    get_race,
    list_races,
    log_path,
    submit,
    unreadable_races,
)
from multirate_core.store.rows import LaneRow, RaceRow
from multirate_core.store.series import evaluations, evaluations_after, lanes, phases, record, steps_since

__all__ = [
    "LaneRow",
    "RaceRow",
    "StepColumns",
    "Store",
    "beat",
    "candidate_devices",
    "compact",
    "count_races",
    "delete_race",
    "devices_in_use",
    "evaluations",
    "evaluations_after",
    "finish",
    "get_race",
    "lanes",
    "list_races",
    "log_path",
    "open_store",
    "phases",
    "record",
    "request",
    "start_next",
    "steps_since",
    "submit",
    "sweep",
    "unreadable_races",
]
