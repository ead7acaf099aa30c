"""The left half of the Explore page: presets, groups with their periods, and the layer board.

The session state keeps the groups and one code per parameter (its group's number); a Partition is made from them at
every run, so a board that no race can use (everything slow) stays on the screen with its error beside it.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from multirate_core.config import GroupSpec, RaceConfig
from multirate_core.cost.board import board_costs
from multirate_core.cost.calibration import Calibration
from multirate_core.errors import MultirateError, PartitionError
from multirate_core.layers.rows import board_rows
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import files, links
from multirate_core.partition.codes import assignment_from_codes, codes_of
from multirate_core.partition.partition import Partition, resolve
from multirate_core.partition.phases import rates_in_words
from multirate_core.partition.presets import PRESETS, preset
from pages.components import state
from pages.components.board.layer_board import DIGITS, BoardContent, board_content, layer_board, set_codes
from pages.components.board.rates import rates_popover, show_rates, with_rates_of
from pages.components.text import plain

GROUP_NAMES = ("fast", "slow", "third", "fourth", "fifth", "sixth")
MAX_BOARD_GROUPS = len(GROUP_NAMES)
MAX_PERIOD = 1_000_000


def prepare(tree: LayerTree) -> None:
    """Give a network that has just come to the board its partition: from the link, the race, or the first preset.

    The same network for other images keeps what the user has sorted. Call it before any period is drawn, since it may
    change them.
    """
    before, st.session_state.tree = st.session_state.tree, _tree_id(tree)
    if before.startswith(_names_id(tree)):
        return
    try:
        partition = _first_partition(tree)
    except MultirateError as error:
        st.session_state.problems.append(f"The partition was left out: {error} The head is fast instead.")
        partition = preset("head", tree, _k())
    put(partition, tree)


def partition_board(tree: LayerTree, measured: Calibration | None, drift: bool) -> Partition | None:
    """Draw the board for a network; return its partition, or None while it is unusable.

    Args:
        tree: of the network.
        measured: its costs; None while they are not known.
        drift: whether slow layers drift.
    """
    groups = current_groups()
    shown = [{"name": group.name, "period": group.period} for group in groups]
    content = _content(tree, measured, drift)
    codes = layer_board(_tree_id(tree), content, shown, st.session_state.codes, key=state.BOARD)
    st.session_state.codes = codes
    try:
        return assignment_from_codes(codes, tree, groups)
    except PartitionError as error:
        st.error(plain(error))
        return None


def current_groups() -> tuple[GroupSpec, ...]:
    """Return the groups with the periods that their widgets have now; at every step there is nothing to schedule."""
    groups = []
    for group in st.session_state.groups:
        period = int(st.session_state.get(state.period_key(group.name)) or group.period)
        groups.append(replace(group, period=period, phases=group.phases if period > 1 else ()))
    return tuple(groups)


def put(partition: Partition, tree: LayerTree) -> None:
    """Show a partition on the board; call it in a callback or before the board is drawn."""
    st.session_state.groups = partition.groups
    for group in partition.groups:
        st.session_state[state.period_key(group.name)] = group.period
        show_rates(group)
    st.session_state.codes = codes_of(partition, tree)
    set_codes(state.BOARD, st.session_state.codes)


def period_input(group: GroupSpec, label: str) -> None:
    """Draw the number input of a group's period."""
    key = state.period_key(group.name)
    # As a float and without bounds: the browser would cut the fraction off an integer, take 1 for an empty field, and
    # keep the old period behind a number out of bounds that it shows.
    st.session_state.setdefault(key, float(group.period))
    st.number_input(
        label,
        value=None,
        step=1.0,
        format="%.0f",
        key=key,
        on_change=_check_period,
        args=(group.name,),
        persist_state="session",
        help=f"The gradient of the group “{plain(group.name)}” is computed every k steps; in between it drifts along "
        "its held momentum. 1 means at every step.",
    )


def _check_period(name: str) -> None:
    """Take over a group's new period; put the old one back if it is none, and say so."""
    key = state.period_key(name)
    typed = st.session_state[key]
    if typed is not None and float(typed).is_integer() and 1 <= typed <= MAX_PERIOD:
        st.session_state.groups = current_groups()
        for group in st.session_state.groups:
            show_rates(group)
        return
    got = "nothing" if typed is None else f"{typed:g}"
    st.session_state.problems.append(f"k must be a whole number from 1 to {MAX_PERIOD:,}, got {got}.")
    st.session_state[key] = next(float(group.period) for group in st.session_state.groups if group.name == name)


def _first_partition(tree: LayerTree) -> Partition:
    config: RaceConfig | None = st.session_state.pop("restore_config", None)
    link, st.session_state.link = st.session_state.link, ""
    if config is not None:
        return _partitions_of(config, tree)
    return links.decode(link, tree) if link else preset("head", tree, _k())


def _partitions_of(config: RaceConfig, tree: LayerTree) -> Partition:
    """Pin the arms of a race that have names of their own; return the partition of the others for the board."""
    on_board = None
    for arm in config.arms:
        if arm.partition is not None and arm.name == arm.kind:
            on_board = resolve(arm.partition, tree)
        elif arm.partition is not None:
            st.session_state.pins[arm.name] = links.encode(resolve(arm.partition, tree), tree)
    return on_board or preset("head", tree, _k())


def _k() -> int:
    return int(st.session_state.get(state.period_key("slow")) or 5)


def _names_id(tree: LayerTree) -> str:
    return f"{tree.model}:{tree.fingerprint}:"


def _tree_id(tree: LayerTree) -> str:
    return f"{_names_id(tree)}{'x'.join(map(str, tree.input_shape))}:{tree.root.signature}"


def _content_id(tree: LayerTree) -> str:
    return f"{_tree_id(tree)}:{hash(tree.gradients)}"  # the same modules may be called in another way


def _measurement_id(measured: Calibration) -> str:
    return f"{measured.facts} {measured.took_s!r} {measured.sgd_step_s!r} {measured.base_s!r}"


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={LayerTree: _content_id, Calibration: _measurement_id})
def _content(tree: LayerTree, measured: Calibration | None, drift: bool) -> BoardContent:
    return board_content(board_rows(tree), board_costs(tree, measured, drift))


def toolbar(tree: LayerTree) -> None:
    """Draw presets, the periods of further groups, and what adds and removes them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.popover("Start from a preset"):
            _presets(tree)
        for group in st.session_state.groups[2:]:
            with st.container(width=130):
                period_input(group, f"k of {plain(group.name)}")
        if len(st.session_state.groups) < MAX_BOARD_GROUPS:
            st.button("Add a group", on_click=_add_group, help="One more group with a period of its own.")
        if len(st.session_state.groups) > 2:
            last = plain(st.session_state.groups[-1].name)
            st.button(f"Remove “{last}”", on_click=_remove_group, help="Its parameters go to the group before it.")
        rates_popover(current_groups())
    rates = [f"{group.name}: {rates_in_words(group)}" for group in current_groups() if rates_in_words(group)]
    if rates:
        st.caption(plain("; ".join(rates)))


def _presets(tree: LayerTree) -> None:
    st.caption("Sorts the parameters into fast and slow. Then drag what you want elsewhere.")
    for name, title in PRESETS.items():
        if name == "last_n":
            st.number_input("n, for the last n layers", 1, 10_000, 3, key="in:last_n", persist_state="session")
        st.button(title, key=f"preset:{name}", on_click=_apply_preset, args=(name, tree), width="stretch")


def _apply_preset(name: str, tree: LayerTree) -> None:
    try:
        sorted_anew = preset(name, tree, _k(), int(st.session_state.get("in:last_n") or 3))
        put(replace(sorted_anew, groups=with_rates_of(sorted_anew.groups, current_groups())), tree)
    except PartitionError as error:
        st.session_state.problems.append(str(error))


def _add_group() -> None:
    groups = current_groups()
    used = {group.name for group in groups}
    name = next(name for name in GROUP_NAMES if name not in used)
    period = min(2 * max(group.period for group in groups), MAX_PERIOD)
    st.session_state.groups = (*groups, GroupSpec(name, period))
    show_rates(st.session_state.groups[-1])


def _remove_group() -> None:
    groups = current_groups()
    last = len(groups) - 1
    codes = st.session_state.codes.replace(DIGITS[last], DIGITS[last - 1])
    st.session_state.groups = groups[:-1]
    st.session_state.codes = codes
    set_codes(state.BOARD, codes)


def load_file(content: bytes, tree: LayerTree) -> None:
    """Put an uploaded partition file on the board; PartitionError if it does not fit."""
    put(resolve(files.loads(content.decode("utf-8-sig", errors="replace")), tree), tree)
