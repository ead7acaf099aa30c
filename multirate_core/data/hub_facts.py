"""Classes and sizes of a data set from Hugging Face: found by another process and kept, so that the page loads none.

`read` looks for an answer, `start` has one made by `python -m multirate_core.data.hub_facts`; `facts_of` waits for it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from multirate_core import __version__, kept_answer
from multirate_core.config import BadImages, DataConfig
from multirate_core.data.texts import TextRows
from multirate_core.errors import ConfigError, DataError, MultirateError
from multirate_core.kept_answer import KeptAnswer, digest, version_of

MODULE: Final = "multirate_core.data.hub_facts"
POLL_S: Final = 0.05
_MOST_FILES: Final = 10_000  # asked for their age
_HUB_NAME: Final = re.compile(r"[A-Za-z0-9_-][\w.-]{0,95}/[A-Za-z0-9_-][\w.-]{0,95}(:[\w.-]{1,95})?", re.ASCII)


@dataclass(frozen=True)
class HubRequest:
    """Which data set, how it is read, when the newest file of a local folder was written (0: on the hub), and whether a
    name on the hub may be downloaded, which changes no answer.
    """

    path: str
    text_column: str | None
    label_column: str | None
    bad_rows: BadImages
    share: float | None
    modified_ns: int
    download: bool = False


@dataclass(frozen=True)
class HubFacts:
    """Class names in the order of the labels, and how many texts the parts have, which does not depend on a seed."""

    class_names: tuple[str, ...]
    train_texts: int
    test_texts: int


@dataclass(frozen=True)
class HubError:
    """Why nothing can be told; `start` tries again."""

    message: str


def is_hub_name(text: str) -> bool:
    """Tell a name on the hub, owner/name or owner/name:configuration, from a folder."""
    return _HUB_NAME.fullmatch(text) is not None


def is_offline() -> bool:
    """Tell whether only what was downloaded before is taken from the hub's cache."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")


def require_leave(path: str, download: bool) -> None:
    """Require that a name on the hub may be downloaded; a folder always may be read.

    Raises:
        DataError: it may not.
    """
    if is_hub_name(path) and not download and not is_offline():
        raise DataError(
            f"{path} would have to be downloaded from the hub. Allow it: --download on the command line, “Download it "
            "if it is missing” on the page."
        )


def request_of(config: DataConfig) -> HubRequest:
    """Return the request for the data as they are now; ConfigError if no name and no folder is given."""
    if not config.path:
        raise ConfigError(
            f"the data set {config.name!r} needs a path: a folder, or a name on the hub as owner/name or "
            "owner/name:configuration."
        )
    modified = 0 if is_hub_name(config.path) else _newest_ns(Path(config.path).expanduser())
    columns = config.text_column, config.label_column
    return HubRequest(config.path, *columns, config.bad_images, config.random_share, modified, config.download)


def facts_of(config: DataConfig) -> HubFacts:
    """Return the facts; where nobody has asked before, another process finds them, and this one waits.

    Raises:
        DataError: the data cannot be had or are unfit.
        ConfigError: no name and no folder is given.
    """
    request = request_of(config)
    found = read(request)
    if not isinstance(found, HubFacts):
        require_leave(request.path, request.download)
        process = start(request)
        while (found := outcome(request, process)) is None:
            time.sleep(POLL_S)
        process.wait()
    if isinstance(found, HubError):
        raise DataError(found.message)
    return found


def read(request: HubRequest) -> HubFacts | HubError | None:
    """Return the facts if they were found, why they could not be, or None if nobody knows yet."""
    kept = _kept(request)
    try:
        raw = json.loads(kept.path.read_text(encoding="utf-8"))
        return HubFacts(tuple(raw["class_names"]), raw["train_texts"], raw["test_texts"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: start() makes it
        reason = kept_answer.read_error(kept)
    return None if reason is None else HubError(reason)


def start(request: HubRequest) -> subprocess.Popen[bytes]:
    """Have the facts found by another process; arguments and errors as in `kept_answer.start`."""
    return kept_answer.start(_kept(request))


def outcome(request: HubRequest, process: subprocess.Popen[bytes]) -> HubFacts | HubError | None:
    """Return what `read` returns; if the process died without a word, an error with the end of its log."""
    ended = process.poll() is not None
    answer = read(request)
    if answer is not None or not ended:
        return answer
    return HubError(kept_answer.silent_end(_kept(request), process) or "")


def key(request: HubRequest) -> str:
    """Return what the answer is filed under."""
    return digest([asdict(replace(request, download=False)), __version__, version_of("datasets")])


def require_same(request: HubRequest, rows: TextRows) -> None:
    """Keep what was found by reading the whole set; DataError if it has other classes than were told before."""
    before = read(request)
    _keep(request, rows)
    if isinstance(before, HubFacts) and before.class_names != rows.class_names:
        raise DataError(f"{request.path} has other classes than when it was read last. Start the race again.")


def main(arguments: Sequence[str]) -> int:
    """Read one data set and write its facts, or the reason why not; return the exit code."""
    from multirate_core.data import hub_texts

    request = HubRequest(**json.loads(arguments[0]))
    try:
        rows = hub_texts.read_hub(
            request.path,
            text_column=request.text_column,
            label_column=request.label_column,
            share=request.share,
            bad_rows=request.bad_rows,
            download=request.download,
        )
        _keep(request, rows)
    except MultirateError as error:
        return kept_answer.fail(_kept(request), str(error))
    except Exception as error:
        kept_answer.fail(_kept(request), f"{request.path} cannot be read: {type(error).__name__}: {error}")
        raise
    return 0


def _keep(request: HubRequest, rows: TextRows) -> None:
    found = HubFacts(rows.class_names, len(rows.train_texts), len(rows.test_texts))
    kept_answer.write(_kept(request).path, json.dumps(asdict(found)))


def _kept(request: HubRequest) -> KeptAnswer:
    return KeptAnswer(MODULE, json.dumps(asdict(request)), "hub_facts", key(request), f"what {request.path} holds")


def _newest_ns(folder: Path) -> int:
    """Return when the newest file of a data set was written, at any depth; 0 if unknown."""
    try:
        return max(path.stat().st_mtime_ns for path in (folder, *islice(folder.rglob("*"), _MOST_FILES)))
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
