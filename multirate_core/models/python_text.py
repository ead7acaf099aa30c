"""Text that every Python installation has: docstrings, found without importing or running the code they stand in.

The source text of the offline text pair is the documentation of the standard library itself. No torch.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

# Not part of the library proper, or not of every installation.
_LEFT_OUT: Final = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "pydoc_data"}


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions, indentation removed, in order of appearance.

    Args:
        source: of one Python file; one that this Python cannot parse has none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # about escapes in other people's strings
            warnings.simplefilter("ignore", DeprecationWarning)  # the same, before Python 3.12
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    yield from _docstrings_below(tree)


def read_source(file: Path) -> str:
    """Return a file's text; bytes that are no UTF-8 are replaced."""
    return file.read_text(encoding="utf-8", errors="replace")


def python_files(root: Path, left_out: Set[str]) -> Iterator[Path]:
    """Yield the Python files below a folder, without entering folders that have a name in `left_out`."""
    for entry in root.iterdir():
        if entry.is_dir() and entry.name not in left_out:
            yield from python_files(entry, left_out)
        elif entry.suffix == ".py":
            yield entry


def standard_library_texts(max_files: int | None = None) -> list[str]:
    """Collect the docstrings and the help topics of the running Python's standard library.

    Args:
        max_files: read that many files, drawn without regard to their names, and no topics; default None: all.

    Returns:
        Texts without doubles, in an order that depends on the Python version alone.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(file.relative_to(root) for file in python_files(root, _LEFT_OUT))
    if max_files is not None:
        files = sorted(files, key=scattered)[:max_files]
    texts = [text for file in files for text in docstrings(read_source(root / file))]
    return list(dict.fromkeys(texts if max_files is not None else texts + _help_topics()))


def scattered(file: Path) -> bytes:
    """Return a sort key that puts files of one folder far from each other, the same on every machine."""
    return hashlib.sha256(file.as_posix().encode()).digest()


def _docstrings_below(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Nested functions have docstrings too, but hardly ever; they are left out."""
    text = ast.get_docstring(node)
    if text:
        yield text
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _docstrings_below(child)


def _help_topics() -> list[str]:
    """Return the language reference as `help()` shows it, by topic."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]
