"""A look at the data before a race: made outside the calling process and kept, so that the page loads no torch.

`request_of` says what is looked at and how new its files are, `read` looks for an answer, `start` has one made by
`python -m multirate_core.data.preview`. Nothing is downloaded but a data set from Hugging
Face's hub, and nothing else is written beside the answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from multirate_core import __version__, kept_answer
from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data.catalog import DataInfo, data_info
from multirate_core.data.hub_facts import is_hub_name
from multirate_core.data.preview_form import MOST_SAMPLES, PREVIEW_VERSION, DataPreview, from_json, to_json
from multirate_core.errors import DataError, MultirateError
from multirate_core.home import subfolder
from multirate_core.kept_answer import KeptAnswer, digest

KEPT_FILES: Final = 50  # the newest ones
MODULE: Final = "multirate_core.data.preview"


@dataclass(frozen=True)
class PreviewRequest:
    """Which data, for which network, and when the newest of the files was written (0: nothing to look at)."""

    data: DataConfig
    model: ModelConfig
    modified_ns: int


@dataclass(frozen=True)
class PreviewError:
    """Why there is no preview; `start` tries again."""

    message: str


def preview(config: DataConfig, model: ModelConfig) -> DataPreview:
    """Look at a data set in this process: at most 20,000 samples of it, for about 20 seconds at most.

    Args:
        config: which data; missing files are not downloaded.
        model: the network, whose tokenizer counts the texts' tokens if it is at hand.

    Raises:
        DataError: the data are missing or cannot be read at all.
        ConfigError: the data need a path and have none.
    """
    info, config = data_info(config.name), replace(config, download=False, num_classes=None)
    try:
        found = _look(info, config, model)
    except OSError as error:
        raise DataError(f"{error.filename or config.name} cannot be read: {error.strerror or error}.") from error
    limits = (("training", config.train_images, found.train_samples), ("test", config.test_images, found.test_samples))
    notes = [
        f"The settings limit the {part} part to {count:,} {found.holds}."
        for part, limit, count in limits
        if limit == count
    ]
    return replace(found, notes=(*found.notes, *notes))


def _look(info: DataInfo, config: DataConfig, model: ModelConfig) -> DataPreview:
    """Look at one kind of data, with modules that load torch."""
    if info.holds == "texts":
        from multirate_core.data import preview_texts

        return preview_texts.look_at_texts(info, config, model)
    from multirate_core.data import preview_images

    if info.source == "folder":
        return preview_images.look_at_folder(info, config)
    return preview_images.look_at_images(info, config)


def request_of(config: DataConfig, model: ModelConfig) -> PreviewRequest:
    """Return the request for a look at these data as they are now; up to 20,000 files are asked for their age."""
    source = data_info(config.name).source
    elsewhere = source == "shipped" or (source == "hub" and is_hub_name(config.path or ""))
    place = Path(config.path).expanduser() if config.path else subfolder("data")
    return PreviewRequest(replace(config, download=False), model, 0 if elsewhere else _newest_ns(place))


def read(request: PreviewRequest) -> DataPreview | PreviewError | None:
    """Return the preview if it was made, why it could not be made, or None if nobody knows yet."""
    kept = _kept(request)
    try:
        return _read(kept.path, kept.path.stat().st_mtime_ns)
    except (OSError, DataError):  # not there, or damaged: start() makes it
        reason = kept_answer.read_error(kept)
    return None if reason is None else PreviewError(reason)


def start(request: PreviewRequest) -> subprocess.Popen[bytes]:
    """Have the preview made by another process; arguments and errors as in `kept_answer.start`."""
    return kept_answer.start(_kept(request))


def outcome(request: PreviewRequest, process: subprocess.Popen[bytes]) -> DataPreview | PreviewError | None:
    """Return what `read` returns; if the process died without a word, an error with the end of its log."""
    ended = process.poll() is not None
    answer = read(request)
    if answer is not None or not ended:
        return answer
    return PreviewError(kept_answer.silent_end(_kept(request), process) or "")


def main(arguments: Sequence[str]) -> int:
    """Make one preview and write it, or the reason why not; return the exit code."""
    raw = json.loads(arguments[0])
    request = PreviewRequest(DataConfig(**raw["data"]), ModelConfig(**raw["model"]), raw["modified_ns"])
    try:
        kept_answer.write(_kept(request).path, to_json(preview(request.data, request.model)))
        _drop_old(_kept(request).path.parent)
    except MultirateError as error:
        return kept_answer.fail(_kept(request), str(error))
    except Exception as error:
        kept_answer.fail(_kept(request), f"{request.data.name} cannot be shown: {type(error).__name__}: {error}")
        raise
    return 0


def _drop_old(folder: Path) -> None:
    """Let the oldest previews go: a folder of photos that grows has a new one after every photo."""
    files = sorted(folder.glob("*.json"), key=_modified_ns, reverse=True)
    for old in files[KEPT_FILES:]:
        old.unlink(missing_ok=True)


@lru_cache(maxsize=16)
def _read(path: Path, modified_ns: int) -> DataPreview:  # noqa: ARG001 - a new time is a new preview
    return from_json(path.read_text(encoding="utf-8"))


def _kept(request: PreviewRequest) -> KeptAnswer:
    text = json.dumps(asdict(request))
    return KeptAnswer(MODULE, text, "previews", key(request), f"the preview of {request.data.name}")


def key(request: PreviewRequest) -> str:
    """Return what the answer is filed under."""
    return digest([asdict(request), PREVIEW_VERSION, __version__])


def _newest_ns(place: Path) -> int:
    """Return when the newest file or folder was written, itself included; 0 if there is nothing to read."""
    return max(map(_modified_ns, (place, *islice(_below(place), MOST_SAMPLES))))


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def _below(place: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(place):
        folders.sort()
        yield from (Path(parent) / name for name in (*folders, *files))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
