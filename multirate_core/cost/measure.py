"""Measure a network on its device: rounds of instrumented passes and of whole steps in turns, then what they tell.

Everything is measured in every round, so that a slow moment of the machine falls on all parts alike, and medians over
the rounds are kept. Whole steps come from the training loop of a race itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from multirate_core.arms import ArmOptimizer
from multirate_core.cost.alone import alone_shares
from multirate_core.cost.calibration import Calibration, Peaks, Updates
from multirate_core.cost.clocks import Clock
from multirate_core.cost.fit import Measured, correction, module_costs, operation_costs, sources
from multirate_core.cost.operations import BackwardCosts
from multirate_core.cost.passes import LOSS, TracedPass, bare_forward_seconds, pass_seconds, trace
from multirate_core.cost.peaks import peak_bytes
from multirate_core.cost.subject import Subject
from multirate_core.cost.updates import measure_updates, multirate_arm, plain_arm
from multirate_core.errors import ConfigError
from multirate_core.lean import make_lean
from multirate_core.lean.blocks import Block, find_blocks
from multirate_core.optim import MultirateOptimizer
from multirate_core.training.lane import train_step
from multirate_core.training.timers import slice_timer

ROUNDS_S = 9.0  # of measuring, about; at least LEAST rounds and at most MOST
LEAST_ROUNDS, MOST_ROUNDS = 3, 60
SLOW_ROUND_S = 8.0  # of a network whose rounds take longer, one has to do
LEAST_PASS = 0.1  # of a step: its update was measured by itself, and takes no more than the rest

Say = Callable[[str, float], None]  # what is done now, and the share that is over


@dataclass
class _Rounds:
    """What was measured in every round so far."""

    full: list[list[float]] = field(default_factory=list)
    through: list[list[float]] = field(default_factory=list)
    kept: list[dict[str, float]] = field(default_factory=list)
    bare: list[dict[str, float]] = field(default_factory=list)
    sgd: list[float] = field(default_factory=list)
    few: list[float] = field(default_factory=list)


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
    steps = _Steps(subject, few)
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
    made = _calibration(subject, measured, rounds, updates, few)
    return replace(made, peaks=peaks, took_s=time.perf_counter() - begun)


def _taking_part(few: Sequence[str], subject: Subject, traced: TracedPass) -> list[str]:
    """Return those parameters that get a gradient; the last one that does, if there is none among them."""
    used = {name for operation in traced.graph.operations for name in operation.parameters}
    return [name for name in few if name in used] or [name for name in subject.trainable if name in used][-1:]


def _all_rounds(
    subject: Subject, clock: Clock, traced: TracedPass, steps: _Steps, say: Say, go_on: Callable[[], None]
) -> _Rounds:
    rounds, begun, longest = _Rounds(), time.perf_counter(), 0.0
    through = sources(traced.graph)
    for number in range(MOST_ROUNDS + 1):
        go_on()
        round_begun = time.perf_counter()
        if number == 1:  # the first round only warms up: memory is fetched from the system, kernels are chosen
            rounds, begun, longest = _Rounds(), round_begun, 0.0
        rounds.sgd.append(steps.sgd_s())
        _, full = pass_seconds(subject, clock, traced)
        rounds.full.append(full)
        rounds.few.append(steps.few_s())
        kept, passed = pass_seconds(subject, clock, traced, through or None)
        rounds.through.append(passed)
        rounds.kept.append(kept)
        rounds.bare.append(bare_forward_seconds(subject, clock))
        longest = max(longest, time.perf_counter() - round_begun)
        spent = time.perf_counter() - begun
        least = LEAST_ROUNDS if longest < SLOW_ROUND_S else 1
        if number >= least and spent + longest > ROUNDS_S:
            break
        say(f"measuring, round {number + 1}", 0.05 + 0.7 * min(1.0, spent / ROUNDS_S if number else 0.0))
    return rounds


class _Steps:
    """Whole training steps of the plain optimiser, and of multirate with few parameters due, on the same network."""

    def __init__(self, subject: Subject, few: Sequence[str]) -> None:
        self._subject = subject
        self._sgd = plain_arm(subject)
        self._few = multirate_arm(subject, {name: name in few for name in subject.trainable})
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

    def full(self, lean: bool) -> None:
        """Take a multirate step in which every parameter is due; ConfigError if lean memory does not fit."""
        for group in self.multirate.param_groups:
            group["steps_since_refresh"] = None
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


def _calibration(
    subject: Subject, measured: Measured, rounds: _Rounds, updates: Updates, few: Sequence[str]
) -> Calibration:
    """Return the costs, set right by the whole steps."""
    names = tuple(subject.trainable)
    numbers = tuple(weight.numel() for weight in subject.trainable.values())
    operations = operation_costs(measured, names)
    passes = subject.passes
    sgd = statistics.median(rounds.sgd)
    ratios = [few_s / sgd_s for few_s, sgd_s in zip(rounds.few, rounds.sgd, strict=True)]
    bare = passes * sum(measured.bare_s.values())
    least = passes * sum(min(seconds, measured.kept_s.get(path, 0.0)) for path, seconds in measured.bare_s.items())
    everything = set(range(len(names)))
    chosen = {place for place, name in enumerate(names) if name in few}
    backward = BackwardCosts(operations)
    parts = tuple(passes * backward.seconds(due) for due in (everything, chosen))
    sizes = [[count for place, count in enumerate(numbers) if (place in chosen) is due] for due in (True, False)]
    updates_s = updates.plain_s(numbers), updates.multirate_s(*sizes)
    wholes = sgd, sgd * statistics.median(ratios)
    steps = tuple(max(whole - update, LEAST_PASS * whole) for whole, update in zip(wholes, updates_s, strict=True))
    offset, slope = correction((bare + parts[0], bare + parts[1]), (steps[0], steps[1]), least)
    blocks = find_blocks(subject.model)[:-1]
    return Calibration(
        facts={},
        parameters=names,
        numbers=numbers,
        operations=operations,
        modules=module_costs(measured),
        base_s=offset + slope * bare,
        slope=slope * passes,
        updates=updates,
        sgd_step_s=sgd,
        recompute_s=slope * passes * _seconds_inside(subject.model, blocks, measured.kept_s),
        transfer_s=0.0,
        spread=_half_width(ratios),
        peaks=None,
        took_s=0.0,
        rounds=len(rounds.sgd),
    )


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


def _seconds_inside(model: nn.Module, blocks: Sequence[Block], seconds: Mapping[str, float]) -> float:
    """Return the forward seconds of everything inside these blocks."""
    inside = []
    for block in blocks:
        members = [name for name, _ in model.get_submodule(block.path).named_children()][block.start : block.stop]
        inside += [f"{block.path}.{name}" if block.path else name for name in members] if block.stop else [block.path]
    return sum(
        own
        for path, own in seconds.items()
        if path != LOSS and any(path == each or path.startswith(f"{each}.") for each in inside)
    )


def _medians(rows: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def _medians_by_name(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in rows[0]}


def _half_width(values: Sequence[float]) -> float:
    """Return half the distance of the quartiles over the median."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle
