"""Small valid tables of texts and mutations of their bytes, all drawn from one source of chance."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Final

SUFFIXES: Final = (".csv", ".tsv", ".jsonl")
WORDS: Final = (
    *("good", "bad", "film", "naïve", "10€", '"so"', "it's", "a,b", "x;y", "=1+1", "😀", "a\u2028b", "﷽", "no\\n"),
    *("<b>", '5"', "--", "NULL", "007"),
)
INSERTED: Final = (
    *(b'"', b'""', b"'", b"\0", b"\0\0\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\xf0\x9f"),
    *(b"\x85", b"\x1a", "\u202e".encode(), "\ufdd0".encode(), b"PK\x03\x04", b"\x1f\x8b", b"text", b"label"),
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\t", b",", b";", b"|", b" ", b"\\", b"{", b"}", b"[", b"]", b":", b"{}"),
    *(b"[]", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-0", b"x" * 3000),
    *(b"[" * 3000, b'{"a":' * 3000),
)
SIGNS: Final = (b",", b"\t", b";", b"|", b'"', b"'", b"\n", b"\r", b"{", b"[")
ENCODINGS: Final = ("utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "utf-32", "utf-8-sig", "utf-7")


def valid_table(suffix: str, draw: random.Random) -> bytes:
    """Return the content of a small table that can be read: 4 to 30 rows, two to four classes, two to four columns."""
    classes = draw.choice((["0", "1"], ["neg", "pos"], ["1", "2", "10", "3"], ["yes", "no", "maybe"]))
    has_header = suffix == ".jsonl" or draw.random() < 0.7
    names = ["text", "label", "id", "more"][: draw.randint(2, 4) if has_header else 2]
    # Half a character makes a file unreadable at once: without others the mutations get at what comes later.
    words = WORDS if draw.random() < 0.3 else [word for word in WORDS if word.isascii()]
    rows = []
    for number in range(draw.randint(2 * len(classes), 30)):
        text = " ".join(draw.choices(words, k=draw.randint(3, 8)))
        broken = text.replace(" ", "\n", 1) if suffix != ".tsv" and draw.random() < 0.1 else text
        rows.append([broken, classes[number % len(classes)], str(number), draw.choice(words)][: len(names)])
    return _written(suffix, names if has_header else [], rows, draw).encode()


def _written(suffix: str, header: list[str], rows: list[list[str]], draw: random.Random) -> str:
    if suffix == ".jsonl":
        plain = draw.random() < 0.5
        return "".join(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=plain) + "\n" for row in rows)
    lines = [header, *rows] if header else rows
    if suffix == ".tsv":
        return "".join("\t".join(line) + "\n" for line in lines)
    written = io.StringIO()
    csv.writer(written, lineterminator=draw.choice(("\n", "\r\n"))).writerows(lines)
    return written.getvalue()


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return the content after one to four mutations."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        content = draw.choice(MUTATIONS)(content, draw)
    return content


def _two_places(content: bytes, draw: random.Random) -> tuple[int, int]:
    first = draw.randint(0, len(content))
    return first, min(len(content), first + draw.choice((1, 2, 5, 20, 100)))


def _flip(content: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(min(len(damaged), draw.choice((1, 1, 3, 10)))):
        damaged[draw.randrange(len(damaged))] = draw.randrange(draw.choice((128, 128, 256)))
    return bytes(damaged)


def _cut(content: bytes, draw: random.Random) -> bytes:
    place = draw.randint(0, len(content))
    return content[:place] if draw.random() < 0.8 else content[place:]


def _delete(content: bytes, draw: random.Random) -> bytes:
    first, last = _two_places(content, draw)
    return content[:first] + content[last:]


def _double(content: bytes, draw: random.Random) -> bytes:
    first, last = _two_places(content, draw)
    return content[:last] + content[first:last] * draw.choice((1, 1, 2, 50)) + content[last:]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.choice((0, len(content), *(draw.randint(0, len(content)) for _ in range(6))))
    return content[:place] + draw.choice(INSERTED) + content[place:]


def _exchange(content: bytes, draw: random.Random) -> bytes:
    """Exchange two signs everywhere: delimiters, quotes, line ends, brackets."""
    old, new = draw.sample(SIGNS, 2)
    return content.translate(bytes.maketrans(old + new, new + old))


def _recode(content: bytes, draw: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(draw.choice(ENCODINGS), "replace")


def _repeat_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    lines.insert(draw.randint(0, len(lines)), draw.choice(lines) * draw.choice((1, 2, 200)))
    return b"".join(lines)


MUTATIONS: Final[Sequence[Callable[[bytes, random.Random], bytes]]] = (
    *(_flip, _cut, _delete, _double, _insert, _insert, _insert, _exchange, _recode, _repeat_line),
)
