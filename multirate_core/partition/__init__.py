"""Which parameter is in which group, and how that is written down: patterns, presets, files and links."""

from multirate_core.partition.partition import Partition, param_groups, resolve, to_spec
from multirate_core.partition.presets import PRESETS, preset

__all__ = ["PRESETS", "Partition", "param_groups", "preset", "resolve", "to_spec"]
