"""Measure a network on its device: rounds of instrumented passes and of whole steps in turns, then what they tell.

Everything is measured in every round, so that a slow moment of the machine falls on all parts alike, and medians over
the rounds are kept. Whole steps come from the training loop of a race itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from multirate_core.arms import ArmOptimizer
from multirate_core.cost.alone import alone_shares
from multirate_core.cost.assemble import Rounds, assemble
from multirate_core.cost.calibration import Calibration, Peaks
from multirate_core.cost.clocks import Clock
from multirate_core.cost.fit import Measured, sources
from multirate_core.cost.passes import TracedPass, bare_forward_seconds, pass_seconds, trace
from multirate_core.cost.peaks import peak_bytes
from multirate_core.cost.subject import Subject
from multirate_core.cost.updates import FAST, measure_updates, multirate_arm, plain_arm
from multirate_core.errors import ConfigError
from multirate_core.lean import make_lean
from multirate_core.optim import MultirateOptimizer
from multirate_core.optim.weight_decay import base_name
from multirate_core.training.lane import train_step
from multirate_core.training.timers import slice_timer

ROUNDS_S = 9.0  # of measuring, about; at least LEAST rounds and at most MOST
LEAST_ROUNDS, MOST_ROUNDS = 3, 60
FAR = "first layers"  # a group
SLOW_ROUND_S = 8.0  # of a network whose rounds take longer, one has to do

Say = Callable[[str, float], None]  # what is done now, and the share that is over


def measure(subject: Subject, clock: Clock, few: Sequence[str], say: Say, go_on: Callable[[], None]) -> Calibration:
    """Return the calibration of a network, without facts.

    Args:
        subject: what is measured; its weights move by less than rounding.
        clock: of its device.
        few: first names of the parameters of a step with few gradients, the head's.
        say: told what is done and which share is over.
        go_on: called between measurements; it raises where something else needs the device.
    """
    begun = time.perf_counter()
    say("tracing the network", 0.0)
    traced = trace(subject)
    few = _taking_part(few, subject, traced)
    steps = _Steps(subject, few, sources(traced.graph))
    rounds = _all_rounds(subject, clock, traced, steps, say, go_on)
    say("measuring single operations", 0.75)
    go_on()
    shares = alone_shares(subject, clock, traced)
    say("measuring the optimisers", 0.85)
    go_on()
    steps.release()
    updates = measure_updates(subject, clock)
    say("counting memory", 0.92)
    go_on()
    peaks = _peaks(subject, steps)
    steps.release()
    measured = Measured(
        graph=traced.graph,
        full_s=_medians(rounds.full),
        through_s=_medians(rounds.through),
        alone=shares,
        kept_s=_medians_by_name(rounds.kept),
        bare_s=_medians_by_name(rounds.bare),
        saved_bytes=traced.saved_bytes,
    )
    made = assemble(subject, measured, rounds, updates, few, (*few, *steps.far))
    return replace(made, peaks=peaks, took_s=time.perf_counter() - begun)


def _taking_part(few: Sequence[str], subject: Subject, traced: TracedPass) -> list[str]:
    """Return those parameters that get a gradient; the last one that does, if there is none among them."""
    used = {name for operation in traced.graph.operations for name in operation.parameters}
    return [name for name in few if name in used] or [name for name in subject.trainable if name in used][-1:]


def _all_rounds(
    subject: Subject, clock: Clock, traced: TracedPass, steps: _Steps, say: Say, go_on: Callable[[], None]
) -> Rounds:
    rounds, begun, longest = Rounds(), time.perf_counter(), 0.0
    through = sources(traced.graph)
    for number in range(MOST_ROUNDS + 1):
        go_on()
        round_begun = time.perf_counter()
        if number == 1:  # the first round only warms up: memory is fetched from the system, kernels are chosen
            rounds, begun, longest = Rounds(), round_begun, 0.0
        rounds.sgd.append(steps.sgd_s())
        _, full = pass_seconds(subject, clock, traced)
        rounds.full.append(full)
        steps.few_s()  # such steps come in rows, where they find warm what the one before left: the second one counts
        rounds.few.append(steps.few_s())
        if steps.far:
            rounds.far.append(steps.far_s())
        kept, passed = pass_seconds(subject, clock, traced, through or None)
        rounds.through.append(passed)
        rounds.kept.append(kept)
        rounds.bare.append(bare_forward_seconds(subject, clock))
        longest = max(longest, time.perf_counter() - round_begun)
        spent = time.perf_counter() - begun
        least = LEAST_ROUNDS if longest < SLOW_ROUND_S else 1
        if number == MOST_ROUNDS or (number >= least and spent + longest > ROUNDS_S):
            break
        share = max(min(1.0, spent / ROUNDS_S), number / MOST_ROUNDS) if number else 0.0
        say(f"measuring, round {number + 1}", 0.05 + 0.7 * share)
    return rounds


class _Steps:
    """Whole training steps of the plain optimiser, and of multirate with some parameters due, on the same network.

    Args:
        subject: what is measured.
        few: parameters that are due at every multirate step, those of the head.
        first: those that `far_s` adds, the ones furthest back.
    """

    def __init__(self, subject: Subject, few: Sequence[str], first: Sequence[str]) -> None:
        self._subject = subject
        self.far = [name for name in first if name not in few]
        self._sgd = plain_arm(subject)
        groups = {name: FAR if name in self.far else "slow" for name in subject.trainable}
        self._few = multirate_arm(subject, groups | dict.fromkeys(few, FAST))
        self.full(lean=False)  # every group gets a gradient once, so that it drifts from now on

    @property
    def plain(self) -> torch.optim.Optimizer:
        """The plain optimiser."""
        return self._sgd.optimizer

    @property
    def multirate(self) -> MultirateOptimizer:
        """The multirate optimiser."""
        assert isinstance(self._few.optimizer, MultirateOptimizer)
        return self._few.optimizer

    def sgd_s(self) -> float:
        """Return the seconds of one step of the plain optimiser."""
        self.release()
        return self._timed(self._sgd)

    def few_s(self) -> float:
        """Return the seconds of one multirate step in which few parameters are due."""
        self.multirate.zero_grad()  # sets which parameters need a gradient
        return self._timed(self._few)

    def far_s(self) -> float:
        """Return the seconds of one in which the first layers are due too, so that gradients are passed on to them."""
        self._make_due(lambda group: base_name(group["name"]) == FAR)
        return self.few_s()

    def full(self, lean: bool) -> None:
        """Take a multirate step in which every parameter is due; ConfigError if lean memory does not fit."""
        self._make_due(lambda _: True)
        self.multirate.zero_grad()
        handle = make_lean(self._subject.model, self.multirate) if lean else None
        try:
            self._take(self._few)
        finally:
            if handle is not None:
                handle.remove()
            self._clear()

    def sgd(self) -> None:
        """Take a step of the plain optimiser."""
        self.release()
        self._take(self._sgd)
        self._clear()

    def release(self) -> None:
        """Let every parameter need a gradient again."""
        self.multirate.release()

    def _make_due(self, chosen: Callable[[dict[str, Any]], bool]) -> None:
        """Let these groups get a gradient in the next step, whatever their period; they go on drifting after it."""
        for group in filter(chosen, self.multirate.param_groups):
            group["steps_since_refresh"] = None

    def _timed(self, arm: ArmOptimizer) -> float:
        timer = slice_timer(self._subject.device)
        timer.begin()
        timer.start()
        self._take(arm)
        timer.stop()
        seconds = timer.finish().step_s[0]
        self._clear()
        return seconds

    def _take(self, arm: ArmOptimizer) -> None:
        train_step(self._subject.forward, arm, self._subject.inputs, self._subject.labels)

    def _clear(self) -> None:
        for weight in self._subject.trainable.values():
            weight.grad = None


def _peaks(subject: Subject, steps: _Steps) -> Peaks | None:
    """Return the peaks of whole steps, weights and the state of the step's own optimiser included."""
    sgd = _peak(subject, steps.plain, steps.sgd)
    multirate = _peak(subject, steps.multirate, lambda: steps.full(lean=False))
    if sgd is None or multirate is None:
        return None
    try:
        lean = _peak(subject, steps.multirate, lambda: steps.full(lean=True))
    except ConfigError:  # no blocks
        lean = None
    return Peaks(sgd, multirate, lean)


def _peak(subject: Subject, optimizer: torch.optim.Optimizer, step: Callable[[], None]) -> int | None:
    """Return the most bytes during a step of an optimiser; the other one's state is left out."""
    lasting = sum(tensor.nbytes for tensor in (*subject.model.parameters(), *subject.model.buffers()))
    states = [value for state in optimizer.state.values() for value in state.values()]
    lasting += sum(value.nbytes for value in states if isinstance(value, torch.Tensor))
    beyond = peak_bytes(subject.device, step)
    return None if beyond is None else lasting + beyond


def _medians(rows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def _medians_by_name(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in rows[0]}
