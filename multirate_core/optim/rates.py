"""Learning-rate schedules as functions of progress: arms whose steps cost differently can follow the same one."""

from __future__ import annotations

import math
from typing import get_args

from multirate_core.checks import require_choice, require_number
from multirate_core.recipe import Schedule

WARM_UP_START = 0.01  # where a warm-up begins; at 0 the first step would do nothing
ONE_CYCLE_RISE = 0.3  # the usual share of a one-cycle run in which lr rises; these three are torch's OneCycleLR's
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def lr_factor(progress: float, schedule: Schedule, warmup: float = 0.0) -> float:
    """Return what the learning rate is at a point of a run, as a share of its largest value.

    With `LambdaLR` it is a scheduler: ``LambdaLR(optimizer, lambda step: lr_factor(step / steps, "cosine"))``. Only lr
    follows it, momentum stays as it is; a slow group has at each of its moves the rate of that moment.

    Args:
        progress: share of the run that is over, from 0; beyond 1 it counts as 1.
        schedule: what follows the warm-up: "constant"; "cosine", half a wave down to 0; "linear", straight down to 0;
            "one_cycle", up from 1/25 and down to 1/250,000, each along half a wave.
        warmup: share of the run in which lr rises in a straight line from a hundredth, 0 <= warmup < 1. "one_cycle" has
            its own rise, and this is how long it takes: 0 stands for its usual 0.3.

    Raises:
        ConfigError: the schedule is unknown, or warmup out of range.

    Source: cosine: Loshchilov & Hutter, ICLR 2017 (arXiv 1608.03983), eq. 5 without restarts; one cycle: Smith & Topin
    2018 (arXiv 1708.07120), in the form of torch.optim.lr_scheduler.OneCycleLR.
    """
    require_choice("schedule", schedule, get_args(Schedule))
    require_number("warmup", warmup, least=0.0, below=1.0)
    progress = min(progress, 1.0)
    if schedule == "one_cycle":
        return _one_cycle(progress, warmup or ONE_CYCLE_RISE)
    if progress < warmup:
        return WARM_UP_START + (1.0 - WARM_UP_START) * progress / warmup
    after = (progress - warmup) / (1.0 - warmup)  # share of the rest of the run
    if schedule == "cosine":
        return _half_wave(1.0, 0.0, after)
    return 1.0 - after if schedule == "linear" else 1.0


def _one_cycle(progress: float, rise: float) -> float:
    if progress < rise:
        return _half_wave(ONE_CYCLE_START, 1.0, progress / rise)
    return _half_wave(1.0, ONE_CYCLE_END, (progress - rise) / (1.0 - rise))


def _half_wave(first: float, last: float, share: float) -> float:
    """Return a value on the way from first to last, slow at both ends."""
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2.0
