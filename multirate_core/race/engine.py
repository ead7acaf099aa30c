"""A race from its configuration: network, partitions and data are made, then the lanes run. No store, no processes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TypeVar

import torch

from multirate_core.config import Execution, RaceConfig
from multirate_core.cost import forecast
from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.forecast import run_of
from multirate_core.data import registry as data_registry
from multirate_core.data.catalog import DataShape, data_shape
from multirate_core.errors import ConfigError, ModelError
from multirate_core.events import EnvironmentFound, Event, PhaseChanged
from multirate_core.layers import describe
from multirate_core.layers.tree import LayerTree
from multirate_core.lean.blocks import find_blocks
from multirate_core.memory.words import gpu_outlook
from multirate_core.metrics import MOST_CLASSES
from multirate_core.models import registry as model_registry
from multirate_core.models.catalog import model_info
from multirate_core.models.registry import BuiltModel
from multirate_core.models.tokenizer import tokenizer_of
from multirate_core.race.lanes import race_lanes
from multirate_core.race.partitions import resolve_partitions
from multirate_core.race.seed import Control
from multirate_core.race.start import RaceParts
from multirate_core.training.allocator import settle_allocator
from multirate_core.training.batches import SHARE_OF_FREE_MEMORY, drops_single, steps_per_epoch
from multirate_core.training.device import choose_device, cpu_threads, environment
from multirate_core.training.forward import require_supported
from multirate_core.training.randomness import Randomness

T = TypeVar("T")
POLL_S = 0.1


def run(config: RaceConfig, control: Control) -> Iterator[Event]:
    """Run a whole race and say what happens; the caller writes it down.

    Equal configurations give equal losses on the CPU with equal threads, however the lanes are interleaved.

    Args:
        config: what to race.
        control: asked between two slices and while data is loaded: "go", "pause" or "stop".

    Raises:
        MultirateError: something in the configuration does not fit the machine, the model or the data.
        torch.OutOfMemoryError: the device's memory is full; nothing is retried.
    """
    device = choose_device(config.device)
    if config.execution.compile:
        yield PhaseChanged("looking for a compiler")
    require_supported(config.execution.precision, config.execution.compile, device)
    settle_allocator()
    with cpu_threads(config.threads):
        yield PhaseChanged(f"building {config.model.name}")
        shape = data_shape(config.data, model_info(config.model.name))
        memory_notes, calibration = _memory_notes(config, shape, device), _kept_calibration(config, shape)
        shape = replace(shape, input_shape=model_registry.sample_shape(config.model, shape.input_shape))
        if config.execution.channels_last and len(shape.input_shape) == 1:
            raise ConfigError(f"channels last is for images, and {config.data.name} holds texts. Turn it off.")
        if config.data.augment != "none" and len(shape.input_shape) == 1:
            raise ConfigError(
                f"flips and crops are for images, and {config.data.name} holds texts. Use augment 'none'."
            )
        _require_metric(config, shape)
        first = _build(config, shape, config.seeds[0], device)
        partitions = resolve_partitions(config, first.module)
        yield PhaseChanged(f"loading {config.data.name}")
        split = yield from _watched(lambda say: _load(config, shape, say), control)
        if split is None:
            return
        kept, notes = {config.seeds[0]: first}, first.notes
        parts = RaceParts(
            config=config,
            build=lambda seed: kept.pop(seed, None) or _again(_build(config, shape, seed, device), notes),
            split=split,
            partitions=partitions,
            device=device,
        )
        predicted = _forecast(parts, first, calibration)
        yield EnvironmentFound(environment(device) | _facts(parts, first, memory_notes) | predicted)
        del first
        yield from race_lanes(parts, control)


def _kept_calibration(config: RaceConfig, shape: DataShape) -> tuple[Calibration, LayerTree] | None:
    """Return what was measured about the race's network on its device, and the tree that it belongs to."""
    if config.execution.compile:
        return None
    request = requests.request_of(config, shape, config.device)
    tree, calibration = describe.read(request.tree), requests.kept(request)
    return (calibration, tree) if calibration is not None and isinstance(tree, LayerTree) else None


def _forecast(parts: RaceParts, built: BuiltModel, calibration: tuple[Calibration, LayerTree] | None) -> dict[str, str]:
    """Return what is predicted for every arm, for the record; {} if the costs were not measured before."""
    names = tuple(name for name, weight in built.module.named_parameters() if weight.requires_grad)
    if calibration is None or calibration[0].parameters != names or not _fits(names, calibration[1]):
        return {}  # a network of the user's own that was changed since
    count = len(parts.split.train_labels)
    steps = run_of(parts.config, count, drops_single(built.module, count, parts.config.recipe.batch_size))
    found = forecast.forecast(calibration[0], parts.config, calibration[1], steps)
    return {"forecast": forecast.to_text(found)}


def _fits(names: tuple[str, ...], tree: LayerTree) -> bool:
    return names == tuple(parameter.name for parameter in tree.trainable())


def _memory_notes(config: RaceConfig, shape: DataShape, device: torch.device) -> list[str]:
    """Say so if a GPU's memory will hardly do; whoever started the race has compared that of the machine.

    Raises:
        ConfigError: the GPU cannot even hold weights and optimiser state.
    """
    if device.type != "cuda":
        return []
    request = describe.TreeRequest(config.model.name, shape.num_classes, shape.input_shape, config.model.source)
    tree = describe.read(request)  # made when the race was set up
    if not isinstance(tree, LayerTree):
        return []
    found = gpu_outlook(config, tree, shape, *torch.cuda.mem_get_info(device), SHARE_OF_FREE_MEMORY)
    if found.refusal:
        raise ConfigError(found.refusal)
    return [found.warning] if found.warning else []


def _require_metric(config: RaceConfig, shape: DataShape) -> None:
    """Raise ConfigError if the race is judged by a metric that is not computed for so many classes."""
    if config.metric != "accuracy" and shape.num_classes > MOST_CLASSES:
        raise ConfigError(
            f"the metric {config.metric!r} is computed for up to {MOST_CLASSES:,} classes, got {shape.num_classes:,}. "
            "Use 'accuracy'."
        )


def _build(config: RaceConfig, shape: DataShape, seed: int, device: torch.device) -> BuiltModel:
    """Make the network on the CPU; what it draws at random comes from the seed alone."""
    with Randomness(seed, device).active():
        return model_registry.build(config.model, shape.num_classes, shape.input_shape)


def _again(built: BuiltModel, notes: tuple[str, ...]) -> BuiltModel:
    """Return the network of a later seed, if its code is still that of the first one."""
    if built.notes != notes:
        raise ModelError(
            f"the network was changed while the race ran: {' '.join(notes)} became {' '.join(built.notes)} "
            "All seeds of a race need the same network. Start it again."
        )
    return built


def _load(
    config: RaceConfig, shape: DataShape, say: Callable[[str], None]
) -> data_registry.DataSplit | data_registry.TextSplit:
    if len(shape.input_shape) == 1:
        say(f"Tokenizing {config.data.name}")
        tokenizer = tokenizer_of(config.model)
        return data_registry.load_texts(
            config.data, seed=config.seeds[0], max_tokens=shape.input_shape[0], tokenizer=tokenizer, say=say
        )
    channels, _, edge = shape.input_shape
    return data_registry.load(config.data, seed=config.seeds[0], image_size=edge, channels=channels, say=say)


def _watched(task: Callable[[Callable[[str], None]], T], control: Control) -> Generator[Event, None, T | None]:
    """Run a long task in a thread, pass on what it says, and leave it behind if the race is stopped (None)."""
    said: queue.Queue[str] = queue.Queue()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(task(said.put))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True, name="loading data")
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        while not said.empty():
            yield PhaseChanged(said.get())
        if thread.is_alive() and control() == "stop":
            return None
    if errors:
        raise errors[0]
    return results[0]


def _computing(execution: Execution) -> dict[str, str]:
    """Return how every arm computes, in words for the record."""
    return {
        "precision": "bf16 autocast" if execution.precision == "bf16" else execution.precision,
        "memory_format": "channels last" if execution.channels_last else "contiguous",
        "compiled": "yes" if execution.compile else "no",
        "multirate_memory": execution.memory,
    }


def _facts(parts: RaceParts, built: BuiltModel, memory_notes: list[str]) -> dict[str, str]:
    """Return what the record should say about model and data."""
    split, batch_size = parts.split, parts.config.recipe.batch_size
    count = len(split.train_labels)
    single = drops_single(built.module, count, batch_size)
    notes = [*built.notes, *split.notes, *_balance_notes(parts)]
    if single:
        notes.append("The last image of each epoch's order is left out: BatchNorm cannot train on a batch of one.")
    return {
        "parameters": str(sum(weight.numel() for weight in built.module.parameters())),
        "classes": str(len(split.class_names)),
        "train_images": str(count),
        "test_images": str(len(split.test_labels)),
        "steps_per_epoch": str(steps_per_epoch(count, batch_size, single)),
        **_computing(parts.config.execution),
        "notes": "\n".join([*notes, *_rate_notes(parts), *_lean_notes(parts, built), *memory_notes]),
    }


def _balance_notes(parts: RaceParts) -> list[str]:
    """Say so if one class makes up much of the test part: always naming it gives a high accuracy then."""
    labels, names = parts.split.test_labels, parts.split.class_names
    counts = torch.bincount(labels, minlength=len(names))
    share = float(counts.max()) / len(labels)
    if parts.config.metric != "accuracy" or share <= 2 / len(names):
        return []
    return [
        f"{share:.0%} of the test part is of the class {names[int(counts.argmax())]!r}, more than twice its share if "
        "all classes were alike: balanced accuracy would say more than accuracy."
    ]


def _rate_notes(parts: RaceParts) -> list[str]:
    """Say which schedules of k the budget does not reach the end of."""
    epochs = parts.config.budget.epochs
    groups = {group for arm in parts.config.arms if arm.partition for group in arm.partition.groups if group.phases}
    if epochs is None:
        return []
    return [
        f"The schedule of the group {group.name} takes {before:g} epochs and the budget is {epochs}: "
        f"it never gets to k = {group.period}."
        for group in sorted(groups, key=lambda each: each.name)
        if (before := sum(length for length, _ in group.phases)) >= epochs
    ]


def _lean_notes(parts: RaceParts, built: BuiltModel) -> list[str]:
    """Say what lean recomputes."""
    if parts.config.execution.memory != "lean":
        return []
    names = [block.name for block in find_blocks(built.module)][:-1]  # the last one is kept
    if not any(arm.kind == "multirate" for arm in parts.config.arms) or not names:
        return []
    span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return [f"Lean: {len(names)} blocks, {span}, are computed again on the steps that need slow gradients."]
