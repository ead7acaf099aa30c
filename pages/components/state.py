"""The only place that names session-state keys and URL parameters.

A session starts from its link once; from then on the session state leads and the link follows (`publish`).
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from multirate_core.config import GroupSpec, RaceConfig
from multirate_core.data.catalog import DATASETS
from multirate_core.models.catalog import OWN_NAME
from multirate_core.models.own_sources import VARIABLE, choices, chosen_name
from pages.components.settings import Settings, from_race
from pages.components.settings_link import LINK_FIELDS, MAX_LINK_VALUE, from_link, to_link

BOARD = "board"  # key of the layer board component
PARTITION_PARAM = "p"
PIN_PARAM = "pin"
RACE_PARAM = "race"
RACE_ID = re.compile(r"[A-Za-z0-9_-]{4,40}")
MAX_PINS = 6
FAST_AND_SLOW = (GroupSpec("fast", 1), GroupSpec("slow", 5))


def field_key(name: str) -> str:
    """Return the session-state key of the widget for a field of Settings."""
    return f"in:{name}"


def period_key(group: str) -> str:
    """Return the session-state key of the widget for a group's period."""
    return f"in:period:{group}"


def lr_factor_key(group: str) -> str:
    """Return the session-state key of the widget for a group's share of the learning rate."""
    return f"in:lr_factor:{group}"


def phases_key(group: str) -> str:
    """Return the session-state key of the widget for a group's schedule for k."""
    return f"in:phases:{group}"


def table_key(race_ids: Sequence[str]) -> str:
    """Return the session-state key of the table of these races.

    Streamlit keeps marks by row number: under one key for all tables, a mark would go over to another race when one is
    deleted or comes on top.
    """
    return f"runs:{zlib.crc32(' '.join(race_ids).encode()):08x}"


def started() -> bool:
    """Tell whether this session has been filled from its link."""
    return "started" in st.session_state


def start() -> None:
    """Fill a new session from its link; later calls of the same session do nothing."""
    if started():
        return
    params = st.query_params
    settings, problems = from_link({name: params[name] for name in params})
    set_settings(settings)
    st.session_state.problems = problems
    st.session_state.link = _bounded(params.get(PARTITION_PARAM, ""), PARTITION_PARAM)
    st.session_state.pins = _read_pins(params.get_all(PIN_PARAM))
    race = params.get(RACE_PARAM, "")
    if race and not RACE_ID.fullmatch(race):
        problems.append("The link's race was left out: that is no race id.")
        race = ""
    st.session_state.race = race
    # A link that names only a race restores the whole screen from that race.
    st.session_state.restore = bool(race) and not set(params) - {RACE_PARAM}
    st.session_state.usable_link = ""
    st.session_state.request_problem = ("", "")  # the race whose request failed, and why
    st.session_state.looking = None  # at which data, in the dialog; a text if that cannot be told
    st.session_state.meter = ("", 0.0)  # which measurement the page waits for, and since when
    st.session_state.groups = FAST_AND_SLOW
    st.session_state.tree = ""
    st.session_state.codes = ""
    st.session_state.started = True


def settings() -> Settings:
    """Return the settings as the widgets have them now."""
    default = Settings()
    values = {name: st.session_state.get(field_key(name), getattr(default, name)) for name in LINK_FIELDS}
    values["arms"] = tuple(values["arms"] or ())
    return Settings(**{name: _as_in(default, name, value) for name, value in values.items()})


def set_settings(new: Settings) -> None:
    """Put settings into the widgets; call it before they are drawn, or in a callback."""
    for item in dataclasses.fields(Settings):
        set_field(item.name, getattr(new, item.name))
    st.session_state.advised_for = (new.model, new.data, new.base)


def set_field(name: str, value: object) -> None:
    """Put one setting into its widget; numbers are floats there, see `settings_form`."""
    if isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    st.session_state[field_key(name)] = value


def _as_in(default: Settings, name: str, value: Any) -> Any:
    """Return a widget's value as Settings has it: whole numbers as int, an empty widget as the default."""
    usual = getattr(default, name)
    if value is None:
        return usual
    whole = isinstance(usual, int) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def open_race(race_id: str, config: RaceConfig | None = None) -> None:
    """Show a race on the Explore page; with its configuration, restore the settings and arms as well."""
    st.session_state.race = race_id
    if config is None:
        return
    if chosen_name(config.model) not in choices() or config.data.name not in DATASETS:
        what = f"This version does not know {config.model.name} on {config.data.name}"[:140]
        if config.model.name == OWN_NAME:  # from the command line: a browser may look at it, not run it again
            what = f"The code of this race's network is not listed in {VARIABLE}"
        st.session_state.problems.append(f"{what}: only the race's curves are shown.")
        return
    set_settings(from_race(config))
    st.session_state.pins = {}
    st.session_state.restore_config = config
    st.session_state.tree = ""


def publish(partition_link: str, pins: dict[str, str], race: str) -> None:
    """Write the whole state into the URL, if it differs from what stands there.

    While a race's configuration waits for its layer tree, only the race is written: a reload then restores it again.
    """
    restoring = "restore_config" in st.session_state
    wanted: dict[str, str | list[str]] = {} if restoring else dict(to_link(settings()))
    if partition_link and not restoring:
        wanted[PARTITION_PARAM] = partition_link
    if pins and not restoring:
        wanted[PIN_PARAM] = [f"{name}~{link}" for name, link in pins.items()]
    if race:
        wanted[RACE_PARAM] = race
    present = {name: st.query_params.get_all(name) for name in st.query_params}
    if present != {name: value if isinstance(value, list) else [value] for name, value in wanted.items()}:
        st.query_params.from_dict(wanted)


def publish_axis() -> None:
    """Write the x axis into the URL: its control redraws only the race's part of the page, and no `publish` follows."""
    if "restore_config" in st.session_state:
        return
    name, _ = LINK_FIELDS["axis"]
    value = to_link(settings()).get(name)
    if value is not None:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def _bounded(text: str, name: str) -> str:
    if len(text) <= MAX_LINK_VALUE:
        return text
    st.session_state.problems.append(
        f"The link's “{name}” was left out: it has {len(text)} characters, allowed are {MAX_LINK_VALUE}."
    )
    return ""


def _read_pins(texts: list[str]) -> dict[str, str]:
    pins = {}
    for text in texts[:MAX_PINS]:
        name, tilde, link = _bounded(text, PIN_PARAM).rpartition("~")
        if tilde and name and len(name) <= 60:
            pins[name] = link
    return pins
