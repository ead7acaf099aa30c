"""From the rounds of a measurement to a calibration: medians of parts, set right by whole steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from multirate_core.cost.calibration import Calibration, Updates
from multirate_core.cost.fit import Measured, WholeStep, correction, module_costs, operation_costs, scaled
from multirate_core.cost.operations import BackwardCosts
from multirate_core.cost.passes import LOSS
from multirate_core.cost.subject import Subject
from multirate_core.lean.blocks import Block, find_blocks

LEAST_PASS = 0.1  # of a step: its update was measured by itself, and takes no more than the rest


@dataclass
class Rounds:
    """What was measured in every round so far.

    Args:
        full: seconds of the backward pass by operation, everything computed.
        through: the same with only what is passed on.
        kept: seconds of the forward pass by module, everything kept for the backward pass.
        bare: the same with nothing kept.
        sgd, few, far: seconds of whole steps: of the plain optimiser, and of multirate with few parameters due, and
            with those of the first layers too; none of the last kind where these are the same.
    """

    full: list[list[float]] = field(default_factory=list)
    through: list[list[float]] = field(default_factory=list)
    kept: list[dict[str, float]] = field(default_factory=list)
    bare: list[dict[str, float]] = field(default_factory=list)
    sgd: list[float] = field(default_factory=list)
    few: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)


def assemble(
    subject: Subject, measured: Measured, rounds: Rounds, updates: Updates, few: Sequence[str], far: Sequence[str]
) -> Calibration:
    """Return the costs, set right by the whole steps: with everything due, with `few` and with `far`."""
    names = tuple(subject.trainable)
    numbers = tuple(weight.numel() for weight in subject.trainable.values())
    operations = operation_costs(measured, names)
    sgd = statistics.median(rounds.sgd)
    ratios, far_ratios = (_ratios(each, rounds.sgd) for each in (rounds.few, rounds.far))
    bare = sum(measured.bare_s.values())
    whole = _WholeSteps(names, numbers, BackwardCosts(operations), bare, subject.passes, updates)
    full = whole.step(sgd, names, updates.plain_s(numbers))
    some = whole.step(sgd * statistics.median(ratios), few)
    further = whole.step(sgd * statistics.median(far_ratios), far) if far_ratios else None
    least = sum(min(seconds, measured.kept_s.get(path, 0.0)) for path, seconds in measured.bare_s.items())
    found = correction(full, some, further, subject.passes * least)
    passing, weights = subject.passes * found.passing, subject.passes * found.weights
    blocks = find_blocks(subject.model)[:-1]
    return Calibration(
        facts={},
        parameters=names,
        numbers=numbers,
        operations=scaled(operations, passing, weights),
        modules=module_costs(measured, passing, weights),
        base_s=found.offset_s + passing * bare,
        updates=updates,
        sgd_step_s=sgd,
        recompute_s=passing * _seconds_inside(subject.model, blocks, measured.kept_s),
        transfer_s=0.0,
        spread=_half_width(ratios),
        peaks=None,
        took_s=0.0,
        rounds=len(rounds.sgd),
    )


@dataclass(frozen=True)
class _WholeSteps:
    """What turns a measured step into one to set parts right by.

    Args:
        names: of the parameters.
        numbers: how many numbers each has.
        backward: the operations, as their parts were measured.
        bare_s: of a forward pass.
        passes: of a step.
        updates: of the optimisers.
    """

    names: Sequence[str]
    numbers: Sequence[int]
    backward: BackwardCosts
    bare_s: float
    passes: int
    updates: Updates

    def step(self, seconds: float, due: Sequence[str], update_s: float | None = None) -> WholeStep:
        """Return a step that took so long with these parameters due; the update is multirate's if it is not given."""
        chosen = set(due)
        sizes: tuple[list[int], list[int]] = ([], [])
        for name, count in zip(self.names, self.numbers, strict=True):
            sizes[name not in chosen].append(count)
        update_s = self.updates.multirate_s(*sizes) if update_s is None else update_s
        passing_s, weights_s = self.backward.split([at for at, name in enumerate(self.names) if name in chosen])
        return WholeStep(
            step_s=max(seconds - update_s, LEAST_PASS * seconds),
            passing_s=self.passes * (self.bare_s + passing_s),
            weights_s=self.passes * weights_s,
        )


def _ratios(steps: Sequence[float], sgd: Sequence[float]) -> list[float]:
    """Return the ratios of the steps of every round to the plain one's."""
    return [step / plain for step, plain in zip(steps, sgd, strict=False)]


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


def _half_width(values: Sequence[float]) -> float:
    """Return half the distance of the quartiles over the median."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle
