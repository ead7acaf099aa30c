"""`predict`: what a partition will cost, from a calibration that is measured if there is none."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from multirate_core.backends.devices import available_devices
from multirate_core.cli.settings import layer_tree, race_config
from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.forecast import partitioned, prediction, run_of
from multirate_core.cost.predict import Prediction
from multirate_core.cost.reach import PullBack, Reach, pull_back, reach_of
from multirate_core.cost.request import CalibrationError, CalibrationRequest
from multirate_core.data.catalog import DataShape, data_shape
from multirate_core.errors import ConfigError, ModelError
from multirate_core.layers.tree import LayerTree
from multirate_core.memory.words import gigabytes
from multirate_core.models.catalog import model_info
from multirate_core.store.races import candidate_devices

POLL_S = 0.1


def run(options: Namespace) -> int:
    """Print what the multirate arm of the options will cost.

    Raises:
        MultirateError: bad input, a network that cannot be measured, or a race that holds the device.
    """
    config = race_config(options)
    arm = next((arm for arm in config.arms if arm.kind == "multirate"), None)
    if arm is None:
        raise ConfigError("there is no multirate arm to predict. Leave --arms out, or name multirate among them.")
    tree = layer_tree(config.model, config.data)
    shape, request = request_for(config)
    if options.recalibrate:
        requests.forget(request)
    cached = requests.kept(request) is not None
    calibration = calibrated(request)
    if calibration.parameters != tuple(parameter.name for parameter in tree.trainable()):
        raise ModelError(
            f"{config.model.name} has other parameters than when it was measured or described: it was changed. "
            "Use --recalibrate."
        )
    steps = run_of(config, shape.train_images)
    found = prediction(calibration, config, arm, tree, steps)
    report = _report(found, calibration, cached, _reach(tree, arm))
    advice = pull_back(tree, partitioned(arm, tree), calibration)
    print(json.dumps(report) if options.json else "\n".join(_lines(report, config, calibration, advice)))
    return 0


def request_for(config: RaceConfig) -> tuple[DataShape, CalibrationRequest]:
    """Return the shape of a race's data, and the calibration that fits the race on the device that it would get."""
    shape = data_shape(config.data, model_info(config.model.name))
    return shape, requests.request_of(config, shape, candidate_devices(config.device, available_devices())[0])


def calibrated(request: CalibrationRequest) -> Calibration:
    """Return the calibration; a process of its own measures it if there is none. Progress goes to stderr."""
    found = requests.kept(request)
    if found is not None:
        return found
    process, said = requests.start(request), ""
    while (answer := requests.outcome(request, process)) is None:
        progress = requests.progress(request)
        if progress is not None and progress.text != said:
            said = progress.text
            print(f"{progress.fraction:4.0%}  {said}", file=sys.stderr)
        time.sleep(POLL_S)
    process.wait()
    if isinstance(answer, CalibrationError):
        raise ConfigError(answer.message)
    return answer


def _reach(tree: LayerTree, arm: ArmConfig) -> Reach | None:
    part = partitioned(arm, tree)
    return reach_of(tree, part.due(part.fast_groups))


def _report(found: Prediction, calibration: Calibration, cached: bool, reach: Reach | None) -> dict[str, Any]:
    return {
        "full_step_s": found.full_step_s,
        "fast_step_s": found.fast_step_s,
        "sgd_step_s": found.sgd_step_s,
        "mean_step_s": found.mean_step_s,
        "ratio": found.ratio,
        "ratio_uncertainty": found.uncertainty,
        "ratio_limit": found.ratio_limit,
        "peak_bytes": {
            "sgd": found.sgd_peak_bytes,
            "multirate": found.multirate_peak_bytes,
            "lean": found.lean_peak_bytes,
        },
        "allreduce_bytes_per_step": {
            "sgd": found.sgd_allreduce_bytes,
            "multirate": found.multirate_allreduce_bytes,
        },
        "backward_reaches": None if reach is None else reach.module,
        "layers_crossed": None if reach is None else [reach.crossed, reach.layers],
        "transfer_s": calibration.transfer_s,
        "calibration": {"seconds": calibration.took_s, "cached": cached, **calibration.facts},
    }


def _lines(
    report: dict[str, Any], config: RaceConfig, calibration: Calibration, advice: PullBack | None
) -> Iterator[str]:
    """Yield the prediction as people read it."""
    plain = config.title("sgd")
    yield f"{1 / report['ratio']:.2f} times {plain}'s speed, at most {1 / report['ratio_limit']:.2f} as k grows"
    yield (
        f"{1000 * report['mean_step_s']:.1f} ms a step ({1000 * report['fast_step_s']:.1f} fast, "
        f"{1000 * report['full_step_s']:.1f} full), {plain} {1000 * report['sgd_step_s']:.1f} ms"
    )
    peaks = {name: gigabytes(size) for name, size in report["peak_bytes"].items() if size is not None}
    if peaks:
        yield "at most in tensors: " + ", ".join(f"{name} {size}" for name, size in peaks.items())
    exchanged = report["allreduce_bytes_per_step"]
    yield f"between GPUs: {exchanged['multirate'] / 1e6:.1f} MB a step, {plain} {exchanged['sgd'] / 1e6:.1f} MB"
    if report["layers_crossed"]:
        crossed, layers = report["layers_crossed"]
        back = report["backward_reaches"] or "the network's own parameters"
        yield f"on fast steps gradients cross {crossed} of {layers} layers, back to {back}"
    if advice is not None and advice.saving is not None:
        yield f"{advice.module} is fast and pulls them there: moving it to {advice.group} saves {advice.saving:.0%}"
    yield from calibration.notes
