"""A comparison: several arms times several seeds on one device, interleaved by equal training time."""

from multirate_core.race.engine import overall_outcome, run
from multirate_core.race.lanes import race_lanes
from multirate_core.race.seed import Control
from multirate_core.race.start import RaceParts

__all__ = ["Control", "RaceParts", "overall_outcome", "race_lanes", "run"]
