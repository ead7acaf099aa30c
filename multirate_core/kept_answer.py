"""Answers that another process makes and that are kept on disk, so that the page never imports what they need.

The file's name is a digest of whatever shapes the answer. Beside it stands the reason if there is none.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from multirate_core.errors import StoreError
from multirate_core.home import subfolder

LOG_TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class KeptAnswer:
    """Where an answer is kept, and what makes it.

    Args:
        module: run with `python -m`; it gets `request` and calls `write` or `fail`.
        request: JSON.
        folder: inside the user data folder.
        key: as `digest` gives it.
        what: the answer in words, for errors: "the layer tree of glyph_net".
    """

    module: str
    request: str
    folder: str
    key: str
    what: str

    @property
    def path(self) -> Path:
        """Return where the answer lies once it is made."""
        return subfolder(self.folder) / f"{self.key}.json"

    @property
    def error_path(self) -> Path:
        """Return where the reason lies if it cannot be made."""
        return subfolder(self.folder) / f"{self.key}.error.json"

    @property
    def log_path(self) -> Path:
        """Return where the process's output goes."""
        return subfolder("logs") / f"{self.folder}-{self.key}.log"


def digest(facts: Sequence[object]) -> str:
    """Return a file name for everything that shapes an answer; the facts must have a JSON form."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


@lru_cache
def version_of(package: str) -> str:
    """Return the installed version without importing the package, "" if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def read_error(answer: KeptAnswer) -> str | None:
    """Return why the answer could not be made; None if that was not tried or went well."""
    try:
        return str(json.loads(answer.error_path.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start(answer: KeptAnswer) -> subprocess.Popen[bytes]:
    """Have the answer made by another process, output to a log file; two at once do no harm.

    Raises:
        StoreError: the user data folder cannot be written, or no process can be started.
    """
    command = [sys.executable, "-m", answer.module, answer.request]
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        answer.error_path.unlink(missing_ok=True)
        with answer.log_path.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )
    except OSError as error:
        raise StoreError(f"{answer.what} cannot be made: {error.strerror or error}.") from error


def silent_end(answer: KeptAnswer, process: subprocess.Popen[bytes]) -> str | None:
    """Return the end of the log of a process that has ended and left no answer; None while it runs."""
    code = process.poll()
    if code is None:
        return None
    try:
        tail = answer.log_path.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].strip()
    except OSError:
        tail = ""
    return f"making {answer.what} ended with exit code {code}. {tail}".strip()


def fail(answer: KeptAnswer, message: str) -> int:
    """Keep the reason why there is no answer; return the exit code of the process that makes it."""
    write(answer.error_path, json.dumps({"error": message}))
    print(message, file=sys.stderr)
    return 2


def write(path: Path, text: str) -> None:
    """Write all or nothing: a reader never sees half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
