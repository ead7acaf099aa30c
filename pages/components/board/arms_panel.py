"""Further partitions as arms of the same race: pinned from the board, each under a name."""

from __future__ import annotations

import streamlit as st

from multirate_core.config import PartitionSpec
from multirate_core.errors import MultirateError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import links
from multirate_core.partition.partition import Partition, to_spec
from pages.components import state
from pages.components.board.partition_panel import current_groups, put
from pages.components.text import plain


def arms_panel(partition: Partition, tree: LayerTree) -> None:
    """Draw the pinned partitions and the way to pin the one on the board."""
    pins = st.session_state.pins
    used = [name for name, link in pins.items() if not links.is_for_another_network(link, tree)]
    pinned = f" ({len(used)} pinned)" if used else ""
    # The key keeps it open when its title changes.
    with st.expander(f"Compare several partitions in one race{pinned}", key="arms"):
        st.caption("Pin the board's partition as one more multirate arm, change the board, race: all arms are paired.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input("Name of the arm", key="in:pin", max_chars=40, placeholder=_free_name(pins), width=220)
            full = len(pins) >= state.MAX_PINS
            st.button("Pin this partition", on_click=_pin, args=(partition, tree), disabled=full)
        for name, link in pins.items():
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(plain(name))
                if name in used:
                    st.button("Show on the board", key=f"pin:show:{name}", on_click=_show, args=(link, tree))
                else:
                    st.caption("of another network: not in this race")
                st.button("Remove", key=f"pin:remove:{name}", on_click=pins.pop, args=(name, None))


def pinned_specs(tree: LayerTree) -> dict[str, PartitionSpec]:
    """Return the pinned partitions of this network; those of another one wait for it, damaged ones are removed."""
    specs = {}
    for name, link in list(st.session_state.pins.items()):
        if links.is_for_another_network(link, tree):
            continue
        try:
            specs[name] = to_spec(links.decode(link, tree), tree)
        except MultirateError as error:
            del st.session_state.pins[name]
            st.session_state.problems.append(f"The pinned partition {name} was removed: {error}")
    return specs


def _pin(partition: Partition, tree: LayerTree) -> None:
    pins = st.session_state.pins
    name = (st.session_state["in:pin"] or "").strip() or _free_name(pins)
    if name in pins or name in ("sgd", "multirate", "frozen"):
        st.session_state.problems.append(f"There is an arm called {name} already. Choose another name.")
        return
    try:  # a period may have been typed in the moment before the click
        pins[name] = links.encode(Partition(current_groups(), partition.assignment), tree)
    except MultirateError as error:
        st.session_state.problems.append(str(error))
    st.session_state["in:pin"] = ""


def _show(link: str, tree: LayerTree) -> None:
    put(links.decode(link, tree), tree)


def _free_name(pins: dict[str, str]) -> str:
    return next(name for number in range(1, 100) if (name := f"partition {number}") not in pins)
