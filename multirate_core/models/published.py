"""Published weights: torchvision's by download into torch's own cache, the offline network's from this project."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor

from multirate_core.errors import DownloadError, WeightsError
from multirate_core.models.catalog import OFFLINE_NAME, OFFLINE_TEXT_NAME
from multirate_core.models.weights import read_weights
from multirate_core.network import FAILURES, patience


def published_weights(name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a network's own pretrained weights and a note on where they come from.

    Raises:
        DownloadError: they are not in the cache and the network does not give them.
        WeightsError: the file is damaged.
    """
    if name in (OFFLINE_NAME, OFFLINE_TEXT_NAME):
        return _shipped_weights(name)
    entry = torchvision_entry(name)
    file = fetch(entry.url)
    tensors, notes = read_weights(file)
    return tensors, (f"Pretrained weights: torchvision's {entry} ({file.name}).", *notes)


def torchvision_entry(name: str) -> Any:
    """Return torchvision's record (url, transforms, meta) of the weights it recommends for a network."""
    import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT


def fetch(url: str) -> Path:
    """Return the file behind `url` in torch's cache folder; download it if it is not there yet.

    The part of the name after the last dash is the beginning of the file's SHA-256, and a download is checked
    against it.

    Raises:
        DownloadError: no network, a wrong check sum, or a cache folder that cannot be written.
    """
    file = cache_folder() / Path(urlparse(url).path).name
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with patience():
            torch.hub.download_url_to_file(url, str(file), file.stem.rpartition("-")[2], progress=False)
    except FAILURES as error:
        raise DownloadError(
            f"{file.name} cannot be downloaded from {urlparse(url).netloc}: {error}. Get it on another machine and put "
            f"it into {file.parent}, or use weights 'none' or the path of a local file."
        ) from error
    return file


def cache_folder() -> Path:
    """Return the folder in which torch keeps downloaded weights; `TORCH_HOME` moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _shipped_weights(name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    from multirate_core.models import doc_net, glyph_net

    documentation = "documentation of Python and of installed packages"
    path, digest, script, origin = {
        OFFLINE_NAME: (glyph_net.ASSET_PATH, glyph_net.SHA256, "pretrain_glyphs", "rendered letters"),
        OFFLINE_TEXT_NAME: (doc_net.ASSET_PATH, doc_net.SHA256, "pretrain_doc_net", documentation),
    }[name]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise WeightsError(
            f"the shipped weights {path} are missing or damaged: their SHA-256 must be {digest}. "
            f"Install the project again, or run multirate_core.models.{script}."
        )
    tensors, notes = read_weights(path)
    return tensors, (f"Pretrained weights: {path.name}, trained by this project on {origin}.", *notes)
