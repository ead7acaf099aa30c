"""The board's browser modules as the one script that Streamlit can take inline."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent

# In the order of their imports: each file uses only names from files before it.
SCRIPTS = (
    *("tree", "assignment", "rows", "format"),
    *("cost", "reach", "cost_words", "cost_view"),
    *("pane", "board", "drag", "keyboard", "menu", "index"),
)

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def bundle(scripts: Iterable[str] = SCRIPTS) -> str:
    """Join modules into one: without their imports of each other, and with the last one's default export.

    The files therefore share one scope: a top-level name may be used in one of them only, and imports may not
    rename. The browser refuses a script that declares a name twice, and a test reads the result with node.

    Args:
        scripts: names of modules without `.js`, each after those that it imports.

    Returns:
        The source of one JavaScript module.
    """
    sources = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in scripts]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", source)) for source in sources)
