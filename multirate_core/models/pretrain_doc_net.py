"""Train the offline text pair's tokenizer and weights: `python -m multirate_core.models.pretrain_doc_net --out DIR`.

Two tasks at once on the documentation of the running Python's standard library and of half of the files of eight
packages: guess masked tokens, and find which two stretches of text come from one docstring. No label is used. One
thread and deterministic kernels: on one machine, with one set of versions, the files come out the same bit for bit.
Beside them stands a JSON record of the seed, text, settings, versions, check sums, losses and seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.models import doc_net
from multirate_core.models.masked_tokens import batches, mask, pad, token_rows, two_crops
from multirate_core.models.python_packages import PACKAGES, package_docstrings
from multirate_core.models.python_text import standard_library_texts

HELD_OUT: Final = 50  # every fiftieth text is for evaluation only
EVALUATION_SEED: Final = 1_000_003
EVALUATION_BATCHES: Final = 20
HEAD_PREFIX: Final = "head."  # of names that are not written: a head belongs to its task


@dataclass(frozen=True)
class PretrainSettings:
    """What decides tokenizer and weights; `peak_lr` and weight decay are of AdamW, one-cycle schedule."""

    seed: int = 0
    steps: int = 4000
    batch_size: int = 32  # docstrings, of which each gives two crops
    peak_lr: float = 2e-3
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    masked_fraction: float = 0.15
    masked_weight: float = 0.3  # of the loss for masked tokens; that of the pairs counts 1
    temperature: float = 0.07  # similarities of pairs are divided by it
    max_files: int | None = None  # of the standard library; None: all, the help topics, and the packages


QUICK: Final = PretrainSettings(steps=30, batch_size=16, max_files=12)


@dataclass(frozen=True)
class Losses:
    """Means over held-out texts, in nats: per masked token, and per crop whose other half is to be found."""

    masked: float
    pairs: float


@dataclass(frozen=True)
class Pretrained:
    """What a run gives; losses are those before the first step and after the last."""

    tokenizer: Tokenizer
    model: doc_net.DocNet
    text: dict[str, Any]
    before: Losses
    after: Losses
    seconds: float


class Pretrainer(nn.Module):
    """The network with a head for masked tokens, which reads them off the tokens' embedding, and one for whole texts.

    Sources: J. Devlin et al., BERT, NAACL 2019 (arXiv 1810.04805), section 3.1, of the masked tokens; G. Izacard et
    al., Unsupervised Dense Information Retrieval with Contrastive Learning, TMLR 2022 (arXiv 2112.09118), section 3.1,
    of crops as pairs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = doc_net.DocNet(num_classes=1)
        self.dense = nn.Linear(doc_net.WIDTH, doc_net.WIDTH)
        self.norm = nn.LayerNorm(doc_net.WIDTH)
        self.bias = nn.Parameter(torch.zeros(doc_net.VOCABULARY))
        self.direction = nn.Linear(doc_net.WIDTH, doc_net.WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is guessed of tokens and of texts.

        Args:
            input_ids: int64 (B, L).
            attention_mask: bool (B, L), False at padding.
            chosen: bool (B, L), the tokens to be guessed.

        Returns:
            Scores (number of True in `chosen`, VOCABULARY), and directions (B, WIDTH) of length 1.
        """
        encoded = self.network.encode(input_ids, attention_mask)
        hidden = self.norm(functional.gelu(self.dense(encoded[chosen])))
        scores = functional.linear(hidden, self.network.tokens.weight, self.bias)
        mean = self.network.mean(encoded, attention_mask)
        return scores, functional.normalize(self.direction(mean), dim=1)


def pretrain(settings: PretrainSettings) -> Pretrained:
    """Train tokenizer and network; equal settings and equal versions give equal bits."""
    started = time.perf_counter()
    with _reproducible():
        texts = _texts(settings.max_files)
        tokenizer = train_tokenizer(texts)
        rows = token_rows(tokenizer, texts)
        held_out, training = rows[::HELD_OUT], [row for i, row in enumerate(rows) if i % HELD_OUT]
        torch.manual_seed(settings.seed)
        model = Pretrainer()
        before = evaluate(model, held_out, settings)
        _train(model, training, settings)
        after = evaluate(model, held_out, settings)
    seconds = time.perf_counter() - started
    return Pretrained(tokenizer, model.network, _describe_text(texts, rows), before, after, seconds)


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Train byte-level byte-pair encoding in lower case, so that no text has an unknown token.

    Args:
        texts: at least one.

    Returns:
        A tokenizer of at most `doc_net.VOCABULARY` tokens that puts [CLS] before every text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=doc_net.VOCABULARY,
        special_tokens=list(doc_net.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    first = doc_net.SPECIAL_TOKENS[doc_net.CLS_ID]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, doc_net.CLS_ID)]
    )
    return tokenizer


def evaluate(model: Pretrainer, rows: Sequence[list[int]], settings: PretrainSettings) -> Losses:
    """Return the losses with crops and masks that are the same every time."""
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    size = min(settings.batch_size, len(rows))
    found = []
    with torch.inference_mode():
        for batch in islice(batches(rows, size, generator), EVALUATION_BATCHES):
            masked, pairs = _losses(model, batch, settings, generator)
            found.append((masked.item(), pairs.item()))
    masked_losses, pair_losses = zip(*found, strict=True)
    return Losses(fmean(masked_losses), fmean(pair_losses))


def write(result: Pretrained, settings: PretrainSettings, folder: Path) -> dict[str, Any]:
    """Write weights (float16, without the head), tokenizer and record to `folder`; return the record."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, tokenizer = (folder / path.name for path in (doc_net.ASSET_PATH, doc_net.TOKENIZER_PATH))
    state = {name: t.half() for name, t in result.model.state_dict().items() if not name.startswith(HEAD_PREFIX)}
    save_file(state, weights)
    tokenizer.write_text(result.tokenizer.to_str(), encoding="utf-8", newline="\n")
    record = {
        "file": weights.name,
        "sha256": _sha256(weights),
        "bytes": weights.stat().st_size,
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "tokenizer_file": tokenizer.name,
        "tokenizer_sha256": _sha256(tokenizer),
        "tokenizer_bytes": tokenizer.stat().st_size,
        "vocabulary": result.tokenizer.get_vocab_size(),
        "settings": asdict(settings),
        "text": result.text,
        "held_out_before": {name: round(loss, 4) for name, loss in asdict(result.before).items()},
        "held_out_after": {name: round(loss, 4) for name, loss in asdict(result.after).items()},
        "seconds": round(result.seconds),
        "versions": _versions(),
    }
    path = folder / doc_net.RECORD_PATH.name
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


@contextmanager
def _reproducible() -> Iterator[None]:
    """Keep torch to one thread and deterministic algorithms for a while: sums have one order."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)


def _texts(max_files: int | None) -> list[str]:
    """Return the texts without doubles: of the standard library, and of the packages unless only some files count."""
    texts = standard_library_texts(max_files)
    if max_files is None:
        texts += package_docstrings("pretraining")
    return list(dict.fromkeys(texts))


def _train(model: Pretrainer, rows: Sequence[list[int]], settings: PretrainSettings) -> None:
    optimizer, schedule = _optimizer(model, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    endless = batches(rows, settings.batch_size, generator)
    means = [0.0, 0.0]  # of the two losses, over about a hundred steps
    for step in range(1, settings.steps + 1):
        optimizer.zero_grad()
        masked, pairs = _losses(model, next(endless), settings, generator)
        (settings.masked_weight * masked + pairs).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        now = (masked.item(), pairs.item())
        means = [mean + (loss - mean) / min(step, 100) for mean, loss in zip(means, now, strict=True)]
        if step % 100 == 0:
            told = f"masked tokens {means[0]:.3f}, pairs {means[1]:.3f}"
            print(f"step {step} of {settings.steps}: {told}", file=sys.stderr, flush=True)


def _losses(
    model: Pretrainer, rows: Sequence[list[int]], settings: PretrainSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the mean loss over the masked tokens, and over the crops: which of the other crops is its neighbour?"""
    first, second = zip(*(two_crops(row, generator) for row in rows), strict=True)
    input_ids = pad([*first, *second])
    shown, chosen = mask(input_ids, settings.masked_fraction, generator)
    scores, directions = model(shown, input_ids != doc_net.PAD_ID, chosen)
    likeness = directions[: len(rows)] @ directions[len(rows) :].T / settings.temperature
    own = torch.arange(len(rows))
    pairs = (functional.cross_entropy(likeness, own) + functional.cross_entropy(likeness.T, own)) / 2
    return functional.cross_entropy(scores, input_ids[chosen]), pairs


def _optimizer(
    model: nn.Module, settings: PretrainSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.peak_lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.peak_lr, total_steps=settings.steps, pct_start=settings.warmup_fraction
    )
    return optimizer, schedule


def _describe_text(texts: Sequence[str], rows: Sequence[list[int]]) -> dict[str, Any]:
    return {
        "source": "docstrings and help topics of Python's standard library (multirate_core.models.python_text), and "
        "docstrings of half of the files of eight packages (multirate_core.models.python_packages)",
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "tokens": sum(map(len, rows)),
        "rows": len(rows),
        "sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("tokenizers", "safetensors", *PACKAGES)}
    cpu = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {"python": platform.python_version(), **packages, "cpu": cpu}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line (or `arguments`), train, write, and print the record as one line of JSON."""
    parser = argparse.ArgumentParser(description="Train tokenizer and weights of the offline text pair.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--quick", action="store_true", help="a trial of seconds on a little text; no use but to try")
    options = parser.parse_args(arguments)
    settings = QUICK if options.quick else PretrainSettings()
    print(json.dumps(write(pretrain(settings), settings, options.out)))


if __name__ == "__main__":
    main()
