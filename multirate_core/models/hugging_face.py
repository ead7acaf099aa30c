"""Text networks of Hugging Face's transformers, from a local folder or from the hub; transformers is optional.

No code that comes with a checkpoint is run, and weights are read as tensors only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import nn

from multirate_core.config import ModelConfig
from multirate_core.errors import DownloadError, ModelError, WeightsError
from multirate_core.models.catalog import ModelInfo, source_of
from multirate_core.models.tokenizer import TextTokenizer, digest_of
from multirate_core.network import patience

_LISTED: Final = 5  # names in a note before "and so on"
# What transformers raises about a folder or a name that does not work, by what is wrong with it.
_UNFIT: Final = (ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError)


def build_skeleton(info: ModelInfo, source: str, num_classes: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a network with random weights; under `torch.device("meta")` no memory is taken.

    Returns:
        The network and the module paths of its head.

    Raises:
        ModelError: transformers is missing, or there is no such network.
        DownloadError: its description has to be downloaded and the network does not give it.
    """
    with _asking(info, source) as place:
        config = _transformers().AutoConfig.from_pretrained(place, num_labels=num_classes, **_open(place))
        model: nn.Module = _transformers().AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    return model, head_of(model)


def build_pretrained(
    info: ModelInfo, source: str, num_classes: int
) -> tuple[nn.Module, tuple[str, ...], tuple[str, ...]]:
    """Make a network with the checkpoint's weights; its head is new unless the checkpoint's has as many classes.

    Returns:
        The network, the module paths of its head, and notes on where the weights come from and what is new.

    Raises:
        ModelError: transformers is missing, or there is no such network.
        WeightsError: the checkpoint lacks weights outside the head and the pooler before it.
        DownloadError: it has to be downloaded and the network does not give it.
    """
    with _asking(info, source) as place:
        model, found = _transformers().AutoModelForSequenceClassification.from_pretrained(
            place,
            num_labels=num_classes,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_open(place),
        )
    head = head_of(model)
    other_size = [each[0] for each in found["mismatched_keys"]]
    notes = _notes(info, place, head, sorted(found["missing_keys"]), other_size)
    return model, head, notes


def load_tokenizer(info: ModelInfo, config: ModelConfig) -> TextTokenizer:
    """Return the checkpoint's own tokenizer; errors as in `build_skeleton`."""
    with _asking(info, config.source) as place:
        tokenizer = _transformers().AutoTokenizer.from_pretrained(place, **_open(place))
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {place} has no token to fill short texts with, so it cannot make batches.")

    def encode(texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        rows: list[list[int]] = tokenizer(
            list(texts), truncation=True, max_length=max_tokens, return_attention_mask=False
        )["input_ids"]
        return rows

    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return TextTokenizer(encode, tokenizer.pad_token_id, digest_of(type(tokenizer).__name__ + content))


def head_of(model: nn.Module) -> tuple[str, ...]:
    """Return what a classification network adds to its base model: the modules beside it that hold weights.

    Source: the fast part "fc" of DistilBERT is pre_classifier and classifier (Vlaar & Leimkuhler, ICML 2022).
    """
    base = getattr(model, "base_model_prefix", "")
    return tuple(name for name, child in model.named_children() if name != base and [*child.parameters()])


def _notes(
    info: ModelInfo, place: str, head: Sequence[str], missing: Sequence[str], other_size: Sequence[str]
) -> tuple[str, ...]:
    """Say which weights are the checkpoint's; WeightsError if it lacks any that matter."""
    in_head = tuple(f"{path}." for path in head)
    lacking = [name for name in (*missing, *other_size) if not name.startswith(in_head) and ".pooler." not in name]
    if lacking:
        raise WeightsError(
            f"the checkpoint {place} does not fit: {len(lacking)} weights outside the head are missing or of another "
            f"shape: {_listed(lacking)}. Give the folder of a whole checkpoint, or use weights 'none'."
        )
    notes = [f"Pretrained weights: {info.title if place == info.hub else Path(place).name} from Hugging Face."]
    new = [name for name in (*missing, *other_size) if name.startswith(in_head)]
    poolers = [name for name in missing if ".pooler." in name and name not in new]
    if poolers:
        notes.append(f"New, with random weights, because the checkpoint lacks them: {_listed(poolers)}.")
    if other_size:
        notes.append("The head is new, with random weights: the checkpoint's has another number of classes.")
    elif new:
        notes.append(f"The head is new, with random weights: {_listed(sorted(new))}.")
    else:
        notes.append("The checkpoint's head has as many classes and is used.")
    return tuple(notes)


@contextlib.contextmanager
def _asking(info: ModelInfo, source: str) -> Iterator[str]:
    """Yield the folder or the hub name, and say in words why it does not work."""
    place = source_of(info, source)
    folder = Path(place).expanduser()
    if folder.is_dir():
        place = str(folder)
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder} holds no config.json, so it is no network of transformers. Check the path.")
    elif len(folder.parts) != 2 or folder.is_absolute():
        raise ModelError(
            f"{place[:200]!r} is neither a folder nor a name on the hub, which has the form owner/name. Check it."
        )
    if importlib.util.find_spec("transformers") is None:
        raise ModelError(f"{info.title} needs the package transformers. Install it: pip install 'transformers>=4.57'.")
    try:
        with patience(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            yield place
    except OSError as error:
        if folder.is_dir():
            raise WeightsError(f"{place} cannot be read: {_first_line(error)}") from error
        raise DownloadError(
            f"{place} cannot be had from the hub: {_first_line(error)} Check the name, or get it on another machine "
            "and give its folder as the source."
        ) from error
    except _UNFIT as error:
        raise ModelError(f"{place} is no network that classifies texts: {_first_line(error)}") from error


def _open(place: str) -> dict[str, Any]:
    """Return how a checkpoint is opened: never with code of its own, and a folder without asking the hub."""
    return {"trust_remote_code": False, "local_files_only": Path(place).is_dir()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' reports and progress bars out of the log: what matters of them stands in the notes."""
    logging = _transformers().logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _transformers() -> Any:
    import transformers  # optional, and takes seconds

    return transformers


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.rstrip(".")[:300] + "."
