"""Docstrings of packages that this project depends on, in two halves: one to pretrain on, one to make a task of.

A file belongs to one half by its name alone, so a docstring of the task was not seen in pretraining, but for texts that
stand in two files or have moved to another file since the versions that `assets/doc_net.json` names. Nothing is
imported or run. No torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from multirate_core.errors import DataError
from multirate_core.models.python_text import docstrings, python_files, read_source, scattered

Half = Literal["pretraining", "task"]

# Name as pip knows the package -> what is imported. All of them come with the project's requirements.
PACKAGES: Final = {
    "networkx": "networkx",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "streamlit": "streamlit",
    "sympy": "sympy",
    "torch": "torch",
}
PLACEHOLDER: Final = "library"  # stands for every name that would tell the package
_LEFT_OUT: Final = {"test", "tests", "testing", "_vendor", "vendor", "externals"}  # tests, and copies of other packages
_NAMES: Final = re.compile(
    r"[\w-]*(?:networkx|numpy|pandas|scikit|sklearn|scipy|streamlit|sympy|torch)[\w-]*"
    r"|\b(?:nx|np|pd|sk|sp|st)(?=\.\w)",
    re.IGNORECASE,
)


def package_files(name: str, half: Half) -> list[Path]:
    """Return the source files of a package's half, neighbours far from each other: the first ones are a fair sample.

    Args:
        name: a key of PACKAGES.
        half: which one.

    Raises:
        DataError: the package has no source files here.
    """
    spec = find_spec(PACKAGES[name])
    if spec is None or spec.origin is None:
        raise DataError(f"the docstrings of {name} cannot be read: {PACKAGES[name]} has no source files here.")
    root = Path(spec.origin).parent
    inside = (file.relative_to(root) for file in python_files(root, _LEFT_OUT))
    return [root / file for file in sorted(inside, key=scattered) if half_of(name, file) == half]


def half_of(name: str, file: Path) -> Half:
    """Return the half of a file, given relative to its package's folder."""
    digest = hashlib.sha256(f"{name}/{file.as_posix()}".encode()).digest()
    return "pretraining" if digest[0] % 2 else "task"


def package_docstrings(half: Half) -> Iterator[str]:
    """Yield the docstrings of a half of all packages, their names masked; DataError if one is not here."""
    for name in PACKAGES:
        for file in package_files(name, half):
            yield from map(without_names, docstrings(read_source(file)))


def without_names(text: str) -> str:
    """Return a text with PLACEHOLDER for the names of the packages and their usual abbreviations."""
    return _NAMES.sub(PLACEHOLDER, text)
