"""A page around the layer board, for its tests: what Python sees is printed, what Python can do has a button.

`?tree=` chooses the network; `?groups=5` starts with more groups; `?cost=measured` and `?cost=graph` bring its cost.
"""

from __future__ import annotations

import streamlit as st
from board_costs import cost_of
from board_trees import TREES

from pages.components.board.layer_board import BoardContent, board_content, layer_board, set_codes

KEY = "board"


@st.cache_data
def rows_of(name: str) -> list[dict]:
    return TREES[name]()


@st.cache_data
def content_of(name: str, kind: str) -> BoardContent:
    rows = rows_of(name)
    return board_content(rows, cost_of(rows, measured=kind == "measured") if kind else None)


def start_codes(name: str) -> str:
    """Everything slow but the last layer."""
    rows = rows_of(name)
    head = [row["parent"] for row in rows if row["unit"]][-1]
    return "".join("0" if row["parent"] == head else "1" for row in rows if row["unit"])


def groups() -> list[dict]:
    names = ["fast", "slow", "third"] + [f"group {number}" for number in range(4, 37)]
    first = int(st.session_state.get("no_fast", False))
    return [{"name": name, "period": 5**power} for power, name in enumerate(names[: st.session_state["count"]], first)]


def all_in(group: str) -> None:
    set_codes(KEY, group * len(st.session_state["seen"]))


def change_groups(step: int) -> None:
    st.session_state["count"] += step
    last = st.session_state["count"] - 1
    if step < 0:
        set_codes(KEY, "".join(str(min(int(code, 36), last)) for code in st.session_state["seen"]))


def change_tree() -> None:
    st.session_state["tree"] = "small" if st.session_state["tree"] != "small" else "toy"


def buttons() -> None:
    with st.container(horizontal=True):
        st.button("All slow", on_click=all_in, args="1")
        st.button("All fast", on_click=all_in, args="0")
        st.button("Add group", on_click=change_groups, args=(1,))
        st.button("Remove group", on_click=change_groups, args=(-1,))
        st.button("Other model", on_click=change_tree)
        st.button("Plain rerun")
        st.toggle("Elsewhere", key="elsewhere")
        st.toggle("Disabled", key="disabled")
        st.toggle("Ticking", key="ticking")
        if st.query_params.get("cost"):
            st.toggle("No fast group", key="no_fast")
            st.toggle("No cost", key="no_cost")


def show(name: str, text: str) -> None:
    with st.container(key=name):
        st.text(text)


def board_page() -> None:
    st.session_state.setdefault("tree", st.query_params.get("tree", "toy"))
    st.session_state.setdefault("count", int(st.query_params.get("groups", 2)))
    buttons()
    tree = st.session_state["tree"]
    cost = "" if st.session_state.get("no_cost") else st.query_params.get("cost", "")
    with st.container(border=True, key="frame") if st.session_state["elsewhere"] else st.container():
        codes = layer_board(
            tree,
            content_of(tree, cost),
            groups(),
            start_codes(tree),
            KEY,
            disabled=st.session_state["disabled"],
        )
    st.session_state["seen"] = codes
    show("codes", codes)
    names = [row["id"] for row in rows_of(tree) if row["unit"]]
    show("fast", "fast: " + ", ".join(name for name, code in zip(names, codes, strict=True) if code == "0"))
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    show("runs", f"run {st.session_state['runs']}")
    st.fragment(ticker, run_every=0.3 if st.session_state["ticking"] else None)()


def ticker() -> None:
    """What a live chart does: reruns by itself while the user drags."""
    st.session_state["ticks"] = st.session_state.get("ticks", 0) + 1
    st.text(f"tick {st.session_state['ticks']}")


def other_page() -> None:
    st.text("nothing here")


st.set_page_config(page_title="Board", layout="wide")
st.navigation(
    [st.Page(board_page, title="Board", default=True), st.Page(other_page, title="Other")], position="top"
).run()
