"""Docstrings found in source text, and the text that every Python installation has."""

from __future__ import annotations

import subprocess
import sys

from multirate_core.models.python_text import docstrings, standard_library_texts

SOURCE = '''"""Of the module."""
raise SystemExit("this code must not run")

class Outer:
    """Of the class.

    Its second paragraph.
    """

    class Inner:
        "Of the inner class."

    def method(self):
        """Of the method: \\d is no escape that Python knows."""

async def function():
    """Of the function."""

def silent():
    return "no docstring"
'''


def test_docstrings_are_found_in_order_without_running_the_code() -> None:
    assert list(docstrings(SOURCE)) == [
        "Of the module.",
        "Of the class.\n\nIts second paragraph.",
        "Of the inner class.",
        "Of the method: \\d is no escape that Python knows.",
        "Of the function.",
    ]


def test_a_file_that_python_cannot_parse_has_no_docstrings() -> None:
    assert list(docstrings('"""Python 2."""\nprint "hello"')) == []
    assert list(docstrings('"""A null byte."""\n\0')) == []


def test_some_files_of_the_standard_library_give_the_same_texts_every_time_and_none_twice() -> None:
    texts = standard_library_texts(max_files=12)
    assert texts == standard_library_texts(max_files=12)
    assert len(texts) == len(set(texts)) > 20
    assert set(standard_library_texts(max_files=6)) < set(texts)


def test_reading_the_standard_library_needs_no_torch() -> None:
    program = (
        "import sys; from multirate_core.models.python_text import standard_library_texts; "
        "standard_library_texts(max_files=3); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
