"""The rates of the groups, folded: a share of the learning rate for each, and a schedule for k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from multirate_core.config import GroupSpec
from multirate_core.errors import ConfigError
from multirate_core.partition.phases import read_phases, write_phases
from pages.components import state
from pages.components.text import plain

RATES_HELP = """A group's learning rate is the recipe's times its factor. A schedule gives k for the first epochs:
1:2, 2:3 is k = 1 for 2 epochs, then k = 2 for 3 epochs, then the group's own k. The plain arm has neither."""


def rates_popover(groups: Sequence[GroupSpec]) -> None:
    """Draw the rates of the groups, once they are unfolded."""
    folder = st.popover("Rates", key="in:rates", on_change="rerun", help="Learning rate of each group, schedule for k.")
    if not folder.open:
        return
    with folder:
        st.caption(RATES_HELP)
        for group in groups:
            _rates(group)


def show_rates(group: GroupSpec) -> None:
    """Put a group's rates into its widgets; call it in a callback or before they are drawn."""
    st.session_state[state.lr_factor_key(group.name)] = float(group.lr_factor)
    st.session_state[state.phases_key(group.name)] = write_phases(group.phases)


def with_rates_of(groups: Sequence[GroupSpec], others: Sequence[GroupSpec]) -> tuple[GroupSpec, ...]:
    """Return the groups with the rates that groups of the same names have."""
    known = {group.name: group for group in others}
    return tuple(
        replace(
            group,
            lr_factor=known[group.name].lr_factor,
            phases=known[group.name].phases if group.period > 1 else (),
        )
        if group.name in known
        else group
        for group in groups
    )


def _rates(group: GroupSpec) -> None:
    name = plain(group.name)
    left, right = st.columns(2)
    key = state.lr_factor_key(group.name)
    st.session_state.setdefault(key, float(group.lr_factor))
    with left:
        st.number_input(
            f"lr factor of {name}",
            value=None,
            step=0.1,
            format="%.5g",
            key=key,
            on_change=_take,
            args=(group.name, "lr_factor"),
            persist_state="session",
        )
    if group.period == 1:
        return
    key = state.phases_key(group.name)
    st.session_state.setdefault(key, write_phases(group.phases))
    with right:
        st.text_input(
            f"Schedule for k of {name}",
            key=key,
            placeholder="1:2, 2:3",
            max_chars=300,
            on_change=_take,
            args=(group.name, "phases"),
            persist_state="session",
        )


def _take(name: str, rate: str) -> None:
    """Take over what was typed for a group; put the old value back if it cannot be, and say so."""
    groups: tuple[GroupSpec, ...] = st.session_state.groups
    old = next(group for group in groups if group.name == name)
    try:
        new = replace(old, **_typed(name, rate))
    except ConfigError as error:
        st.session_state.problems.append(str(error))
        new = old
    st.session_state.groups = tuple(new if group is old else group for group in groups)
    show_rates(new)


def _typed(name: str, rate: str) -> dict[str, Any]:
    if rate == "phases":
        return {rate: read_phases(st.session_state[state.phases_key(name)] or "", name)}
    typed = st.session_state[state.lr_factor_key(name)]
    return {rate: 1.0 if typed is None else typed}
