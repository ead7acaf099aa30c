"""Train the weights of the offline default pair: `python -m multirate_core.models.pretrain_glyphs --out PATH`.

One thread and deterministic kernels: on one machine, with one set of versions, the file comes out the same bit for
bit. Beside the weights stands a JSON record of the seed, data, settings, versions, SHA-256 and accuracy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.models import glyph_net, glyphs

EVALUATION_SEED = 1_000_003  # its images are fresh: no training batch is drawn from this stream
EVALUATION_IMAGES = 4000


@dataclass(frozen=True)
class PretrainSettings:
    """What decides the weights; `peak_lr` and weight decay are of SGD with Nesterov momentum, one-cycle schedule."""

    seed: int = 0
    steps: int = 2000
    batch_size: int = 64
    peak_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_fraction: float = 0.1


def pretrain(settings: PretrainSettings) -> nn.Module:
    """Train the network on freshly drawn glyphs and return it; equal settings give equal weights, bit for bit."""
    with _reproducible():
        return _train(settings)


@contextmanager
def _reproducible() -> Iterator[None]:
    """Keep torch to one thread and deterministic algorithms for a while: sums have one order."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def _train(settings: PretrainSettings) -> nn.Module:
    torch.manual_seed(settings.seed)
    model = glyph_net.build(len(glyphs.GLYPHS))
    pictures, generator = glyphs.render_glyphs(), torch.Generator().manual_seed(settings.seed)
    optimizer, schedule = _optimizer(model, settings)
    for step in range(1, settings.steps + 1):
        images, labels = glyphs.draw_batch(pictures, settings.batch_size, glyph_net.INPUT_SIZE, generator)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(normalize(images)), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {settings.steps}: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    return model


def source_accuracy(model: nn.Module, images: int) -> float:
    """Return the fraction of fresh glyphs that the network names rightly (in eval mode)."""
    model.eval()
    pictures, generator = glyphs.render_glyphs(), torch.Generator().manual_seed(EVALUATION_SEED)
    right, batch_size = 0, 100
    with torch.inference_mode():
        for _ in range(images // batch_size):
            batch, labels = glyphs.draw_batch(pictures, batch_size, glyph_net.INPUT_SIZE, generator)
            right += int((model(normalize(batch)).argmax(dim=1) == labels).sum())
    return right / (images // batch_size * batch_size)


def normalize(images: Tensor) -> Tensor:
    """Shift and scale pixels in [0, 1] as the network expects them."""
    return (images - glyph_net.MEAN[0]) / glyph_net.STD[0]


def write(model: nn.Module, settings: PretrainSettings, path: Path) -> dict[str, Any]:
    """Write the weights to `path` and the record beside it (`.json`); return the record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    record = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "settings": asdict(settings),
        "data": _describe_data(settings),
        "source_accuracy": source_accuracy(model, EVALUATION_IMAGES),
        "source_accuracy_images": EVALUATION_IMAGES,
        "versions": _versions(),
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return record


def _optimizer(
    model: nn.Module, settings: PretrainSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.SGD(
        model.parameters(),
        settings.peak_lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.peak_lr, total_steps=settings.steps, pct_start=settings.warmup_fraction
    )
    return optimizer, schedule


def _describe_data(settings: PretrainSettings) -> dict[str, Any]:
    return {
        "task": "rendered letters and symbols with random distortions, no digits (multirate_core.models.glyphs)",
        "classes": list(glyphs.GLYPHS),
        "images": settings.steps * settings.batch_size,
        "image_size": glyph_net.INPUT_SIZE,
        "mean": list(glyph_net.MEAN),
        "std": list(glyph_net.STD),
    }


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "pillow", "safetensors")}
    cpu = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {"python": platform.python_version(), **packages, "cpu": cpu}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line (or `arguments`), train, write, and print the record as one line of JSON."""
    parser = argparse.ArgumentParser(description="Train the weights of the offline default pair.")
    parser.add_argument("--out", type=Path, required=True, help="where the .safetensors file goes")
    parser.add_argument("--steps", type=int, default=PretrainSettings.steps, help="optimiser steps (default: all)")
    parser.add_argument("--seed", type=int, default=PretrainSettings.seed)
    options = parser.parse_args(arguments)
    settings = PretrainSettings(seed=options.seed, steps=options.steps)
    print(json.dumps(write(pretrain(settings), settings, options.out), ensure_ascii=False))


if __name__ == "__main__":
    main()
