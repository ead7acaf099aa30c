"""Which calibration is wanted, and the kept ones: measured by a process of their own, so that no page loads torch.

`read` looks, `start` has one made by `python -m multirate_core.cost.calibrate`. The file's name is a digest of
everything that shapes the answer: another version, device, number of threads or batch size is another file.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from multirate_core import __version__, kept_answer
from multirate_core.config import DataConfig, Execution, RaceConfig, Recipe
from multirate_core.cost.calibration import CALIBRATION_VERSION, Calibration, from_json
from multirate_core.data.catalog import DataShape, modified_ns
from multirate_core.errors import ConfigError
from multirate_core.kept_answer import KeptAnswer, digest, version_of
from multirate_core.layers import describe
from multirate_core.machine import default_threads, usable_cores

FOLDER = "calibrations"
RACE_HOLDS = "a race holds"  # how a refusal begins that time will mend
MODULE = "multirate_core.cost.calibrate"


@dataclass(frozen=True)
class CalibrationRequest:
    """What is to be measured.

    Args:
        tree: names the network with its head and the shape of a sample.
        recipe: how a step is taken, as `step_of` leaves it.
        execution: precision and memory format; the others are those of a plain step.
        device: "cpu", "mps" or "cuda:N".
        threads: of the CPU.
        data: texts, whose lengths shape a batch; None for images.
        seed: draws the batch of texts.
    """

    tree: describe.TreeRequest
    recipe: Recipe
    execution: Execution
    device: str
    threads: int
    data: DataConfig | None = None
    seed: int = 0


@dataclass(frozen=True)
class CalibrationError:
    """Why there is no calibration; `start` tries again."""

    message: str

    @property
    def will_pass(self) -> bool:
        """Whether the same can be measured later: a race was in the way."""
        return self.message.startswith(RACE_HOLDS)


@dataclass(frozen=True)
class Progress:
    """What a measurement does now, and the share that is over."""

    text: str
    fraction: float


def request_of(config: RaceConfig, shape: DataShape, device: str) -> CalibrationRequest:
    """Return the calibration that fits a race.

    Args:
        config: of the race.
        shape: of its data.
        device: that it would get.

    Raises:
        ConfigError: its steps cannot be told apart into layers: they are compiled.
    """
    if config.execution.compile:
        raise ConfigError(
            "the meter measures layer by layer, and a compiled network has no layers left to measure. Turn compiling "
            "off to see what a partition costs, or race it."
        )
    texts = len(shape.input_shape) == 1
    model = config.model
    return CalibrationRequest(
        tree=describe.TreeRequest(model.name, shape.num_classes, shape.input_shape, model.source),
        recipe=step_of(config.recipe),
        execution=Execution(precision=config.execution.precision, channels_last=config.execution.channels_last),
        device=device,
        threads=config.threads or default_threads(),
        data=replace(config.data, test_images=None, augment="none") if texts else None,
        seed=config.seeds[0] if texts else 0,
    )


def step_of(recipe: Recipe) -> Recipe:
    """Return a recipe whose steps cost the same, equal for all recipes of that cost."""
    sgd = recipe.base == "sgd"
    return Recipe(
        momentum=0.9 if recipe.momentum or not sgd else 0.0,
        weight_decay=0.01 if recipe.weight_decay else 0.0,
        batch_size=recipe.batch_size,
        base=recipe.base,
        nesterov=recipe.nesterov,
        label_smoothing=0.1 if recipe.label_smoothing else 0.0,
        clip_norm=1.0 if recipe.clip_norm is not None else None,
        decay_norms=recipe.decay_norms or not recipe.weight_decay,
        accumulate=recipe.accumulate,
    )


def read(request: CalibrationRequest) -> Calibration | CalibrationError | None:
    """Return the calibration if it was made, why it could not be made, or None if nobody knows yet."""
    found = kept(request)
    if found is not None:
        return found
    reason = kept_answer.read_error(answer_of(request))
    return None if reason is None else CalibrationError(reason)


def kept(request: CalibrationRequest) -> Calibration | None:
    """Return the calibration if it was made and is whole."""
    path = answer_of(request).path
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ConfigError):  # not there, or damaged: start() makes it
        return None


def start(request: CalibrationRequest) -> subprocess.Popen[bytes]:
    """Have the calibration made by another process; arguments and errors as in `kept_answer.start`."""
    progress_path(request).unlink(missing_ok=True)
    return kept_answer.start(answer_of(request))


def outcome(request: CalibrationRequest, process: subprocess.Popen[bytes]) -> Calibration | CalibrationError | None:
    """Return what `read` returns; if the process died without a word, an error with the end of its log.

    None after a process that went well means that its answer was thrown away since.
    """
    code = process.poll()
    answer = read(request)
    if answer is not None or not code:
        return answer
    return CalibrationError(kept_answer.silent_end(answer_of(request), process) or "")


def forget(request: CalibrationRequest) -> None:
    """Throw a calibration away, so that the next one is measured anew."""
    answer_of(request).path.unlink(missing_ok=True)


def in_the_way(device: str, busy: Collection[str]) -> list[str]:
    """Return the devices whose races would disturb a measurement on a device: its own, and the CPU that feeds all."""
    return sorted(each for each in busy if device == "cpu" or each in (device, "cpu"))


def progress(request: CalibrationRequest) -> Progress | None:
    """Return how far a measurement is; None before it has said so."""
    try:
        raw = json.loads(progress_path(request).read_text(encoding="utf-8"))
        return Progress(str(raw["text"]), min(1.0, max(0.0, float(raw["fraction"]))))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def progress_path(request: CalibrationRequest) -> Path:
    """Return where a measurement says how far it is."""
    return answer_of(request).path.with_suffix(".progress")


def answer_of(request: CalibrationRequest) -> KeptAnswer:
    """Return where the calibration is kept and what makes it."""
    what = f"the calibration of {request.tree.model} on {request.device}"
    return KeptAnswer(MODULE, json.dumps(asdict(request)), FOLDER, key(request), what)


def key(request: CalibrationRequest) -> str:
    """Return what the answer is filed under: the request, and all that shapes the speed."""
    facts = [asdict(request), describe.key(request.tree), CALIBRATION_VERSION, __version__, version_of("torch")]
    if request.data is not None and request.data.path:
        facts.append(modified_ns(Path(request.data.path).expanduser()))  # other texts have other lengths
    visible = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")]
    return digest([*facts, _processor(), usable_cores(), _gpus(), visible])


def request_from_json(text: str) -> CalibrationRequest:
    """Read the JSON form that `answer_of` hands to the process."""
    raw: Mapping[str, Any] = json.loads(text)
    tree = describe.TreeRequest(**{**raw["tree"], "input_shape": tuple(raw["tree"]["input_shape"])})
    parts = {"tree": tree, "recipe": Recipe(**raw["recipe"]), "execution": Execution(**raw["execution"])}
    data = None if raw["data"] is None else DataConfig(**raw["data"])
    return CalibrationRequest(**{**raw, **parts, "data": data})


@lru_cache(maxsize=64)
def _read(path: Path, modified_ns: int) -> Calibration:  # noqa: ARG001 - a new time is a new calibration
    return from_json(path.read_text(encoding="utf-8", errors="replace"))


@lru_cache
def _processor() -> str:
    """Return what tells this processor from others; Python itself does not know it on Linux."""
    name = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{platform.node()} {platform.machine()} {name}"


@lru_cache
def _gpus() -> list[str]:
    """Return the models of NVIDIA's GPUs and its driver, without torch; [] where there is none.

    Other lines of these files change while the driver runs.
    """
    files = [*sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")), Path("/proc/driver/nvidia/version")]
    try:
        texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.exists()]
    except OSError:
        return []
    return [line for text in texts for line in text.splitlines() if line.startswith(("Model:", "NVRM version:"))]
