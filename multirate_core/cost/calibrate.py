"""The process that measures: `python -m multirate_core.cost.calibrate REQUEST`, one request as JSON.

Measurements of one user take turns, and none is made while a race runs on the device: both would be wrong.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from multirate_core import home, kept_answer, store
from multirate_core.config import ModelConfig
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration, to_json
from multirate_core.cost.clocks import Clock, clock_of
from multirate_core.cost.measure import Say, measure
from multirate_core.cost.request import CalibrationRequest
from multirate_core.cost.subject import Subject
from multirate_core.data import registry as data_registry
from multirate_core.errors import ConfigError, ModelError, MultirateError
from multirate_core.models.registry import build_skeleton, sample_shape
from multirate_core.models.tokenizer import tokenizer_of
from multirate_core.training.allocator import settle_allocator
from multirate_core.training.batches import TrainingOrder
from multirate_core.training.device import choose_device, cpu_threads, environment
from multirate_core.training.forward import Forward, require_supported
from multirate_core.training.samples import Inputs, shape_of
from multirate_core.training.texts import Texts

WAIT_S = 600.0  # for another measurement
POLL_S = 0.2
BATCHES_SEEN = 64  # of texts, whose mean length is looked for
LOCK = "calibration.lock"


def calibrate(request: CalibrationRequest, say: Say = lambda _text, _fraction: None) -> Calibration:
    """Measure in this process.

    Args:
        request: what.
        say: told what is done and which share is over.

    Raises:
        ConfigError: a race runs on the device, the machine does not have it, or it cannot compute so.
        ModelError: the network cannot be built, or its forward pass fails; the message names the module it reached.
        DataError: the texts cannot be read.
        torch.OutOfMemoryError: the device's memory is full.
    """
    device = choose_device(request.device)
    require_supported(request.execution.precision, False, device)
    go_on = _watch_races(request)
    go_on()
    settle_allocator()
    with cpu_threads(request.threads):
        say("building the network", 0.0)
        torch.manual_seed(0)
        subject, few = _subject(request, device)
        clock = clock_of(device)
        made = measure(subject, clock, few, say, go_on)
        facts = {**environment(device), **_facts(request, subject)}
        return replace(made, facts=facts, transfer_s=_transfer_s(subject, clock))


def _watch_races(request: CalibrationRequest) -> Callable[[], None]:
    """Return a function that raises ConfigError while a race holds the device, or the CPU that feeds it."""

    def go_on() -> None:
        with store.open_store(home.store_path()) as opened:
            if requests.in_the_way(request.device, store.devices_in_use(opened)):
                store.sweep(opened)  # a race whose process died holds nothing
            busy = requests.in_the_way(request.device, store.devices_in_use(opened))
        if busy:
            raise ConfigError(
                f"{requests.RACE_HOLDS} {', '.join(busy)}, and both would be slowed down. The costs can be measured "
                "when it has ended."
            )

    return go_on


def _subject(request: CalibrationRequest, device: torch.device) -> tuple[Subject, list[str]]:
    """Return the network with a batch, and the parameters of its head."""
    tree = request.tree
    shape = sample_shape(ModelConfig(tree.model, source=tree.source), tree.input_shape)
    model, head = build_skeleton(tree.model, tree.num_classes, shape, tree.source)
    model = model.to(device).train()
    if request.execution.channels_last:
        model = model.to(memory_format=torch.channels_last)
    inputs, labels = _texts(request, device) if request.data else _images(request, shape, device)
    subject = Subject(Forward(model, request.execution.precision), inputs, labels, request.recipe)
    if not subject.trainable:
        raise ModelError(f"{tree.model} has no parameter that can be trained, so there is nothing to partition.")
    few = [name for name in subject.trainable if any(name.startswith(f"{path}.") for path in head)]
    return subject, few or [list(subject.trainable)[-1]]


def _images(request: CalibrationRequest, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a made-up batch: what it shows does not change how long it takes."""
    size = request.recipe.batch_size
    images = torch.randn(size, *shape, device=device)
    if request.execution.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, torch.randint(request.tree.num_classes, (size,), device=device)


def _texts(request: CalibrationRequest, device: torch.device) -> tuple[Inputs, Tensor]:
    """Return a batch of the data whose length comes closest to the mean of many: lengths set the time."""
    assert request.data is not None
    tokenizer = tokenizer_of(ModelConfig(request.tree.model, source=request.tree.source))
    split = data_registry.load_texts(
        request.data,
        seed=request.seed,
        max_tokens=request.tree.input_shape[0],
        tokenizer=tokenizer,
        say=lambda _: None,
    )
    texts = Texts(split.train_tokens, split.train_labels, split.pad_id, device)
    size = request.recipe.batch_size
    if len(texts) < size:  # a race's batches are all there is then; the meter's is a whole one
        return texts.batch(texts.place_rows(torch.arange(size) % len(texts)))
    order = TrainingOrder(texts, size, request.seed, drop_single=False)
    batches = [batch for batch in order.take(min(BATCHES_SEEN, order.steps_per_epoch)) if len(batch[1]) == size]
    lengths = [shape_of(inputs)[1] for inputs, _ in batches]
    mean = sum(lengths) / len(lengths)
    return min(zip(batches, lengths, strict=True), key=lambda pair: abs(pair[1] - mean))[0]


def _transfer_s(subject: Subject, clock: Clock) -> float:
    """Return the seconds to bring a batch to the device; 0 on the CPU."""
    if subject.device.type == "cpu":
        return 0.0
    tensors = [subject.inputs] if isinstance(subject.inputs, Tensor) else list(subject.inputs.values())
    here = [tensor.cpu() for tensor in tensors]
    times = []
    for _ in range(3):
        clock.settle()
        begun = time.perf_counter()
        for tensor in here:
            tensor.to(subject.device)
        clock.settle()
        times.append(time.perf_counter() - begun)
    return min(times)


def _facts(request: CalibrationRequest, subject: Subject) -> dict[str, str]:
    return {
        "model": request.tree.model,
        "batch": "×".join(map(str, shape_of(subject.inputs))),
        "precision": request.execution.precision,
        "memory_format": "channels last" if request.execution.channels_last else "contiguous",
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def main(arguments: Sequence[str]) -> int:
    """Make one calibration and keep it, or the reason why not; return the exit code."""
    request = requests.request_from_json(arguments[0])
    answer, progress = requests.answer_of(request), requests.progress_path(request)

    def say(text: str, fraction: float) -> None:
        kept_answer.write(progress, json.dumps({"text": text, "fraction": fraction}))

    try:
        say("waiting for another measurement", 0.0)
        with _turn():
            damaged = answer.path.exists() and requests.kept(request) is None
            made = requests.kept(request) or calibrate(request, say)
        if damaged:
            made = replace(made, notes=("What was kept of an earlier measurement was damaged: this one is new.",))
        kept_answer.write(answer.path, to_json(made))
        return 0
    except torch.OutOfMemoryError:
        return kept_answer.fail(answer, f"the memory of {request.device} is full. Use a smaller batch.")
    except MultirateError as error:
        return kept_answer.fail(answer, str(error))
    except Exception as error:
        kept_answer.fail(answer, f"{answer.what} cannot be made: {type(error).__name__}: {error}")
        raise
    finally:
        progress.unlink(missing_ok=True)


@contextmanager
def _turn() -> Iterator[None]:
    """Hold the lock of measurements inside the `with` block; ConfigError if another one never ends.

    Where the system has no such locks, nobody waits.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    deadline = time.monotonic() + WAIT_S
    with Path(home.home_folder() / LOCK).open("w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ConfigError("another measurement has not ended for ten minutes. Try again.") from error
                time.sleep(POLL_S)
        yield  # the lock goes with the file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
