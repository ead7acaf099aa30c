"""Tables of texts with defects: named by file, line and byte, or left out and counted where that was chosen."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from table_cases import ROWS, pairs, refused, write, write_rows

from multirate_core.data.tables import list_columns, read_table
from multirate_core.data.text_lines import TableLimits
from multirate_core.errors import ConfigError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def test_a_mark_of_utf8_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv", "a.jsonl"):
        path = write_rows(tmp_path / name, ROWS)
        assert list_columns(write(path, b"\xef\xbb\xbf" + path.read_bytes())).names == ("text", "label")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_read_if_they_are_given(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16-be": "\ufeff"}.get(encoding, "")
    text = "naïve café – 10 €" if encoding != "latin-1" else "naïve café"
    path = write(tmp_path / "a.csv", f"{mark}text,label\n{text},a\nb,b\nc,a\nd,b\n", encoding)
    given = "utf-16" if encoding.startswith("utf-16") else encoding
    assert (text, "a") in pairs(read_table(path, encoding=given))  # type: ignore[arg-type]


def test_a_byte_that_is_no_utf8_is_named_with_its_place_and_the_way_out(tmp_path: Path) -> None:
    latin, windows = "text,label\nok,1\nna\xefve,0\n", "text,label\n\u201cquoted\u201d,1\n"
    refused(
        write(tmp_path / "a.csv", latin, "latin-1"),
        r"a.csv, line 3: byte 18 of the file \(0xEF\) is not valid in utf-8. The file looks like latin-1: .* iconv -f",
    )
    refused(write(tmp_path / "b.csv", windows, "cp1252"), r"line 2: byte 11 .*\(0x93\).* looks like cp1252")
    refused(write(tmp_path / "c.csv", "text,label\né,1\n".encode() + b"\xff,0\n"), "line 3: .* looks damaged")
    refused(
        write(tmp_path / "d.csv", "text,label\na,1\né".encode()[:-1]), "line 3: .* ends in the middle of a character"
    )
    refused(write(tmp_path / "e.csv", "text,label\na\x81,1\n", "latin-1"), "line 2: .*in cp1252", encoding="cp1252")
    for bad_rows in ("refuse", "skip"):
        refused(tmp_path / "a.csv", "line 3: byte 18", bad_rows=bad_rows)


def test_the_place_of_a_bad_byte_is_right_far_into_a_file(tmp_path: Path) -> None:
    good = "text,label\r\n" + "".join(f"naïve {row},{row % 2}\r\n" for row in range(40_000))
    content = good.encode() + b"bad \xe9t\xe9,1\r\n"
    refused(write(tmp_path / "a.csv", content), rf"line 40002: byte {len(good.encode()) + 4:,} of the file \(0xE9\)")


@pytest.mark.parametrize("bad", [b"\xff", b"\xe2\x82x", b"\xe2x"])
@pytest.mark.parametrize("shift", range(3))
def test_the_place_of_a_bad_byte_is_right_where_the_pieces_meet_that_are_read(
    tmp_path: Path, bad: bytes, shift: int
) -> None:
    start = b"text,label\n" + b"x" * shift
    for size in (2**18 - 2, 2**18 - 1, 2**18, 2**18 + 3):
        good = start + "€".encode() * ((size - len(start)) // 3)
        refused(write(tmp_path / "a.csv", good + bad + b",1\n"), f"line 2: byte {len(good):,} of the file")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf16_is_recognised(tmp_path: Path, encoding: str) -> None:
    refused(write(tmp_path / "a.csv", "text,label\na,1\n", encoding), "looks like UTF-16. Give the encoding utf-16")


def test_an_encoding_that_cannot_be_right_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\na,1\n")
    refused(path, "begins with the mark of UTF-8", encoding="latin-1")
    refused(path, "is not UTF-16", encoding="utf-16")
    refused(path, "encoding must be one of utf-8, latin-1, cp1252, utf-16", ConfigError, encoding="ascii")


@pytest.mark.parametrize(("magic", "what"), [(b"PK\x03\x04", "Excel"), (b"\x1f\x8b", "gzip"), (b"PAR1", "Parquet")])
def test_packed_files_are_told_from_tables(tmp_path: Path, magic: bytes, what: str) -> None:
    refused(write(tmp_path / "a.csv", magic + bytes(100)), what)


# Bad rows

HEAD = {".csv": "text,label\n", ".tsv": "text\tlabel\n", ".jsonl": ""}
GOOD = {
    ".csv": "good,1\nbad,0\ngreat,1\nawful,0\n",
    ".tsv": "good\t1\nbad\t0\ngreat\t1\nawful\t0\n",
    ".jsonl": "".join(
        f'{{"text": "{text}", "label": {label}}}\n'
        for text, label in (("good", 1), ("bad", 0), ("great", 1), ("awful", 0))
    ),
}
BAD = [
    (".csv", "one\n", r"1 column\(s\) instead of 2"),
    (".csv", "a, b,1\n", r"3 column\(s\) instead of 2; a text with a comma must be in quotes"),
    (".csv", "text,label\n", "the header once more"),
    (".csv", ",1\n", "no text"),
    (".csv", '"  ",1\n', "no text"),
    (".csv", "x,\n", "no label"),
    (".csv", '"a "b" c",1\n', "text follows a closing quote"),
    (".csv", '"a\nb" c,1\n', "text follows a closing quote"),
    (".csv", "a\0b,1\n", "a zero byte"),
    (".csv", f"{'x' * 2000},1\n", "a text of 2,000 characters; at most 1,000 are read"),
    (".csv", f"x,{'y' * 101}\n", "a label of 101 characters"),
    (".tsv", "a\tb\t1\n", r"3 column\(s\) instead of 2"),
    (".tsv", " \n", r"1 column\(s\) instead of 2"),
    (".tsv", "\t1\n", "no text"),
    (".tsv", "x\t1\0\n", "a zero byte"),
    (".jsonl", '{"text": "a", "label": 1\n', "no valid JSON: Expecting ',' delimiter at character 25"),
    (".jsonl", "[1, 2]\n", "no object; a row must be an object such as"),
    (".jsonl", "5\n", "no object"),
    (".jsonl", "null\n", "no object"),
    (".jsonl", "{}\n", "no key 'text'"),
    (".jsonl", '{"text": "a"}\n', "no key 'label'"),
    (".jsonl", '{"text": "a", "label": null}\n', "no label"),
    (".jsonl", '{"text": ["a"], "label": 1}\n', "the value of 'text' is a list or an object"),
    (".jsonl", '{"text": "a", "label": {"is": 1}}\n', "the value of 'label' is a list or an object"),
    (".jsonl", '{"text": "a\\ud800", "label": 1}\n', "half a surrogate pair"),
    (".jsonl", '{"text": "a", "label": 1, "\\uDC00": 0}\n', "half a surrogate pair"),
    (".jsonl", '{"text": "a\\u0000", "label": 1}\n', "a zero byte"),
    (".jsonl", '{"text": "a", "label": NaN}\n', "no valid JSON: NaN is no number"),
    (".jsonl", '{"text": ' + "[" * 100_000 + "\n", "JSON that is nested too deeply"),
    (".jsonl", '{"text": "a\tb", "label": 1}\n', "no valid JSON: Invalid control character"),
]
SMALL = TableLimits(text_characters=1000)


@pytest.mark.parametrize(("suffix", "bad", "reason"), BAD)
def test_a_bad_row_is_refused_with_its_line_or_left_out_and_counted(
    tmp_path: Path, suffix: str, bad: str, reason: str
) -> None:
    path = write(tmp_path / f"a{suffix}", HEAD[suffix] + GOOD[suffix] + bad + GOOD[suffix])
    line = (HEAD[suffix] + GOOD[suffix]).count("\n") + 1
    refused(path, rf"a{suffix}, line {line}: {reason}.*Mend the row, or choose to skip", limits=SMALL)
    rows = read_table(path, bad_rows="skip", limits=SMALL)
    assert pairs(rows) == Counter([("good", "1"), ("bad", "0"), ("great", "1"), ("awful", "0")] * 2)
    assert any(note.startswith(f"1 bad row(s) left out: a{suffix} line {line} (") for note in rows.notes)


def test_of_many_bad_rows_of_both_files_the_first_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", HEAD[".csv"] + GOOD[".csv"] + "x\n" * 3)
    write(tmp_path / "test.csv", HEAD[".csv"] + "x\n" * 4 + GOOD[".csv"])
    (note,) = [note for note in read_table(tmp_path, bad_rows="skip").notes if "left out" in note]
    assert note.startswith("7 bad row(s) left out: train.csv line 6 (1 column(s) instead of 2), train.csv line 7 (")
    assert note.endswith("test.csv line 3 (1 column(s) instead of 2) and 2 more.")


def test_rows_that_are_all_bad_leave_no_class(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,\nb,\n")
    refused(path, r"has 0 class\(es\).* 2 bad row\(s\) left out: a.csv line 2 \(no label\)", bad_rows="skip")
    write(tmp_path / "train.csv", HEAD[".csv"] + GOOD[".csv"])
    write(tmp_path / "test.csv", "text,label\na,\n")
    refused(tmp_path, r"test.csv has no text to test with.* 1 bad row\(s\) left out", bad_rows="skip")


def test_the_choice_about_bad_rows_is_one_of_two(tmp_path: Path) -> None:
    refused(tmp_path, "bad_rows must be one of refuse, skip, got 'cut'", ConfigError, bad_rows="cut")


@pytest.mark.parametrize("bad_rows", ["refuse", "skip"])
def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path: Path, bad_rows: str) -> None:
    opened = HEAD[".csv"] + GOOD[".csv"] + '"never closed,1\n'
    reason = r"a.csv, line 6: a quote that opens in this row is still not closed "
    refused(write(tmp_path / "a.csv", opened + GOOD[".csv"]), reason + "at the end of the file", bad_rows=bad_rows)
    limits = TableLimits(row_characters=500)
    path = write(tmp_path / "a.csv", opened + GOOD[".csv"] * 100)
    refused(path, reason + "after 500 characters", bad_rows=bad_rows, limits=limits)


# Delimiters and forms


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "text;label\na, b;1\nc;0\n", r"with semicolons in it: .* In a .csv file commas do: save it so\."),
        ("a.csv", "text\tlabel\na\t1\nc\t0\n", "with tabs in it: .* or name it .tsv"),
        ("a.csv", "text|label\na|1\nc|0\n", "with vertical bars in it"),
        ("a.tsv", "text,label\na,1\nc,0\n", "with commas in it: .* In a .tsv file tabs do: .* or name it .csv"),
        ("a.csv", "text\na\nc\n", "has one column; two are needed"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n', "has one key, 'text'; two are needed"),
        ("a.jsonl", '\n[\n {"text": "a", "label": 1}\n]\n', "is one JSON list. Write one object per line"),
        ("a.jsonl", "text,label\na,1\n", "Line 1: no valid JSON: Expecting value at character 1"),
        ("a.jsonl", "{}\n", "has no row that can be read. Line 1: an empty object"),
        ("a.csv", "\n\n", "has no row that can be read. Give"),
        ("a.csv", '"a"b,1\n', "has no row that can be read. Line 1: text follows a closing quote"),
    ],
)
def test_a_file_of_another_form_is_told(tmp_path: Path, name: str, content: str, reason: str) -> None:
    for bad_rows in ("refuse", "skip"):
        refused(write(tmp_path / name, content), reason, bad_rows=bad_rows)


# Limits


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (TableLimits(file_bytes=20), "has 32 bytes; at most 20 are read"),
        (TableLimits(rows=4), "has more than 4 rows"),
        (TableLimits(columns=1), r"line 1: 2 columns; at most 1 are read"),
        (TableLimits(row_characters=7), r"line 1: it is longer than 7 characters"),
    ],
)
def test_a_file_beyond_a_limit_is_refused(tmp_path: Path, limits: TableLimits, reason: str) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,1\nb,0\nc,1\nd,0\n     ")
    assert path.stat().st_size == 32
    refused(path, reason, limits=limits)


def test_exactly_at_the_limits_everything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\naaaaa,1\nb,0\nc,1\nd,0\n")
    limits = TableLimits(file_bytes=path.stat().st_size, text_characters=5, row_characters=10, rows=5, columns=2)
    assert len(pairs(read_table(path, limits=limits))) == 4


def test_json_objects_have_limits_too(tmp_path: Path) -> None:
    wide = json.dumps({"text": "a", "label": 1, **dict.fromkeys(map(str, range(10)), 0)}) + "\n"
    path = write(tmp_path / "a.jsonl", GOOD[".jsonl"] + wide)
    refused(path, "line 5: 12 columns; at most 5 are read", limits=TableLimits(columns=5))
    refused(path, "has more than 3 rows", limits=TableLimits(rows=3))


def test_a_long_field_is_read_whatever_the_parser_of_python_allows_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = csv.field_size_limit(1000)
    try:
        path = write_rows(tmp_path / "a.csv", [*ROWS, ("x" * 99_999, "good")])
        assert ("x" * 99_999, "good") in pairs(read_table(path))
    finally:
        csv.field_size_limit(max(before, csv.field_size_limit()))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_line_without_end_is_given_up_before_it_is_in_memory(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"x" * 12_000_000)
    tracemalloc.start()
    try:
        refused(path, "line 1: it is longer than 100,000 characters", limits=TableLimits(row_characters=100_000))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "9"])
def test_limits_are_counts(value: object) -> None:
    with pytest.raises(ConfigError, match="rows must be a whole number"):
        TableLimits(rows=value)  # type: ignore[arg-type]


def test_a_row_of_several_lines_is_as_long_as_all_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"a\nbcdefgh",1\nb,0\nc,1\nd,0\n')
    assert ("a\nbcdefgh", "1") in pairs(read_table(path, limits=TableLimits(row_characters=13)))
    refused(path, "line 2: .* not closed after 12 characters", limits=TableLimits(row_characters=12))


# Classes


def test_classes_that_are_too_few_or_too_small_are_told(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "a.csv", [("a", "x"), ("b", "x")])
    refused(one, r"has 1 class\(es\) \('x'\); training needs at least 2")
    once = write_rows(tmp_path / "b.csv", [("a", "x"), ("b", "y"), ("c", "x")])
    refused(once, r"line 3: the label 'y' occurs once; without a test file at least 2")


def test_up_to_a_thousand_classes_are_read(tmp_path: Path) -> None:
    most = write_rows(tmp_path / "a.csv", [(f"t{row}", str(row % 1000)) for row in range(2000)])
    assert read_table(most).class_names == tuple(map(str, range(1000)))
    more = write_rows(tmp_path / "b.csv", [(f"t{row}", str(row % 1001)) for row in range(2002)])
    refused(more, "line 1002: '1000' is label number 1,001; at most 1,000 classes")
