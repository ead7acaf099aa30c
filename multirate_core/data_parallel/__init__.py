"""Multirate training on several devices: `MultirateDataParallel` sends the gradients of the groups that are due."""

from multirate_core.data_parallel.wrapper import MultirateDataParallel

__all__ = ["MultirateDataParallel"]
