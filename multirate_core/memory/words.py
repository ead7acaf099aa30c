"""What people read about the memory of a race before it starts: one quiet line, a warning, or why it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from multirate_core.config import RaceConfig
from multirate_core.data.catalog import DataShape
from multirate_core.data.room import SPARE, disk_room, fits_disk
from multirate_core.layers.tree import LayerTree
from multirate_core.machine import available_memory, total_memory
from multirate_core.memory.estimate import MemoryEstimate, estimate, on_gpu


@dataclass(frozen=True)
class Outlook:
    """What is said about a race's memory.

    Args:
        line: how much it needs of what there is.
        short: the same in fewer words.
        parts: what it is made of.
        warning: what is too big and what would fit, "" if it fits.
        refusal: why it cannot run at all, "" if it may.
    """

    line: str
    short: str
    parts: str
    warning: str = ""
    refusal: str = ""


def outlook(
    config: RaceConfig, tree: LayerTree, shape: DataShape, gpu: bool = False, step_peak: int | None = None
) -> Outlook:
    """Compare what a race needs with what this machine has.

    Args:
        config: of the race.
        tree: of its network.
        shape: of its data.
        gpu: it will run on a GPU with memory of its own, which only the worker can ask.
        step_peak: as in `estimate`.
    """
    need = estimate(config, tree, shape, step_peak)
    if gpu:
        there = on_gpu(need, need.data)
        amount = f"{gigabytes(there.total)} on the GPU"
        return Outlook(f"Needs about {amount}.", f"About {amount}", parts_text(there, config), disk_warning(need))
    found = compared(need, _lean(config, tree, shape), config, available_memory(), total_memory(), "this machine")
    return replace(found, warning=" ".join(filter(None, (found.warning, disk_warning(need)))))


def runs_on_gpu(device: str, devices: Sequence[str]) -> bool:
    """Tell whether a race gets a GPU with memory of its own; Apple's shares the machine's.

    Args:
        device: that was asked for.
        devices: of this machine, best first.
    """
    return (devices[0] if device == "auto" else device).startswith("cuda")


def gpu_outlook(
    config: RaceConfig, tree: LayerTree, shape: DataShape, free: int, total: int, data_share: float
) -> Outlook:
    """Compare what a race needs with the memory of its GPU.

    Args:
        config: of the race.
        tree: of its network.
        shape: of its data.
        free: bytes that can be had now.
        total: bytes that it has.
        data_share: of the free ones, that the data may take.
    """
    need, lean = estimate(config, tree, shape), _lean(config, tree, shape)
    room = data_share * free
    return compared(on_gpu(need, room), lean and on_gpu(lean, room), config, free, total, "the GPU")


def compared(
    need: MemoryEstimate, lean: MemoryEstimate | None, config: RaceConfig, free: int, total: int, owner: str
) -> Outlook:
    """Say how a need compares with a memory.

    Args:
        need: of the race.
        lean: the same with lean memory; None where that would change nothing.
        config: of the race.
        free: bytes that can be had now.
        total: bytes that there are.
        owner: whose memory it is: "this machine".
    """
    amount, parts = gigabytes(need.total), parts_text(need, config)
    found = Outlook(
        f"Needs about {amount}; {gigabytes(free)} are free.",
        f"About {amount}, {gigabytes(free)} free",
        parts,
    )
    lasting = need.weights + need.optimizer_state
    if lasting > total:
        refusal = (
            f"the weights and the optimiser state of {_arms(config)} need {gigabytes(lasting)}, and {owner} has "
            f"{gigabytes(total)} of memory in all. Use a smaller network or fewer arms."
        )
        return replace(found, refusal=refusal)
    if need.total <= free:
        return found
    advice = " ".join(_advice(need, lean, config, free))
    text = (
        f"This race needs about {amount}, and {owner} has {gigabytes(free)} free. It needs {parts}. "
        f"{advice} The estimate may be wrong: it can be tried."
    )
    return replace(found, warning=text)


def parts_text(need: MemoryEstimate, config: RaceConfig) -> str:
    """Return what a need is made of: "4.8 GB for weights, gradients and optimiser state of 2 arms, 20 GB for …"."""
    at = f"batch size {need.micro_batch}" if config.recipe.accumulate == 1 else f"{need.micro_batch} samples at once"
    words = [f"{gigabytes(need.model)} for weights, gradients and optimiser state of {_arms(config)}"]
    if need.activations_per_sample is None:
        words.append("an unknown part for activations")
    else:
        words.append(f"{gigabytes(need.activations)} for activations at {at}")
    if need.data:
        words.append(f"{gigabytes(need.data)} for data")
    if need.program:
        words.append(f"{gigabytes(need.program)} for the program")
    if need.data_file:
        words.append(f"and on disk {gigabytes(need.data_file)} for images that the memory does not hold")
    return ", ".join(words)


def disk_warning(need: MemoryEstimate) -> str:
    """Return that the disk has no room for the file of the images, "" if it has or needs none."""
    if not need.data_file or fits_disk(need.data_file):
        return ""
    return (
        f"The images need {gigabytes(round(need.data_file * SPARE))} on disk, since the memory does not hold them, and "
        f"{gigabytes(disk_room())} are free there: the race would end while it reads them. Choose a smaller image size "
        "or fewer training samples."
    )


def _advice(need: MemoryEstimate, lean: MemoryEstimate | None, config: RaceConfig, free: int) -> Iterator[str]:
    """Yield what would fit, or at least need less."""
    least = need.total - need.activations + need.activations_fixed
    most = (free - least) // need.activations_per_sample if need.activations_per_sample else 0
    if most >= 1:
        batch, parts = most * config.recipe.accumulate, -(-config.recipe.batch_size // most)
        yield f"A batch size of {batch:,} would fit, or the same batch in {parts:,} micro-batches."
    if lean is not None:
        yield f"Lean memory {'would fit' if lean.total <= free else 'needs less'}: {gigabytes(lean.total)}."
    samples = (free - need.total + need.data) // need.sample - need.test_samples if need.data else 0
    if samples > 0:
        yield f"{samples:,} training samples would fit."
    if most < 1:
        yield f"{'Fewer arms' if len(config.arms) > 1 else 'A smaller network'} would need less."


def _lean(config: RaceConfig, tree: LayerTree, shape: DataShape) -> MemoryEstimate | None:
    """Return what lean memory would need; None where it is on already, cannot be, or another arm keeps everything."""
    execution, saved = config.execution, tree.saved
    if execution.memory == "lean" or execution.compile or saved is None or saved.lean_per_sample >= saved.per_sample:
        return None
    if any(arm.kind != "multirate" for arm in config.arms):
        return None
    return estimate(replace(config, execution=replace(execution, memory="lean")), tree, shape)


def _arms(config: RaceConfig) -> str:
    return "one arm" if len(config.arms) == 1 else f"{len(config.arms)} arms"


def gigabytes(count: int) -> str:
    """Return bytes as people read them: "0.6 GB", "22 GB"."""
    if count < 50_000_000:
        return "less than 0.1 GB"
    return f"{count / 1e9:.1f} GB" if count < 9_950_000_000 else f"{count / 1e9:,.0f} GB"
