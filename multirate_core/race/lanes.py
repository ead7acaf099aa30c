"""All lanes of a race on parts that are made already: seed after seed, and within a seed interleaved."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from multirate_core.data.texts import TextSplit
from multirate_core.events import Event, PhaseChanged, Progress
from multirate_core.models.registry import BuiltModel
from multirate_core.race.marks import Marks
from multirate_core.race.progress import ProgressMeter
from multirate_core.race.seed import Control, SeedRace, training_phase
from multirate_core.race.start import RaceParts, make_lanes, warm_up
from multirate_core.training.batches import Images
from multirate_core.training.samples import Samples
from multirate_core.training.texts import Texts, longest


def race_lanes(parts: RaceParts, control: Control) -> Iterator[Event]:
    """Race every arm at every seed and say what happens.

    Within a seed the lane with the fewest training seconds has the next slice, so that all curves advance together and
    share the machine's noise. Seeds follow each other: only one seed's networks are in memory.

    Args:
        parts: configuration, networks, data, partitions and device.
        control: asked between two slices: "go", "pause" or "stop".
    """
    config = parts.config
    marks = Marks(config.evaluations, config.budget.seconds)
    meter = ProgressMeter(config.budget, len(config.seeds))
    train: Samples | None = None
    test: Samples | None = None
    for index, seed in enumerate(config.seeds):
        built = parts.build(seed)
        if train is None or test is None:
            train, test = _samples(parts, built)
            yield PhaseChanged("warming up")
            warm_up(parts, built, train)
        lanes = make_lanes(parts, index, built, train)
        yield PhaseChanged(training_phase(config, lanes[0].number))
        del built
        race = SeedRace(config, lanes, test, marks, meter, control)
        yield from race.run()
        if race.stopped:
            return
        del race, lanes
        _free_memory(parts.device)
    yield Progress(1.0, 0.0)


def _samples(parts: RaceParts, built: BuiltModel) -> tuple[Samples, Samples]:
    """Return the training and the test part as batches for the device."""
    split, device, execution = parts.split, parts.device, parts.config.execution
    if isinstance(split, TextSplit):
        fixed = longest(split) if execution.compile else None
        return (
            Texts(split.train_tokens, split.train_labels, split.pad_id, device, fixed),
            Texts(split.test_tokens, split.test_labels, split.pad_id, device, fixed),
        )
    how = (built.mean, built.std, device, execution.channels_last)
    train = Images(split.train_images, split.train_labels, *how, parts.config.data.augment)
    return train, Images(split.test_images, split.test_labels, *how)


def _free_memory(device: torch.device) -> None:
    """Give a seed's networks and momenta back before the next seed's are made."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
