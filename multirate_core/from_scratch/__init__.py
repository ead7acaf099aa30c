"""Training from scratch with two rates: random subgroups as regularisation, and two copies that are averaged.

Neither saves time: every step is a full forward and backward. Source: Vlaar & Leimkuhler, ICML 2022, their poster.
"""

from multirate_core.from_scratch.random_subgroups import RandomSubgroupsSGD
from multirate_core.from_scratch.two_copies import TwoCopiesSGD

__all__ = ["RandomSubgroupsSGD", "TwoCopiesSGD"]
