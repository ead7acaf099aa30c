"""The main screen: settings, the layer board, and the race."""

from __future__ import annotations

import streamlit as st

from multirate_core.config import RaceConfig
from multirate_core.cost.calibration import Calibration
from multirate_core.errors import MultirateError, RaceNotFoundError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import links
from multirate_core.partition.partition import Partition, to_spec
from pages.components import state
from pages.components.board.arms_panel import arms_panel, pinned_specs
from pages.components.board.partition_panel import current_groups, partition_board, prepare, toolbar
from pages.components.board.take_home import take_home
from pages.components.memory_line import memory_line, memory_notice, memory_outlook
from pages.components.meter.panel import cost_meter, known_costs
from pages.components.race.panel import race_panel
from pages.components.resources import backend
from pages.components.router import require_router
from pages.components.settings import in_words_of_the_page, race_config
from pages.components.settings_form import base_title, main_settings, more_settings
from pages.components.text import plain
from pages.components.tree_source import TreeSource, current_tree, show_missing_tree

LEAD = """\
<p class="multirate-lead"><b>Multirate Explorer.</b> <b>Fast</b> layers get a fresh gradient at every step, <b>slow</b>
ones every <i>k</i> steps and drift in between. Drag layers, set <i>k</i>, race against {base}.</p>"""


def page() -> None:
    """Draw the page; the race button's place is kept, since it needs the board that is drawn after it."""
    _restore()
    st.html(LEAD.format(base=base_title()))
    source = current_tree()
    if source.tree is not None:
        prepare(source.tree)
    with st.container(border=True):
        button = main_settings(current_groups())
        more_settings()
    notices = st.container()
    with st.container(key="halves"):
        left, right = st.columns([1.12, 1], gap="medium")
    with left:
        if source.tree is None:
            show_missing_tree(source)
            partition = config = measured = None
        else:
            partition, config, measured = _board(source, source.tree)
    memory = memory_outlook(config, source, measured)
    with button:
        memory_line(memory)
        _race_button(None if memory is not None and memory.refusal else config)
    with right:
        race_panel(st.session_state.race)
    with notices:
        memory_notice(memory)
        _show_problems()
    state.publish(_link(partition, source.tree), st.session_state.pins, st.session_state.race)


def _board(source: TreeSource, tree: LayerTree) -> tuple[Partition | None, RaceConfig | None, Calibration | None]:
    if source.problem:
        st.error(plain(source.problem))
    toolbar(tree)
    meter, costs = st.container(), known_costs(source)
    partition = partition_board(tree, costs.measured, source.settings.drift)
    if partition is None:
        return None, None, None
    with meter:
        cost_meter(costs, partition, source)
    spec, pinned = to_spec(partition, tree), pinned_specs(tree)
    arms_panel(partition, tree)
    try:
        config = race_config(source.settings, spec, pinned)
    except MultirateError as error:
        config, problem = None, in_words_of_the_page(str(error))
        if problem != source.problem:
            st.error(plain(problem))
    take_home(spec, config, tree)
    return partition, None if source.problem else config, costs.measured


def _link(partition: Partition | None, tree: LayerTree | None) -> str:
    """Return the partition's link; without a tree the one still to be shown, while unusable the last usable one."""
    if tree is None:
        return str(st.session_state.link)
    if partition is not None:
        st.session_state.usable_link = links.encode(partition, tree)
    return str(st.session_state.usable_link)


def _race_button(config: RaceConfig | None) -> None:
    if not st.button("Race", type="primary", icon=":material/flag:", disabled=config is None, width="stretch"):
        return
    try:
        assert config is not None  # a disabled button cannot be pressed
        st.session_state.race = backend().submit(config)
    except MultirateError as error:
        st.session_state.problems.append(str(error))


def _restore() -> None:
    """A link that names only a race restores the whole screen from it."""
    if not st.session_state.restore:
        return
    st.session_state.restore = False
    try:
        row = backend().status(st.session_state.race)
    except RaceNotFoundError:
        return  # the race's place on the page says so
    except MultirateError as error:
        st.session_state.problems.append(str(error))
        return
    state.open_race(row.id, row.config)


def _show_problems() -> None:
    """Show what went wrong since the last run, once."""
    for text in st.session_state.problems:
        st.warning(plain(text))
    st.session_state.problems = []


require_router()
page()
