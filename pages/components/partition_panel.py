"""The left half of the Explore page: presets, groups with their periods, and the layer board.

The session state keeps the groups and one code per parameter (its group's number); a Partition is made from them at
every run, so a board that no race can use (everything slow) stays on the screen with its error beside it.
"""

from __future__ import annotations

import streamlit as st

from multirate_core.config import ArmConfig, GroupSpec
from multirate_core.errors import MultirateError, PartitionError
from multirate_core.layers.rows import assignment_from_codes, board_rows, codes_of
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import files, links
from multirate_core.partition.partition import Partition, resolve
from multirate_core.partition.presets import PRESETS, preset
from pages.components import state
from pages.components.layer_board import layer_board, set_codes
from pages.components.text import count, plain

GROUP_NAMES = ("fast", "slow", "third", "fourth", "fifth", "sixth")
MAX_BOARD_GROUPS = len(GROUP_NAMES)


def partition_panel(tree: LayerTree) -> Partition | None:
    """Draw presets, groups and board for a network; return its partition, or None while it is unusable."""
    _follow_tree(tree)
    _toolbar(tree)
    rows = board_rows(tree)
    groups = current_groups()
    shown = [{"name": group.name, "period": group.period} for group in groups]
    st.session_state.codes = layer_board(_tree_id(tree), rows, shown, st.session_state.codes, key=state.BOARD)
    try:
        return assignment_from_codes(st.session_state.codes, tree, groups)
    except PartitionError as error:
        st.error(plain(error))
        return None


def current_groups() -> tuple[GroupSpec, ...]:
    """Return the groups with the periods that their widgets have now."""
    return tuple(
        GroupSpec(group.name, int(st.session_state.get(state.period_key(group.name)) or group.period))
        for group in st.session_state.groups
    )


def put(partition: Partition, tree: LayerTree) -> None:
    """Show a partition on the board; call it in a callback or before the board is drawn."""
    st.session_state.groups = partition.groups
    for group in partition.groups[1:]:
        st.session_state[state.period_key(group.name)] = group.period
    st.session_state.codes = codes_of(partition, tree)
    set_codes(state.BOARD, st.session_state.codes)


def period_input(group: GroupSpec, label: str) -> None:
    """Draw the number input of a group's period."""
    key = state.period_key(group.name)
    st.session_state.setdefault(key, group.period)
    st.number_input(
        label,
        min_value=1,
        max_value=1_000_000,
        step=1,
        key=key,
        persist_state="session",
        help=f"The gradient of the group “{group.name}” is computed every k steps; in between it drifts along its "
        "held momentum. 1 means at every step.",
    )


def _follow_tree(tree: LayerTree) -> None:
    """Give a network that has just come to the board its partition: from the link, the race, or the first preset."""
    if st.session_state.tree == _tree_id(tree):
        return
    st.session_state.tree = _tree_id(tree)
    try:
        partition = _first_partition(tree)
    except MultirateError as error:
        st.session_state.problems.append(f"The partition was left out: {error} The head is fast instead.")
        partition = preset("head", tree, _k())
    put(partition, tree)


def _first_partition(tree: LayerTree) -> Partition:
    config = st.session_state.pop("restore_config", None)
    link, st.session_state.link = st.session_state.link, ""
    if config is not None:
        specs = [arm.partition for arm in _board_first(config.arms) if arm.partition is not None]
        return resolve(specs[0], tree) if specs else preset("all_fast", tree, _k())
    return links.decode(link, tree) if link else preset("head", tree, _k())


def _board_first(arms: tuple[ArmConfig, ...]) -> list[ArmConfig]:
    return sorted(arms, key=lambda arm: arm.name != arm.kind)


def _k() -> int:
    return int(st.session_state.get(state.period_key("slow")) or 5)


def _tree_id(tree: LayerTree) -> str:
    return f"{tree.model}:{tree.fingerprint}:{'x'.join(map(str, tree.input_shape))}:{tree.root.signature}"


def _toolbar(tree: LayerTree) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Start from",
            list(PRESETS),
            index=None,
            placeholder="a preset …",
            format_func=lambda name: PRESETS[name],
            key="in:preset",
            on_change=_apply_preset,
            args=(tree,),
            width=220,
            help="Sorts the parameters into fast and slow; then drag what you want elsewhere.",
        )
        for group in st.session_state.groups[2:]:
            with st.container(width=120):
                period_input(group, f"k of {group.name}")
        if len(st.session_state.groups) < MAX_BOARD_GROUPS:
            st.button("Add a group", on_click=_add_group, help="One more group with a period of its own.")
        if len(st.session_state.groups) > 2:
            last = st.session_state.groups[-1].name
            st.button(f"Remove “{last}”", on_click=_remove_group, help="Its parameters go to the group before it.")
    st.caption(f"{count(tree.root.parameter_count)} parameters in {len(tree.trainable())} tensors. {tree.note}")


def _apply_preset(tree: LayerTree) -> None:
    name = st.session_state["in:preset"]
    st.session_state["in:preset"] = None
    if name is None:
        return
    try:
        put(preset(name, tree, _k()), tree)
    except PartitionError as error:
        st.session_state.problems.append(str(error))


def _add_group() -> None:
    groups = st.session_state.groups
    used = {group.name for group in groups}
    name = next(name for name in GROUP_NAMES if name not in used)
    st.session_state.groups = (*current_groups(), GroupSpec(name, max(group.period for group in current_groups()) * 2))


def _remove_group() -> None:
    groups = current_groups()
    last = len(groups) - 1
    codes = st.session_state.codes.replace(str(last), str(last - 1))
    st.session_state.groups = groups[:-1]
    st.session_state.codes = codes
    set_codes(state.BOARD, codes)


def load_file(content: bytes, tree: LayerTree) -> None:
    """Put an uploaded partition file on the board; PartitionError if it does not fit."""
    put(resolve(files.loads(content.decode("utf-8", errors="replace")), tree), tree)
