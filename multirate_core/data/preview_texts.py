"""A look at texts: counts, the first words of a few, lengths, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data.catalog import DEFAULT_TOKENS, DataInfo
from multirate_core.data.preview_findings import (
    chosen_rows,
    count_classes,
    find_duplicates,
    problems_of,
    spread_rows,
)
from multirate_core.data.preview_form import MOST_SAMPLES, DataPreview, Lengths, Sample
from multirate_core.data.registry import limited_texts, text_rows
from multirate_core.data.texts import TextRows
from multirate_core.errors import DataError, MultirateError
from multirate_core.models.catalog import model_info
from multirate_core.models.tokenizer import TextTokenizer, tokenizer_of

SHOWN_CHARACTERS: Final = 200
MEASURED_TEXTS: Final = 2_000
_LONGEST: Final = 8_192  # tokens up to which a length is told


def look_at_texts(info: DataInfo, config: DataConfig, model: ModelConfig) -> DataPreview:
    """Return the preview of a text data set; errors as in `registry.load_texts`."""
    rows, bad = _rows(info, config)
    rows = limited_texts(rows, config, seed=0)
    texts, labels = rows.train_texts, rows.train_labels
    both = [*texts, *rows.test_texts]
    looked = chosen_rows(len(both))
    duplicates = find_duplicates(
        [(_normal(both[row]), labels[row]) for row in looked if row < len(texts)],
        [_normal(both[row]) for row in looked if row >= len(texts)],
    )
    classes = count_classes(rows.class_names, labels, rows.test_labels)
    part = [f"Looked at {MOST_SAMPLES:,} of {len(both):,} texts."] if len(both) > len(looked) else []
    return DataPreview(
        title=info.title,
        holds="texts",
        train_samples=len(texts),
        test_samples=len(rows.test_texts),
        classes=classes,
        samples=tuple(Sample(rows.class_names[labels[row]], _cut(texts[row])) for row in spread_rows(labels)),
        edges=None,
        lengths=_lengths([both[row] for row in looked[:MEASURED_TEXTS]], config, model),
        duplicates=duplicates,
        problems=(*bad, *problems_of(classes, duplicates)),
        notes=(*rows.notes, *part),
    )


def _rows(info: DataInfo, config: DataConfig) -> tuple[TextRows, list[str]]:
    """Return the rows, without the bad ones of a table, and what a race would stumble over."""
    try:
        return text_rows(info, config, 0, _silent), []
    except DataError as error:
        if config.bad_images == "skip":
            raise
        return text_rows(info, replace(config, bad_images="skip"), 0, _silent), [str(error)]


def _silent(_: str) -> None:
    """Take a line about the progress and drop it."""


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _lengths(texts: Sequence[str], config: DataConfig, model: ModelConfig) -> Lengths:
    """Count tokens where the network's tokenizer is at hand, and words otherwise."""
    tokenizer, info = _tokenizer(model), model_info(model.name)
    if tokenizer is None:
        return Lengths("words", *_middle_and_most([len(text.split()) for text in texts]), len(texts))
    limit = config.max_tokens or min(DEFAULT_TOKENS, info.most_tokens)
    counts = [len(row) for row in tokenizer.encode(texts, max(_LONGEST, limit + 1))]
    cut = sum(count > limit for count in counts) / len(counts)
    return Lengths("tokens", *_middle_and_most(counts), len(texts), limit, cut)


def _tokenizer(model: ModelConfig) -> TextTokenizer | None:
    """Return the network's tokenizer; None if it takes images, or the tokenizer is not on this machine."""
    info = model_info(model.name)
    at_hand = info.maker != "hugging_face" or (model.source and Path(model.source).expanduser().is_dir())
    if info.takes != "texts" or not at_hand:
        return None
    try:
        return tokenizer_of(model)
    except MultirateError:  # a race with this network says why
        return None


def _middle_and_most(counts: Sequence[int]) -> tuple[int, int]:
    """Return the median and the 95th percentile, both of them lengths that occur."""
    ordered = sorted(counts)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[round(0.95 * last)]
