"""From the rounds of a measurement to a calibration: medians of parts, set right by whole steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from multirate_core.cost.calibration import Calibration, Updates
from multirate_core.cost.fit import Measured, WholeStep, correction, module_costs, operation_costs, scaled
from multirate_core.cost.passes import LOSS
from multirate_core.cost.predict import numbers_of
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
    passes, blocks = subject.passes, find_blocks(subject.model)[:-1]
    sgd = statistics.median(rounds.sgd)
    few_ratios, far_ratios = _ratios(rounds.few, rounds), _ratios(rounds.far, rounds)
    parts = Calibration(  # of one pass, as they were measured
        facts={},
        parameters=tuple(subject.trainable),
        numbers=tuple(weight.numel() for weight in subject.trainable.values()),
        operations=operation_costs(measured, tuple(subject.trainable)),
        modules={},
        base_s=sum(measured.bare_s.values()),
        updates=updates,
        sgd_step_s=sgd,
        recompute_s=_seconds_inside(subject.model, blocks, measured.kept_s),
        transfer_s=0.0,
        spread=_half_width(few_ratios),
        peaks=None,
        took_s=0.0,
        rounds=len(rounds.sgd),
    )

    def multirate(due: Sequence[str], ratios: Sequence[float]) -> WholeStep:
        update_s = updates.multirate_s(*numbers_of(parts, due))
        return _whole_step(parts, passes, due, sgd * statistics.median(ratios), update_s)

    plain = _whole_step(parts, passes, parts.parameters, sgd, updates.plain_s(parts.numbers))
    least = sum(min(seconds, measured.kept_s.get(path, 0.0)) for path, seconds in measured.bare_s.items())
    further = multirate(far, far_ratios) if far_ratios else None
    found = correction(plain, multirate(few, few_ratios), further, passes * least)
    passing, weights = passes * found.passing, passes * found.weights
    return replace(
        parts,
        operations=scaled(parts.operations, passing, weights),
        modules=module_costs(measured, passing, weights),
        base_s=found.offset_s + passing * parts.base_s,
        recompute_s=passing * parts.recompute_s,
    )


def _whole_step(parts: Calibration, passes: int, due: Sequence[str], seconds: float, update_s: float) -> WholeStep:
    """Return a step of so many passes that took so long, with these parameters due."""
    passing_s, weights_s = parts.backward.split([parts.places[name] for name in due])
    return WholeStep(
        step_s=max(seconds - update_s, LEAST_PASS * seconds),
        passing_s=passes * (parts.base_s + passing_s),
        weights_s=passes * weights_s,
    )


def _ratios(steps: Sequence[float], rounds: Rounds) -> list[float]:
    """Return the ratio of every round's step to its plain one; none where such steps were not taken."""
    return [step / plain for step, plain in zip(steps, rounds.sgd, strict=bool(steps))]


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
