"""What turns texts into the token numbers of one network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from multirate_core.config import ModelConfig
from multirate_core.models.catalog import model_info


@dataclass(frozen=True)
class TextTokenizer:
    """The tokenizer of a text network.

    Args:
        encode: texts and the most tokens of one -> the token numbers of each, special tokens included.
        pad_id: the token that fills short rows of a batch.
        digest: equal for tokenizers that give equal numbers; the key of what is kept.
    """

    encode: Callable[[Sequence[str], int], list[list[int]]]
    pad_id: int
    digest: str


def tokenizer_of(config: ModelConfig) -> TextTokenizer:
    """Return the tokenizer that belongs to a text network.

    Raises:
        ModelError, WeightsError: the network's tokenizer is missing or damaged.
        DownloadError: it has to be downloaded and the network does not give it.
    """
    info = model_info(config.name)
    if info.maker == "hugging_face":
        from multirate_core.models import hugging_face

        return hugging_face.load_tokenizer(info, config)
    return _shipped()


def _shipped() -> TextTokenizer:
    from multirate_core.models import doc_net

    tokenizer = doc_net.load_tokenizer()

    def encode(texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        tokenizer.enable_truncation(max_tokens)
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    return TextTokenizer(encode, doc_net.PAD_ID, digest_of(tokenizer.to_str()))


def digest_of(text: str) -> str:
    """Return a short name for a tokenizer's whole content."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]
