"""The layer board: the parameters of a network, dragged between groups.

The browser owns what the user drags, Python owns everything else, and *stamps* keep the two in agreement. Python
sends a seed, codes under a new stamp, when it has something to say: at first, for another network, after
`set_codes`. Each drop comes back under a stamp that names the seed it builds on. A drop that builds on an older seed
was overtaken while under way and is dropped on both sides. Between drops the data stay the same bytes, which Streamlit
replaces by a hash, so a drop costs about 2 KB on the wire whatever the size of the tree.

The script, style sheet and markup are handed to Streamlit inline (see `bundle`), not by an `asset_dir`. An asset
directory is found only for an installed distribution, and only once the server runs: importing this package in a test
or from a plain clone would raise. It is also cached by the browser without a version, so a new release could meet an
old script. Inline code is sent again only when the data change, about 75 KB.

What a board shows of a network is handed over as one text of JSON (`board_content`), to be kept between runs: Streamlit
writes whatever it is given twice at every run, which took 30 ms of a drop with the 833 rows of ResNet-152.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import streamlit as st

from multirate_core.errors import PartitionError
from pages.components.board.layer_board.bundle import FOLDER, bundle

__all__ = ["DIGITS", "BoardContent", "board_content", "layer_board", "set_codes"]

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"  # the n-th character stands for the n-th group

_board = st.components.v2.component(
    "multirate_explorer.layer_board",
    html=(FOLDER / "board.html").read_text(encoding="utf-8"),
    css=(FOLDER / "board.css").read_text(encoding="utf-8"),
    js=bundle(),
)


@dataclass(frozen=True)
class BoardContent:
    """What a board shows of a network.

    Args:
        text: rows and costs as JSON.
        units: how many parameters can be moved.
    """

    text: str
    units: int


def board_content(rows: Sequence[Mapping[str, Any]], cost: Mapping[str, Any] | None = None) -> BoardContent:
    """Write down what a board shows of a network.

    Args:
        rows: modules and parameters in architecture order, parents before children, each a mapping with
            `id`, `parent` (an id or None), `name`, `kind`, `params`, `shape`, `madds` (with everything below), `unit`
            (True for a parameter that can be moved), `fold` (equal for equal blocks, or ""), `note`, and optionally
            `tied` (id of the parameter that this row is another name of).
        cost: what the rows cost and what autograd computes of them; None if that is not known. One that is made for
            another number of parameters is left out. A mapping with
            `measured`: False if only the graph is known, and all seconds are 0;
            `nodes`: the autograd graph, each node after its inputs, as [places of the inputs, seconds for going on
            below, seconds beside, [[parameter, seconds of its gradient when going on, and alone], ...]];
            `rows`: by the id of a module's row, `nodes` (places of those that its own code made), and of a step of SGD,
            with everything below, `forward_s`, `backward_s` and `saved_bytes`;
            `unit_s`: per parameter, seconds that an update with a fresh gradient takes more than drifting;
            `base_s`: a fast step takes that + what its nodes take + its part of `unit_s`;
            `sgd_s`: seconds of a step of SGD.
    """
    units = sum(bool(row["unit"]) for row in rows)
    fits = cost is not None and len(cost["unit_s"]) == units
    shown = {"rows": list(rows), "cost": cost if fits else None}
    return BoardContent(json.dumps(shown, separators=(",", ":")), units)


def layer_board(
    tree_id: str,
    content: BoardContent,
    groups: Sequence[Mapping[str, Any]],
    codes: str,
    key: str,
    disabled: bool = False,
) -> str:
    """Show the board and return which group each parameter is in.

    Args:
        tree_id: names the network; another one starts again from `codes`.
        content: of the network.
        groups: 1 to 36 mappings with `name` and `period` in steps.
        codes: one of `DIGITS` per parameter, in the order of the rows. Used when this key shows this tree for the
            first time; to change it later, call `set_codes`.
        key: the board's name in the session state; `key:seed` and `key:codes` are used as well.
        disabled: show the board, but let nothing be moved.

    Returns:
        The codes as they are on the board now, checked against the rows and groups.

    Raises:
        PartitionError: `codes`, or what was given to `set_codes`, do not fit the rows and groups.
    """
    seed = _current_seed(tree_id, codes, key)
    _require_fit(seed["codes"], content.units, len(groups))
    data = {"board": key, "tree": tree_id, "content": content.text, "groups": list(groups), "disabled": disabled}
    data["assign"] = {"stamp": seed["stamp"], "codes": seed["codes"]}
    # Not the dict itself: Streamlit would import pandas, for half a second, to look for tables among its values.
    result = _board(key=key, data=[data], on_assign_change=lambda: None)
    dropped = _valid_drop(result.get("assign"), seed["stamp"], content.units, len(groups))
    if dropped is not None:
        st.session_state[_codes_key(key)] = dropped
    current: str = st.session_state[_codes_key(key)]
    _require_fit(current, content.units, len(groups))
    return current


def set_codes(key: str, codes: str) -> None:
    """Put this assignment on the board: a preset, a loaded file, an undo, a group more or less.

    Call it in a callback or before the board is shown; after that it takes effect at the next run. The user can undo
    it on the board.

    Args:
        key: as given to `layer_board`.
        codes: one of `DIGITS` per parameter, in the order of the rows that are shown next.
    """
    st.session_state[_seed_key(key)] = {"stamp": _new_stamp(), "codes": codes, "tree": None}
    st.session_state[_codes_key(key)] = codes


def _current_seed(tree_id: str, codes: str, key: str) -> dict[str, Any]:
    """The seed of this run: what `set_codes` left, a first one, or a fresh one when the board comes back."""
    seed = st.session_state.get(_seed_key(key))
    if seed is None or seed["tree"] not in (None, tree_id):
        set_codes(key, codes)
    elif key not in st.session_state:
        # Streamlit forgets the state of a component that was not shown, for instance on another page.
        set_codes(key, st.session_state[_codes_key(key)])
    seed = st.session_state[_seed_key(key)]
    seed["tree"] = tree_id
    return seed


def _require_fit(codes: str, unit_count: int, group_count: int) -> None:
    if not 1 <= group_count <= len(DIGITS):
        raise PartitionError(f"a board shows 1 to {len(DIGITS)} groups, got {group_count}.")
    if not _fits(codes, unit_count, group_count):
        raise PartitionError(
            f"the board needs one code per parameter: {unit_count} characters of {DIGITS[:group_count]!r}, "
            f"got {len(codes)} characters {codes[:40]!r}. Call set_codes with codes made for these rows and groups."
        )


def _fits(codes: str, unit_count: int, group_count: int) -> bool:
    return len(codes) == unit_count and set(codes) <= set(DIGITS[:group_count])


def _valid_drop(value: Any, seed_stamp: str, unit_count: int, group_count: int) -> str | None:
    """The codes of a drop, or None if there is none, it was overtaken, or it is not one: it comes from a browser."""
    if not isinstance(value, Mapping):
        return None
    stamp, codes = value.get("stamp"), value.get("codes")
    if not (isinstance(stamp, str) and isinstance(codes, str) and stamp.startswith(f"{seed_stamp}/")):
        return None
    return codes if _fits(codes, unit_count, group_count) else None


def _new_stamp() -> str:
    return f"py:{uuid4().hex[:8]}"


def _seed_key(key: str) -> str:
    return f"{key}:seed"


def _codes_key(key: str) -> str:
    return f"{key}:codes"
