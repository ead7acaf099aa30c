"""The meter's place on the page: its figures, or the way to them; and the layer that pulls gradients back."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import streamlit as st

from multirate_core import home
from multirate_core import store as races
from multirate_core.backends import devices_if_known
from multirate_core.config import GroupSpec, PartitionSpec, RaceConfig, Rule
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.predict import Partitioned, predict, speed_up_curve
from multirate_core.cost.reach import PullBack, pull_back
from multirate_core.cost.request import CalibrationError, CalibrationRequest, request_of
from multirate_core.errors import ConfigError, MultirateError
from multirate_core.layers.tree import LayerTree
from multirate_core.memory.words import outlook, runs_on_gpu
from multirate_core.partition.partition import Partition
from multirate_core.store.races import candidate_devices
from pages.components.board.partition_panel import put
from pages.components.meter.figures import meter_figures
from pages.components.meter.words import CURVE_KS, meter_data, pull_back_text
from pages.components.resources import another_is_measured, calibration, is_being_measured
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
    """Return what the server's owner wants: "auto" measures by itself, "ask" shows a button, "off" measures nothing.

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
        caution: why it does not begin by itself, "" if it may.
    """

    request: CalibrationRequest | None
    measured: Calibration | None
    problem: str = ""
    caution: str = ""


def known_costs(source: TreeSource) -> Costs:
    """Return what is known of the costs of the network on the page."""
    try:
        config = _any_race(source)
        if config is None or source.shape is None or source.tree is None:
            return Costs(None, None)
        request = request_of(config, source.shape, config.device)
        found = requests.kept(request)
    except ConfigError as error:
        return Costs(None, None, str(error))
    if found is None:
        return Costs(request, None, caution=_caution(config, source))
    if found.parameters != tuple(parameter.name for parameter in source.tree.trainable()):
        return Costs(None, None, "the network was changed since it was measured. Start the app again.")
    return Costs(request, found)


def _any_race(source: TreeSource) -> RaceConfig | None:
    """Return a race as the settings describe it, on the device that it would get; None if they describe none.

    Raises:
        ConfigError: the server's setting is wrong.
    """
    devices = devices_if_known()
    if source.problem or mode() == "off" or devices is None:
        return None
    try:
        config = race_config(replace(source.settings, arms=("multirate",)), ANY_PARTITION, {})
        return replace(config, device=candidate_devices(config.device, devices)[0])
    except MultirateError:
        return None  # the page says so elsewhere


def _caution(config: RaceConfig, source: TreeSource) -> str:
    """Return that a step hardly fits into memory: nobody has asked for it yet."""
    assert source.tree is not None and source.shape is not None
    try:
        found = outlook(config, source.tree, source.shape, runs_on_gpu(config.device, (config.device,)))
    except (OSError, MultirateError):
        return ""
    return "One step may need more memory than is free." if found.warning or found.refusal else ""


def cost_meter(costs: Costs, partition: Partition, source: TreeSource) -> None:
    """Draw the meter for the partition on the board."""
    assert source.tree is not None
    periods = {group.name: group.period for group in partition.groups}
    cost = Partitioned(periods, partition.assignment, source.settings.drift)
    if costs == Costs(None, None) and source.tree.gradients is None:
        return
    with st.container(key="meter", border=True, gap="small"):
        if costs.problem:
            st.caption(plain(f"No costs: {costs.problem}"))
        elif costs.measured is not None:
            _figures(costs.measured, cost, source)
            if any(group.phases for group in partition.groups):
                st.caption("With the periods after all schedules for k.")
        elif costs.request is not None:
            _way_to_figures(costs.request, costs.caution)
        _pull_back(pull_back(source.tree, cost, costs.measured), partition, source.tree)


def _figures(measured: Calibration, cost: Partitioned, source: TreeSource) -> None:
    lean = source.settings.memory == "lean"
    found = predict(measured, cost, lean)
    slow = sorted({period for period in cost.periods.values() if period > 1})
    curve = list(speed_up_curve(measured, cost, CURVE_KS, lean)) if found.ratio_limit < 0.995 else []
    images = source.shape.train_images if source.shape else 0
    steps = images / source.settings.batch_size if images else None
    meter_figures(meter_data(found, base_title(), steps, curve, slow[0] if len(slow) == 1 else None))
    for note in measured.notes:
        st.caption(plain(note))


def _way_to_figures(request: CalibrationRequest, caution: str) -> None:
    """Say that the costs are being measured, or offer to."""
    key = requests.key(request)
    if st.session_state.meter[0] != key:
        st.session_state.meter = (key, time.monotonic())
    answer, running = calibration(request, begin=False), is_being_measured(request)
    failed = isinstance(answer, CalibrationError) and not answer.will_pass
    if running or (mode() == "auto" and not caution and not failed):
        st.fragment(_wait, run_every=POLL_S)(request)
        return
    if isinstance(answer, CalibrationError):
        st.caption(plain(f"No costs: {answer.message}"))
    elif caution:
        st.caption(caution)
    st.button("Measure the costs", icon=":material/speed:", on_click=_begin, args=(request,), help=HELP)


HELP = """\
Seconds per step and layer on this machine, for these settings: it takes ten to forty seconds and is kept for later.
Then the meter tells at every drop what the partition costs."""


def _begin(request: CalibrationRequest) -> None:
    try:
        calibration(request, begin=True)
    except (OSError, MultirateError) as error:
        st.session_state.problems.append(f"The costs cannot be measured: {error}")


def _wait(request: CalibrationRequest) -> None:
    """Begin the measurement once the settings are left alone, follow it, and draw the page anew at its end."""
    key, since = st.session_state.meter
    answer, running = calibration(request, begin=False), is_being_measured(request)
    over = answer is not None and not _will_pass(answer) and not running
    if over or key != requests.key(request) or not (running or mode() == "auto"):
        st.rerun()  # the page shows what was found, waits for what it needs now, or offers the button again
    waits_for = "" if running else _waits_for(request)
    if waits_for:
        st.caption(f"The costs of this network are measured when {waits_for}.")
        return
    if not running and time.monotonic() - since > STILL_FOR_S:
        _begin(request)
    progress = requests.progress(request) if running else None
    text = "Measuring what each layer costs on this machine" + (f": {progress.text}" if progress else "")
    st.progress(progress.fraction if progress else 0.0, text=plain(text))


def _waits_for(request: CalibrationRequest) -> str:
    """Return what a measurement that begins by itself has to wait for; "" if it may begin."""
    try:
        with races.open_store(home.store_path()) as store:
            if requests.in_the_way(request.device, races.devices_in_use(store)):
                return "the race has ended"
    except MultirateError:
        return "the store of races can be read"
    return "those of another one are" if another_is_measured(request) else ""


def _will_pass(answer: Calibration | CalibrationError | None) -> bool:
    return isinstance(answer, CalibrationError) and answer.will_pass


NOTHING_PULLS = "No single layer sends gradients far back."
EVERYTHING_FAST = "Nothing is slow: gradients cross every layer at every step."


def _pull_back(found: PullBack | None, partition: Partition, tree: LayerTree) -> None:
    """Warn of the layer that sends gradients far back, with a button that moves it.

    The place is kept where there is nothing to warn of: the board below must not jump while somebody drags.
    """
    with st.container(key="pull-back-place", horizontal=True, vertical_alignment="center"):
        if found is None:
            everything = all(group.period == 1 for group in partition.groups)
            st.caption(EVERYTHING_FAST if everything else NOTHING_PULLS)
            return
        st.markdown(f":material/keyboard_double_arrow_up: {plain(pull_back_text(found))}")
        label = plain(f"Move {found.module} to {found.group}")
        st.button(label, key="pull-back", on_click=_move, args=(found, partition, tree))


def _move(found: PullBack, partition: Partition, tree: LayerTree) -> None:
    moved = {**partition.assignment, **dict.fromkeys(found.parameters, found.group)}
    put(Partition(partition.groups, moved), tree)
