"""Small pure functions that turn values into what people read. No streamlit."""

from __future__ import annotations

import re

from multirate_core.metrics import METRIC_INFO, Metric

# Markdown lets every ASCII punctuation mark be escaped; Streamlit's own directives (":red[...]", "$...$") go with them.
_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")
# What Streamlit replaces after Markdown has taken the escapes away: ":streamlit:", icons, and arrows between spaces;
# and the three things that it makes a link of: https://example.com, www.example.com, me@example.com.
_REPLACED = re.compile(
    r"(?<!\S)[-<>~](?=[-=>]+(?!\S))|:(?=material|streamlit:)"
    r"|:(?=//)|www(?=\.)|(?<=[-.+\w])@(?=[-\w]+\.[-\w])",
    re.IGNORECASE,
)
_WORD_JOINER = "\u2060"  # takes no room, and no line is broken at it


def plain(value: object) -> str:
    """Return a text so that Markdown shows it as it is: names and messages may hold anything.

    Spaces at the beginning of a line, which would make it code, are left out. An address is text too and no link: it
    looks the same, but holds a character that takes no room.
    """
    text = re.sub(r"^\s+", "", str(value), flags=re.MULTILINE)
    return _SPECIAL.sub(r"\\\1", _REPLACED.sub(rf"\g<0>{_WORD_JOINER}", text))


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


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, larger ones in full: "0.0123", "12.3", "1,235"."""
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:,.0f}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as percent: "83.4 %"; "–" for None."""
    return "–" if fraction is None else f"{fraction * 100:.{digits}f}\N{NO-BREAK SPACE}%"


def score_text(metric: Metric, value: float | None) -> str:
    """Return a metric's value: "83.4 %", or "0.834" of one that is no share; "–" for None."""
    if value is None or METRIC_INFO[metric].is_share:
        return percent(value)
    return f"{value:.3f}"
