"""Small pure functions that turn values into what people read. No streamlit."""

from __future__ import annotations

import re

# Everything that Markdown or Streamlit's own directives (":red[...]", ":material/...:", "$...$") give a meaning to.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])")


def plain(value: object) -> str:
    """Return a text so that Markdown shows it as it is: names and messages may hold anything."""
    return _SPECIAL.sub(r"\\\1", str(value))


def count(number: float) -> str:
    """Return a count in three digits: 950, 12.3 k, 4.56 M, 1.20 G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def duration(seconds: float | None) -> str:
    """Return a duration: "8 s", "1 min 20 s", "2 h 5 min"; "unknown" for None."""
    if seconds is None:
        return "unknown"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as percent: "83.4 %"; "–" for None."""
    return "–" if fraction is None else f"{fraction * 100:.{digits}f} %"
