"""Multirate optimisers for any training loop: `MultirateSGD`, `MultirateAdamW`, and schedules for periods and lr."""

from multirate_core.optim.adamw import MultirateAdamW, adamw_direction
from multirate_core.optim.multirate import MultirateOptimizer
from multirate_core.optim.periods import PeriodSchedule, phases_in_steps
from multirate_core.optim.rates import lr_factor
from multirate_core.optim.sgd import MultirateSGD, sgd_direction
from multirate_core.optim.weight_decay import base_name, norms_apart

__all__ = [
    "MultirateAdamW",
    "MultirateOptimizer",
    "MultirateSGD",
    "PeriodSchedule",
    "adamw_direction",
    "base_name",
    "lr_factor",
    "norms_apart",
    "phases_in_steps",
    "sgd_direction",
]
