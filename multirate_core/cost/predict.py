"""What a partition will cost, from a calibration: pure arithmetic on the gradient graph. No torch.

A step's seconds are those of its forward pass and loss, of every operation whose backward pass runs, and of the
optimiser. Which operations run, and whether they compute the gradients of their inputs, of their parameters or both,
follows from the parameters that are due (docs/method.md, with real times in place of F, B_F and B_S).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from multirate_core.cost.calibration import Calibration

NUMBER_BYTES = 4  # of a gradient
MOST_PERIODS = 6  # so many different ones are combined exactly
STEPS_TO_COUNT = 5_000  # with more, so many steps are looked at


@dataclass(frozen=True)
class Partitioned:
    """A partition as the prediction sees it.

    Args:
        periods: of the groups, by name.
        assignment: first name of every trainable parameter -> its group.
        drift: whether slow groups move between their gradients.
    """

    periods: Mapping[str, int]
    assignment: Mapping[str, str]
    drift: bool = True

    def due(self, groups: Collection[str]) -> list[str]:
        """Return the parameters of these groups."""
        return [name for name, group in self.assignment.items() if group in groups]

    @property
    def fast_groups(self) -> frozenset[str]:
        """The groups that are due at every step."""
        return frozenset(name for name, period in self.periods.items() if period == 1)


@dataclass(frozen=True)
class Run:
    """The steps that a prediction is the mean of.

    Args:
        steps: how many; None for a run without end.
        filled: mean share of the batch that is there: the last one of an epoch may be smaller.
    """

    steps: int | None = None
    filled: float = 1.0


@dataclass(frozen=True)
class Prediction:
    """Seconds are of training: no loading, no tests.

    Args:
        full_step_s: of a multirate step in which every group is due.
        fast_step_s: of one in which only the groups of period 1 are.
        frozen_step_s: of a step in which only those train and the others rest for good.
        mean_step_s: over all steps of multirate.
        sgd_step_s: of the plain optimiser.
        ratio: mean_step_s / sgd_step_s, about 1 / speed-up.
        uncertainty: of the ratio, absolute: about half of the repetitions lie inside, see docs/cost.md.
        ratio_limit: of the ratio, as every period above 1 grows.
        sgd_peak_bytes, multirate_peak_bytes: of tensors in the step that needs the most; None if unknown.
        lean_peak_bytes: of multirate with lean memory; None if unknown or impossible.
        sgd_allreduce_bytes, multirate_allreduce_bytes: gradients that are exchanged per step, on the average.
    """

    full_step_s: float
    fast_step_s: float
    frozen_step_s: float
    mean_step_s: float
    sgd_step_s: float
    ratio: float
    uncertainty: float
    ratio_limit: float
    sgd_peak_bytes: int | None
    multirate_peak_bytes: int | None
    lean_peak_bytes: int | None
    sgd_allreduce_bytes: float
    multirate_allreduce_bytes: float


def predict(calibration: Calibration, partition: Partitioned, lean: bool = False, run: Run | None = None) -> Prediction:
    """Predict what a partition costs.

    Args:
        calibration: of the network on the device.
        partition: any groups and periods.
        lean: steps with slow gradients compute their activations again.
        run: whose steps are averaged; None for one without end, of whole batches.
    """
    run = run or Run()
    fast, everything = partition.fast_groups, frozenset(partition.periods)
    seconds = {due: step_s(calibration, partition, due, lean, run.filled) for due in {fast, everything}}
    shares = due_shares(partition.periods, run.steps)
    for due in shares.keys() - seconds.keys():
        seconds[due] = step_s(calibration, partition, due, lean, run.filled)
    mean = sum(share * seconds[due] for due, share in shares.items())
    sgd = _sgd_step_s(calibration, run.filled)
    numbers = dict(zip(calibration.parameters, calibration.numbers, strict=True))
    exchanged = sum(numbers[name] / partition.periods[group] for name, group in partition.assignment.items())
    peaks = calibration.peaks
    return Prediction(
        full_step_s=seconds[everything],
        fast_step_s=seconds[fast],
        frozen_step_s=_frozen_step_s(calibration, partition, run.filled),
        mean_step_s=mean,
        sgd_step_s=sgd,
        ratio=mean / sgd,
        uncertainty=calibration.spread * mean / sgd,
        ratio_limit=seconds[fast] / sgd,
        sgd_peak_bytes=None if peaks is None else peaks.sgd,
        multirate_peak_bytes=None if peaks is None else peaks.multirate,
        lean_peak_bytes=None if peaks is None else peaks.lean,
        sgd_allreduce_bytes=NUMBER_BYTES * sum(numbers.values()),
        multirate_allreduce_bytes=NUMBER_BYTES * exchanged,
    )


def step_s(
    calibration: Calibration, partition: Partitioned, due: Collection[str], lean: bool = False, filled: float = 1.0
) -> float:
    """Return the seconds of a multirate step in which these groups are due; `filled` as in `Run`."""
    names, slow = partition.due(due), partition.due(partition.periods.keys() - partition.fast_groups)
    # Lean memory computes again where slow gradients are due; where nothing is slow, every step is a full one.
    again = calibration.recompute_s if lean and (not slow or not set(slow).isdisjoint(names)) else 0.0
    fresh, others = numbers_of(calibration, names)
    update = calibration.updates.multirate_s(fresh, others if partition.drift else ())
    return filled * (pass_s(calibration, names) + again) + update


def _frozen_step_s(calibration: Calibration, partition: Partitioned, filled: float) -> float:
    """Return the seconds of a step of torch's own optimiser on the fast groups."""
    names = partition.due(partition.fast_groups)
    update = calibration.updates.plain_s(numbers_of(calibration, names)[0])
    return filled * pass_s(calibration, names) + update


def _sgd_step_s(calibration: Calibration, filled: float) -> float:
    """Return the measured seconds of a plain step, for a batch that is filled so far."""
    update = calibration.updates.plain_s(calibration.numbers)
    return filled * (calibration.sgd_step_s - update) + update


def numbers_of(calibration: Calibration, names: Collection[str]) -> tuple[list[int], list[int]]:
    """Return how many numbers each of these parameters has, and each of the others."""
    chosen = set(names)
    due: list[int] = []
    others: list[int] = []
    for name, count in zip(calibration.parameters, calibration.numbers, strict=True):
        (due if name in chosen else others).append(count)
    return due, others


def pass_s(calibration: Calibration, due: Collection[str]) -> float:
    """Return the seconds of forward pass, loss and backward pass of a step in which these parameters are due."""
    places = calibration.places
    due_places = [places[name] for name in due if name in places]
    return calibration.base_s + calibration.backward.seconds(due_places)


def due_shares(periods: Mapping[str, int], steps: int | None = None) -> dict[frozenset[str], float]:
    """Return which groups are due together, and in which share of the steps: group g at every k_g-th one.

    Args:
        periods: of the groups, by name.
        steps: of a run, at whose first step everything is due; None for one without end.
    """
    lengths = sorted(set(periods.values()))
    at = {length: frozenset(name for name, period in periods.items() if period == length) for length in lengths}
    if steps is not None and steps <= STEPS_TO_COUNT:
        shares = _counted(lengths, range(steps))
    elif len(lengths) <= MOST_PERIODS:
        shares = _exact(lengths)
    else:
        shares = _counted(lengths, range(1, STEPS_TO_COUNT + 1))
    return {frozenset().union(*(at[length] for length in due)): share for due, share in shares.items()}


def _exact(lengths: Sequence[int]) -> dict[tuple[int, ...], float]:
    """Return the share of the steps for every choice of periods, by inclusion and exclusion.

    Steps that are multiples of every period of a choice make up 1/lcm of all; those that are multiples of further
    periods too are taken off again.
    """
    choices = [choice for size in range(len(lengths) + 1) for choice in combinations(lengths, size)]
    shares = {}
    for choice in choices:
        others = [length for length in lengths if length not in choice]
        shares[choice] = sum(
            (-1) ** len(more) / math.lcm(*choice, *more)
            for size in range(len(others) + 1)
            for more in combinations(others, size)
        )
    return {choice: share for choice, share in shares.items() if share > 1e-12}


def _counted(lengths: Sequence[int], steps: range) -> dict[tuple[int, ...], float]:
    """Return the same by looking at steps."""
    counts: dict[tuple[int, ...], int] = {}
    for step in steps:
        due = tuple(length for length in lengths if step % length == 0)
        counts[due] = counts.get(due, 0) + 1
    return {due: count / len(steps) for due, count in counts.items()}


def speed_up_curve(
    calibration: Calibration, partition: Partitioned, ks: Sequence[int], lean: bool = False
) -> Iterator[tuple[int, float]]:
    """Yield (k, T_SGD / T_MR) with k in place of every period above 1."""
    full = step_s(calibration, partition, frozenset(partition.periods), lean)
    quick = step_s(calibration, partition, partition.fast_groups, lean)
    for k in ks:
        yield k, calibration.sgd_step_s / (quick + (full - quick) / k)
