"""What was measured about one network on one device, as frozen dataclasses with a JSON form. No torch.

Seconds of a step are put together from the operations of the gradient graph (`layers.gradient_graph`), see
`predict.py`; docs/cost.md explains the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from multirate_core.cost.operations import BackwardCosts, OperationCost, UnitCost
from multirate_core.errors import ConfigError

CALIBRATION_FORMAT = "multirate-calibration"
CALIBRATION_VERSION = 4


@dataclass(frozen=True)
class ModuleCost:
    """The own code of one module, without the modules that it calls, in a step in which every parameter is due.

    Args:
        forward_s: seconds of the forward pass.
        input_s: seconds of the gradients that are passed on.
        weight_s: seconds of the gradients of its parameters beside that.
        saved_bytes: what autograd keeps of it for the backward pass, parameters aside.
    """

    forward_s: float
    input_s: float
    weight_s: float
    saved_bytes: int


@dataclass(frozen=True)
class UpdateCost:
    """Seconds of `step()` and the `zero_grad()` before it: per tensor, and per number in the tensors."""

    tensor_s: float
    number_s: float

    def seconds(self, tensors: int, numbers: int) -> float:
        """Return the seconds for so many tensors with so many numbers in all; 0 for none."""
        return self.tensor_s * tensors + self.number_s * numbers


@dataclass(frozen=True)
class Updates:
    """What the optimiser does, for the recipe of the calibration.

    Args:
        plain: torch's own optimiser, on parameters with a gradient.
        fresh: the multirate optimiser, on parameters with a new gradient.
        drift: the same, on parameters that move along what they hold.
    """

    plain: UpdateCost
    fresh: UpdateCost
    drift: UpdateCost

    def plain_s(self, numbers: Sequence[int]) -> float:
        """Return the seconds of the plain optimiser on tensors of so many numbers."""
        return self.plain.seconds(len(numbers), sum(numbers))

    def multirate_s(self, due: Sequence[int], resting: Sequence[int]) -> float:
        """Return the seconds of the multirate optimiser: on tensors that are due, and on those that drift meanwhile."""
        return self.fresh.seconds(len(due), sum(due)) + self.drift.seconds(len(resting), sum(resting))


@dataclass(frozen=True)
class Peaks:
    """Most bytes in tensors during a training step with every parameter due, weights and optimiser state included.

    Args:
        sgd: of the plain optimiser.
        multirate: of multirate with everything but the head slow, directions that are held beside the state included.
        lean: the same with lean memory; None where the network has no blocks.
    """

    sgd: int
    multirate: int
    lean: int | None


@dataclass(frozen=True)
class Calibration:
    """Everything that predictions need.

    Args:
        facts: what it depends on, in words: device, threads, batch size, versions.
        parameters: first names of the trainable ones, in order.
        numbers: how many numbers each has.
        operations: in the order of the gradient graph; their seconds, like those below, are of a whole step, corrected.
        modules: by path, in the order in which their code first ran.
        base_s: seconds of forward pass and loss where nothing needs a gradient.
        updates: of the optimisers.
        sgd_step_s: median seconds of a step of the plain optimiser.
        recompute_s: seconds that lean memory's second forward pass adds to a step with slow gradients.
        transfer_s: seconds to bring a batch to the device; no part of a step.
        spread: relative half-width within which half of the rounds' ratios lay.
        peaks: None where they could not be measured.
        took_s: seconds of the whole measurement.
        rounds: how often everything was measured.
    """

    facts: Mapping[str, str]
    parameters: tuple[str, ...]
    numbers: tuple[int, ...]
    operations: tuple[OperationCost, ...]
    modules: Mapping[str, ModuleCost]
    base_s: float
    updates: Updates
    sgd_step_s: float
    recompute_s: float
    transfer_s: float
    spread: float
    peaks: Peaks | None
    took_s: float
    rounds: int
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def backward(self) -> BackwardCosts:
        """The operations, ready to be asked."""
        return BackwardCosts(self.operations)

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of every parameter by its name."""
        return {name: place for place, name in enumerate(self.parameters)}


def to_json(calibration: Calibration) -> str:
    """Return the calibration as one line of JSON."""
    document = {"format": CALIBRATION_FORMAT, "version": CALIBRATION_VERSION, **asdict(calibration)}
    return json.dumps(document, separators=(",", ":"), default=dict)


def from_json(text: str) -> Calibration:
    """Read what `to_json` wrote; ConfigError if it is damaged, or of another version."""
    try:
        raw = json.loads(text, parse_constant=_refuse)
        if (raw.pop("format"), raw.pop("version")) != (CALIBRATION_FORMAT, CALIBRATION_VERSION):
            raise ConfigError(f"this is no calibration of version {CALIBRATION_VERSION}. Measure again.")
        count = len(raw["parameters"])
        if len(raw["numbers"]) != count:
            raise ValueError(f"{count} parameters with {len(raw['numbers'])} sizes")
        raw["operations"] = tuple(_operation(each, place, count) for place, each in enumerate(raw["operations"]))
        raw["modules"] = {path: ModuleCost(**each) for path, each in raw["modules"].items()}
        raw["updates"] = Updates(**{name: UpdateCost(**each) for name, each in raw["updates"].items()})
        raw["peaks"] = None if raw["peaks"] is None else Peaks(**raw["peaks"])
        for name in ("parameters", "numbers", "notes"):
            raw[name] = tuple(raw[name])
        return Calibration(**raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"the calibration is damaged ({type(error).__name__}: {error}). Measure again.") from error


def _operation(raw: dict[str, Any], place: int, count: int) -> OperationCost:
    units = tuple(UnitCost(**unit) for unit in raw.pop("units"))
    inputs = tuple(raw.pop("inputs"))
    if not all(0 <= each < place for each in inputs) or not all(0 <= unit.unit < count for unit in units):
        raise ValueError(f"operation {place} names what is not there")
    return OperationCost(**raw, inputs=inputs, units=units)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no measurement")
