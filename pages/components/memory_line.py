"""What the Explore page says about memory before a race: a quiet line at the button, a warning above the board."""

from __future__ import annotations

import streamlit as st

from multirate_core.backends import devices_if_known
from multirate_core.config import RaceConfig
from multirate_core.cost.calibration import Calibration
from multirate_core.errors import MultirateError
from multirate_core.memory.words import Outlook, outlook, runs_on_gpu
from pages.components.text import plain
from pages.components.tree_source import TreeSource


def memory_outlook(config: RaceConfig | None, source: TreeSource, measured: Calibration | None) -> Outlook | None:
    """Return what is to be said; None as long as no race can be described, or nothing can be told.

    Args:
        config: of the race.
        source: of the network on the page.
        measured: its costs, if they are known: their count of memory takes the place of the estimate.
    """
    if config is None or source.tree is None or source.shape is None:
        return None
    on_gpu = runs_on_gpu(config.device, devices_if_known() or ("cpu",))
    try:
        peaks = None if measured is None else measured.peaks
        return outlook(config, source.tree, source.shape, on_gpu, None if peaks is None else peaks.sgd)
    except (OSError, MultirateError):  # a disk that cannot be asked: an estimate must not stand in the way of a race
        return None


def memory_line(found: Outlook | None) -> None:
    """Draw the quiet line; what it is made of stands behind its question mark."""
    if found is not None:
        st.caption(plain(found.short), help=plain(f"{found.line} {found.parts}."))


def memory_notice(found: Outlook | None) -> None:
    """Draw what is too big and what would fit, or why the race cannot run at all."""
    if found is not None and found.refusal:
        st.error(plain(found.refusal))
    elif found is not None and found.warning:
        st.warning(plain(found.warning), icon=":material/memory:")
