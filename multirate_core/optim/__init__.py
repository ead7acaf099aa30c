"""Multirate optimisers for any training loop: `MultirateSGD`, `MultirateAdamW`, and a schedule for their periods."""

from multirate_core.optim.adamw import MultirateAdamW, adamw_direction
from multirate_core.optim.multirate import MultirateOptimizer
from multirate_core.optim.periods import PeriodSchedule, phases_in_steps
from multirate_core.optim.sgd import MultirateSGD, sgd_direction

__all__ = [
    "MultirateAdamW",
    "MultirateOptimizer",
    "MultirateSGD",
    "PeriodSchedule",
    "adamw_direction",
    "phases_in_steps",
    "sgd_direction",
]
