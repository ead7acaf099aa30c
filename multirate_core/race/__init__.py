"""A comparison: several arms times several seeds on one device, interleaved by equal training time."""

from multirate_core.race.engine import run
from multirate_core.race.lanes import race_lanes
from multirate_core.race.seed import Control
from multirate_core.race.start import RaceParts

__all__ = ["Control", "RaceParts", "race_lanes", "run"]
