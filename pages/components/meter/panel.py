"""The meter's place on the page: its figures, or the way to them; and the layer that pulls gradients back."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.backends import devices_if_known
from multirate_core.config import GroupSpec, PartitionSpec, Rule
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.predict import Partitioned, predict, speed_up_curve
from multirate_core.cost.reach import PullBack, pull_back
from multirate_core.cost.request import CalibrationError, CalibrationRequest, request_of
from multirate_core.errors import ConfigError, MultirateError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition.partition import Partition
from multirate_core.store.races import candidate_devices
from pages.components.board.partition_panel import put
from pages.components.meter.figures import meter_figures
from pages.components.meter.words import CURVE_KS, meter_data, pull_back_text
from pages.components.resources import calibration, is_being_measured
from pages.components.settings import race_config
from pages.components.settings_form import base_title
from pages.components.text import plain
from pages.components.tree_source import TreeSource

VARIABLE = "MULTIRATE_METER"
MODES = ("auto", "ask", "off")
POLL_S = 1.0
STILL_FOR_S = 2.0  # so long are settings left alone before a measurement begins by itself
ANY_PARTITION = PartitionSpec((GroupSpec("fast", 1),), (Rule("*", "fast"),))


def mode() -> str:
    """Return what the server's owner wants: "auto" measures by itself, "ask" shows a button, "off" shows nothing.

    Raises:
        ConfigError: the environment variable says something else.
    """
    said = os.environ.get(VARIABLE, "auto") or "auto"
    if said not in MODES:
        raise ConfigError(f"{VARIABLE} must be one of {', '.join(MODES)}, got {said[:40]!r}. Set it and start again.")
    return said


@dataclass(frozen=True)
class Costs:
    """What is known of the costs of the network on the page.

    Args:
        request: the measurement that the settings need; None if there can be none.
        measured: what it found; None before that.
        problem: why there can be none, "" if there is nothing to say.
    """

    request: CalibrationRequest | None
    measured: Calibration | None
    problem: str = ""


def known_costs(source: TreeSource) -> Costs:
    """Return what is known of the costs of the network on the page."""
    try:
        request = _request_for(source)
    except ConfigError as error:
        return Costs(None, None, str(error))
    if request is None or source.tree is None:
        return Costs(None, None)
    found = requests.kept(request)
    names = tuple(parameter.name for parameter in source.tree.trainable())
    return Costs(request, found if found is not None and found.parameters == names else None)


def _request_for(source: TreeSource) -> CalibrationRequest | None:
    """Return the measurement that the page's settings need; None if no race can be described.

    Raises:
        ConfigError: such steps cannot be measured, or the server's setting is wrong.
    """
    if source.tree is None or source.shape is None or source.problem or mode() == "off":
        return None
    devices = devices_if_known()
    if devices is None:
        return None
    try:
        config = race_config(replace(source.settings, arms=("multirate",)), ANY_PARTITION, {})
        device = candidate_devices(config.device, devices)[0]
    except MultirateError:
        return None  # the page says so elsewhere
    return request_of(config, source.shape, device)


def cost_meter(costs: Costs, partition: Partition, source: TreeSource) -> None:
    """Draw the meter for the partition on the board."""
    assert source.tree is not None
    cost = Partitioned({group.name: group.period for group in partition.groups}, partition.assignment)
    pulls = pull_back(source.tree, cost, costs.measured)
    if costs == Costs(None, None) and pulls is None:
        return
    with st.container(key="meter", border=True, gap="small"):
        if costs.problem:
            st.caption(plain(f"No costs: {costs.problem}"))
        elif costs.measured is not None:
            _figures(costs.measured, cost, source)
        elif costs.request is not None:
            _way_to_figures(costs.request)
        _pull_back(pulls, partition, source.tree)


def _figures(measured: Calibration, cost: Partitioned, source: TreeSource) -> None:
    recipe, lean = source.settings, source.settings.memory == "lean"
    holds = recipe.drift and (recipe.base == "adamw" or recipe.nesterov or not recipe.momentum)
    found = predict(measured, cost, lean, holds)
    slow = sorted({period for period in cost.periods.values() if period > 1})
    curve = list(speed_up_curve(measured, cost, CURVE_KS, lean)) if found.ratio_limit < 0.995 else []
    images = source.shape.train_images if source.shape else 0
    steps = images / recipe.batch_size if images else None
    meter_figures(meter_data(found, base_title(), steps, curve, slow[0] if len(slow) == 1 else None))
    for note in measured.notes:
        st.caption(plain(note))


def _way_to_figures(request: CalibrationRequest) -> None:
    """Say that the costs are being measured, or offer to."""
    key = requests.key(request)
    if st.session_state.meter[0] != key:
        st.session_state.meter = (key, time.monotonic())
    answer, running = calibration(request, begin=False), is_being_measured(request)
    failed = isinstance(answer, CalibrationError) and not running
    if running or (mode() == "auto" and not (failed and not _passes(answer))):
        st.fragment(_wait, run_every=POLL_S)(request)
        return
    if isinstance(answer, CalibrationError):
        st.caption(plain(f"No costs: {answer.message}"))
    st.button("Measure the costs", icon=":material/speed:", on_click=calibration, args=(request, True), help=HELP)


HELP = """\
Seconds per step and layer on this machine, for these settings: about ten seconds, kept for later. Then the
meter tells at every drop what the partition costs."""


def _wait(request: CalibrationRequest) -> None:
    """Begin the measurement once the settings are left alone, follow it, and draw the page anew at its end."""
    key, since = st.session_state.meter
    if key != requests.key(request):
        return
    running = is_being_measured(request)
    if not running and _device_in_use():
        st.caption("The costs of this network are measured when the race has ended.")
        return
    wanted = mode() == "auto" and time.monotonic() - since > STILL_FOR_S
    answer = calibration(request, begin=wanted or running)
    if answer is not None and not _passes(answer) and not is_being_measured(request):
        st.rerun()
    progress = requests.progress(request)
    text = "Measuring what each layer costs on this machine" + (f": {progress.text}" if progress else "")
    st.progress(progress.fraction if progress else 0.0, text=plain(text))


def _passes(answer: Calibration | CalibrationError | None) -> bool:
    return isinstance(answer, CalibrationError) and answer.passes


def _device_in_use() -> bool:
    try:
        with races.open_store(home.store_path()) as store:
            return bool(races.devices_in_use(store))
    except MultirateError:
        return False


def _pull_back(found: PullBack | None, partition: Partition, tree: LayerTree) -> None:
    """Warn of the layer that sends gradients far back, with a button that moves it.

    The place is kept where there is nothing to warn of: the board below must not jump while somebody drags.
    """
    with st.container(key="pull-back-place", horizontal=True, vertical_alignment="center"):
        if found is None:
            st.caption("No single layer sends gradients far back.")
            return
        st.markdown(f":material/keyboard_double_arrow_up: {plain(pull_back_text(found))}")
        label = plain(f"Move {found.module} to {found.group}")
        st.button(label, key="pull-back", on_click=_move, args=(found, partition, tree))


def _move(found: PullBack, partition: Partition, tree: LayerTree) -> None:
    moved = {**partition.assignment, **dict.fromkeys(found.parameters, found.group)}
    put(Partition(partition.groups, moved), tree)
