"""Names and messages are shown as they are; durations and shares read well."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.components.text import duration, number, percent, plain

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "$x$ and $$y$$",
    ":red[x] :blue-badge[y]",
    "[a](javascript:alert(1))",
    ":material/home: :material_home: :streamlit: :smile:",
    "a -> b <- c <-> d -- e >= f <= g ~= h",
    "# head\n## head\nhead\n===\nhead\n---",
    "    code",
    "1. one\n- two\n> three",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "`code` **bold** _em_ ~~gone~~ [^1]",
    "a\\b &amp; C:\\new",
)

# What Streamlit's Markdown makes a link of, in text whose escapes are gone (mdast-util-gfm-autolink-literal).
AUTOLINKS = (
    re.compile(r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", re.IGNORECASE | re.ASCII),
    re.compile(r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.ASCII),
)


def reading(markdown: str) -> str:
    """What Markdown makes of a text in which all punctuation is escaped: the escapes go, nothing else happens."""
    assert not re.search(rf"(?<!\\)(?:\\\\)*[{re.escape(string.punctuation.replace(chr(92), ''))}]", markdown), markdown
    return re.sub(rf"\\([{re.escape(string.punctuation)}])", r"\1", markdown)


@pytest.mark.parametrize("text", HOSTILE)
def test_every_mark_that_could_have_a_meaning_is_escaped_and_nothing_is_lost(text: str) -> None:
    shown = reading(plain(text))
    assert shown.replace("\u2060", "") == "\n".join(line.lstrip() for line in text.splitlines())


@given(st.text())
def test_any_text_comes_back_when_the_escapes_are_taken_away(text: str) -> None:
    without_spaces = re.sub(r"\s+", "", text.replace("\u2060", ""))
    assert re.sub(r"\s+", "", reading(plain(text)).replace("\u2060", "")) == without_spaces


@pytest.mark.parametrize("symbol", ["->", "<-", "<->", "--", ">=", "<=", "~="])
def test_signs_that_streamlit_turns_into_arrows_and_dashes_stay_apart(symbol: str) -> None:
    for text in (symbol, f"a {symbol} b"):
        assert symbol not in reading(plain(text))
        assert reading(plain(text)).replace("\u2060", "") == text
    assert reading(plain(f"a{symbol}b")) == f"a{symbol}b"  # these it leaves alone


@pytest.mark.parametrize("icon", [":material_home:", ":material/home:", ":streamlit:", "x:material_home:y"])
def test_names_that_streamlit_turns_into_pictures_are_broken_up(icon: str) -> None:
    assert not re.search(r":material_\w+:|:streamlit:", plain(icon).replace(":material/", ":material_"))
    assert not re.search(r":material_\w+:|:streamlit:", reading(plain(icon)))


def test_options_of_a_command_and_paths_stay_as_they_can_be_copied() -> None:
    text = "use --fast-n with /data/my--images/a_b@2x, C:\\data, device cuda:0 (see Settings)."
    assert reading(plain(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://evil.example/x~1",
            "HTTP://evil.example",
            "(https://www.evil.example)",
            "www.evil.example",
            "WwW.evil.example",
        ),
        *("me@evil.example", "a.b+c@my-evil.example.com", "mailto:me@evil.example", "xmpp:me@evil.example/x"),
        *("https://me@evil.example", "_https://evil.example_", "1.me@2.example"),
    ],
)
def test_an_address_in_a_name_is_text_and_no_link(text: str) -> None:
    shown = reading(plain(text))
    assert any(link.search(text) for link in AUTOLINKS)
    assert not any(link.search(shown) for link in AUTOLINKS)
    assert shown.replace("\u2060", "") == text


def test_the_lines_of_a_message_do_not_become_code() -> None:
    assert plain("one\n\n    two\n\tthree") == "one\ntwo\nthree"


def test_values_that_are_no_text_are_written_as_text() -> None:
    assert plain(ValueError("lr < 0")) == r"lr \< 0"
    assert plain(3) == "3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((None, "unknown"), (-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (80, "1 min 20 s")),
        *((3599.7, "1 h 0 min"), (7500, "2 h 5 min"), (90_000, "25 h 0 min")),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.01234, "0.0123"), (4.0, "4"), (12.34, "12.3"), (99.94, "99.9"), (99.96, "100"), (123.4, "123")),
        *((999.6, "1,000"), (1234.5678, "1,235"), (1_234_567.0, "1,234,567")),
    ],
)
def test_large_numbers_are_written_in_full(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_can_have_more_digits() -> None:
    assert [number(value, 4) for value in (2.3456, 123.46, 12_345.0)] == ["2.346", "123.5", "12,345"]


def test_shares_are_percent_and_a_missing_one_is_a_dash() -> None:
    assert percent(0.8341) == "83.4\N{NO-BREAK SPACE}%"
    assert percent(0.8341, 2) == "83.41\N{NO-BREAK SPACE}%"
    assert percent(1.0, 0) == "100\N{NO-BREAK SPACE}%"
    assert percent(None) == "–"
