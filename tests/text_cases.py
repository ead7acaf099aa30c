"""Tiny checkpoints of the families that people fine-tune on texts, made here: a vocabulary of words, random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = ["a", "bad", "good", "film", "was", "the", "very", "not", "what", "who", "where", "is", "it", "and", "or"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FAMILIES = ("distilbert", "bert", "roberta", "deberta-v2")
HEADS = {
    "distilbert": ("pre_classifier", "classifier"),
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "deberta-v2": ("pooler", "classifier"),
}


def save_checkpoint(family: str, folder: Path, labels: int | None = None, seed: int = 0) -> Path:
    """Write a tiny pretrained network with its tokenizer, as `save_pretrained` does.

    Args:
        family: of FAMILIES.
        folder: made if it is missing.
        labels: None writes the network without a classification head, as published encoders are.
        seed: of the weights.
    """
    import transformers

    torch.manual_seed(seed)
    config = _config(family, labels or 2)
    make = transformers.AutoModel if labels is None else transformers.AutoModelForSequenceClassification
    make.from_config(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _config(family: str, labels: int) -> Any:
    import transformers

    sizes: dict[str, Any] = {"vocab_size": len(SPECIAL) + len(WORDS), "pad_token_id": 0, "num_labels": labels}
    if family == "distilbert":
        return transformers.DistilBertConfig(
            dim=16, n_layers=4, n_heads=2, hidden_dim=32, max_position_embeddings=1024, **sizes
        )
    sizes |= {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    return transformers.AutoConfig.for_model(family, max_position_embeddings=1026, **sizes)


def _tokenizer() -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
