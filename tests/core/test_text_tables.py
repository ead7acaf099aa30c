"""Tables of texts in every form: what is read, which columns are taken, which files of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from table_cases import ROWS, pairs, refused, write, write_rows

from multirate_core.config import DataConfig
from multirate_core.data.catalog import data_shape
from multirate_core.data.tables import list_columns, read_table
from multirate_core.errors import ConfigError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

WITH_QUOTES = [('He said "no", twice', "a"), ("two\nlines", "b"), ("=cmd|' /C calc'!A0", "a"), ("tab and ; too", "b")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".CSV"])
def test_every_form_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    rows = read_table(write_rows(tmp_path / f"a{suffix.lower()}", ROWS).rename(tmp_path / f"b{suffix}"))
    assert pairs(rows) == Counter(ROWS)
    assert rows.class_names == ("bad", "good")
    assert Counter(rows.test_labels) == {0: 1, 1: 2}  # a fifth of 4 and of 8


def test_the_split_is_that_of_the_seed(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", [(f"t{row}", str(row % 2)) for row in range(100)])
    first, again, other = (read_table(path, seed=seed) for seed in (3, 3, 4))
    assert first == again and first.test_texts != other.test_texts
    assert len(first.test_texts) == 20 and not set(first.test_texts) & set(first.train_texts)
    assert "All texts are from a.csv: 20 of 100, a fifth of every class, are for testing (seed 3)." in first.notes


def test_csv_keeps_quotes_line_breaks_delimiters_and_formulas_as_text(tmp_path: Path) -> None:
    assert pairs(read_table(write_rows(tmp_path / "a.csv", WITH_QUOTES))) == Counter(WITH_QUOTES)


def test_json_lines_keep_every_character_and_numbers_as_they_are_written(tmp_path: Path) -> None:
    assert pairs(read_table(write_rows(tmp_path / "a.jsonl", WITH_QUOTES))) == Counter(WITH_QUOTES)
    lines = '{"text": 1.50, "label": true}\n{"text": 1e400, "label": false}\n\n'
    huge = f'{{"text": {"9" * 5000}, "label": true}}\n{{"text": "x", "label": false, "more": [{{}}]}}\n'
    found = pairs(read_table(write(tmp_path / "b.jsonl", lines + huge)))
    assert found == Counter([("1.50", "true"), ("1e400", "false"), ("9" * 5000, "true"), ("x", "false")])


def test_in_tsv_quotes_are_characters_unless_they_surround_a_field(tmp_path: Path) -> None:
    lines = '"text"\t"label"\n"Hi" he said\t1\n"a ""b"" c"\t"1"\n5" disk\t0\n"\t0\n"x" and "y"\t1\n'
    found = pairs(read_table(write(tmp_path / "a.tsv", lines)))
    expected = [('"Hi" he said', "1"), ('a "b" c', "1"), ('5" disk', "0"), ('"', "0"), ('"x" and "y"', "1")]
    assert found == Counter(expected)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
def test_any_line_end_will_do_and_empty_lines_are_passed_over(tmp_path: Path, end: str, last: str) -> None:
    lines = ["text,label", "", "a,x", "b,y", "", "c,x", "d,y"]
    path = write(tmp_path / "a.csv", end.join(lines) + (end if last else ""))
    assert pairs(read_table(path)) == Counter([("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")])


def test_numbers_as_labels_are_sorted_by_value_and_words_by_letter(tmp_path: Path) -> None:
    numbers = [(f"t{row}", str(row % 12 - 1)) for row in range(24)]
    assert read_table(write_rows(tmp_path / "a.csv", numbers)).class_names == tuple(map(str, range(-1, 11)))
    words = [(f"t{row}", ("10", "9", "b")[row % 3]) for row in range(6)]
    assert read_table(write_rows(tmp_path / "b.csv", words)).class_names == ("10", "9", "b")


# Which columns


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        (("id", "Sentence", "LABEL"), "Sentence", "LABEL"),
        (("category", "n", "content"), "content", "category"),
        (("text", "n", "sentence_label"), "text", "sentence_label"),
        (("review_text", "stars", "sentiment"), "review_text", "sentiment"),
        (("", "tweet", "target"), "tweet", "target"),
    ],
)
def test_columns_are_guessed_by_their_names(tmp_path: Path, header: tuple[str, ...], text: str, label: str) -> None:
    rows = [(f"{row}", f"word {row}", f"{row % 2}") for row in range(8)]
    for suffix in (".csv", ".jsonl"):
        path = write_rows(tmp_path / f"a{suffix}", rows, header)
        found = list_columns(path)
        assert (found.text_column, found.label_column, found.has_header) == (text, label, True)


def test_of_two_columns_without_usual_names_the_longer_texts_are_the_texts(tmp_path: Path) -> None:
    swapped = [(label, text) for text, label in ROWS]
    for number, (rows, header) in enumerate([(ROWS, ()), (swapped, ()), (swapped, ("x", "y")), (ROWS, ("p", "label"))]):
        assert pairs(read_table(write_rows(tmp_path / f"{number}.csv", rows, header))) == Counter(ROWS)


def test_columns_can_be_chosen_by_name_and_by_place(tmp_path: Path) -> None:
    rows = [(str(row), f"long text {row}", "ab"[row % 2]) for row in range(6)]
    expected = Counter((text, label) for _, text, label in rows)
    named, bare = write_rows(tmp_path / "a.tsv", rows, ("text", "u", "v")), write_rows(tmp_path / "b.tsv", rows, ())
    assert pairs(read_table(named, text_column="u", label_column="v")) == expected
    assert pairs(read_table(named, text_column="2", label_column="3")) == expected
    found = read_table(bare, text_column="2", label_column="3")
    assert pairs(found) == expected
    assert found.notes[0] == "b.tsv has no header: texts from column 2, labels from column 3."
    assert (
        "is its header: texts from the column 'u', labels from 'v'"
        in read_table(named, text_column="u", label_column="v").notes[0]
    )


def test_a_chosen_column_is_not_guessed_for_the_other_one(tmp_path: Path) -> None:
    rows = [(f"{row % 2}", f"topic {row % 3}", f"long text {row}") for row in range(6)]
    path = write_rows(tmp_path / "a.csv", rows, ("text", "class", "content"))
    assert pairs(read_table(path, label_column="text")) == Counter((text, label) for label, _, text in rows)


def test_a_place_that_is_also_a_label_makes_no_header(tmp_path: Path) -> None:
    rows = [("1", "said one"), ("2", "said two"), ("1", "three"), ("2", "four")]
    found = read_table(write_rows(tmp_path / "a.csv", rows, ()), text_column="2", label_column="1")
    assert pairs(found) == Counter((text, label) for label, text in rows)


def test_a_header_of_several_words_is_one_if_it_is_asked_for(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", ROWS, ("What they said", "How it was meant"))
    assert pairs(read_table(path, label_column="How it was meant")) == Counter(ROWS)


@pytest.mark.parametrize(
    ("lines", "has_header"),
    [
        ("a nice film,1\na bad film,0\nfine film,1\n", False),
        ("what was said,score\na bad film,0\nfine film,1\n", True),  # alone above numbers
        ("said,meant\nbad film,no\nfine film,yes\n", True),  # single words
        ("good,pos\nbad,neg\nfine,pos\n", False),  # single words, but one is found again
        ("1,good\n2,bad\n1,fine\n", False),
        ("text,text\nbad,neg\nfine,pos\n", False),  # no two columns have one name
        ("it,text of it\n", False),  # nothing below
        ("text,label\n", True),
        ("0,1\na bad film,0\na fine one,1\n", True),  # as pandas writes columns without names
        (",0,1\n0,a bad film,0\n1,a fine one,1\n", True),
        ("0,0\na bad film,0\na fine one,1\n", False),
    ],
)
def test_a_header_is_recognised(tmp_path: Path, lines: str, has_header: bool) -> None:
    assert list_columns(write(tmp_path / "a.csv", lines)).has_header is has_header


def test_columns_that_cannot_be_told_or_are_not_there_are_listed(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "a.csv", [("a b", "c d", "1"), ("e f", "g h", "0")], ("sentence1", "sentence2", "label")
    )
    assert list_columns(path).text_column is None
    refused(path, r"which column holds the text is not clear. Its columns: 'sentence1', 'sentence2', 'label'")
    refused(path, r"no column 'sentense1'.* Did you mean 'sentence1'\?", text_column="sentense1")
    refused(path, r"no column '4'", text_column="4")
    refused(path, r"no column '0'", text_column="0")
    refused(path, "must be two columns, got 'label' for both", ConfigError, text_column="label", label_column="label")
    twice = write_rows(tmp_path / "b.csv", [("a b", "c d", "1"), ("e f", "g h", "0")], ("t", "t", "label"))
    refused(twice, "has 2 columns 't'", text_column="t", label_column="label")
    assert list_columns(twice).names == ("1", "2", "3")


def test_a_page_is_told_the_columns_with_a_sample_of_the_first_rows_only(tmp_path: Path) -> None:
    content = "text,label\n" + "x" * 500 + ",1\nb,0\nc,1\nd,0\n" + "e,1\n" * 200_000 + "broken\n\xff"
    found = list_columns(write(tmp_path / "a.csv", content, "latin-1"))
    assert found.names == ("text", "label")
    assert found.samples == (("x" * 80, "b", "c"), ("1", "0", "1"))


# Folders


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "test"])
def test_a_folder_has_a_file_to_train_and_one_to_test_with(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "train.csv", ROWS)
    write_rows(tmp_path / f"{name}.jsonl", [("never seen", "good")])
    rows = read_table(tmp_path)
    assert list(zip(rows.train_texts, rows.train_labels, strict=True)) == [(t, int(n == "good")) for t, n in ROWS]
    assert (rows.test_texts, rows.test_labels) == (["never seen"], [1])
    assert f"Training texts from train.csv, test texts from {name}.jsonl." in rows.notes
    assert "1 class(es) without a test text: bad." in rows.notes


def test_a_random_split_leaves_the_test_file_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", ROWS)
    write_rows(tmp_path / "test.csv", [("never seen", "good")])
    rows = read_table(tmp_path, share=0.25, seed=2)
    assert pairs(rows) == Counter(ROWS) and len(rows.test_texts) == round(0.25 * len(ROWS))
    assert "The file test.csv was not used." in rows.notes
    assert any("25% of every class, are for testing (seed 2)." in note for note in rows.notes)
    config = DataConfig("table", path=str(tmp_path), split="random", validation_share=0.25)
    shape = data_shape(config, None)
    assert (shape.train_images, shape.test_images) == (len(rows.train_texts), len(rows.test_texts))


def test_files_that_are_not_used_are_said(tmp_path: Path) -> None:
    for name in ("train.csv", "train.tsv", "test.csv", "dev.csv", "val.tsv"):
        write_rows(tmp_path / name, ROWS)
    rows = read_table(tmp_path)
    unused = [f"The file {name} was not used." for name in ("train.tsv", "dev.csv", "test.csv")]
    assert list(rows.notes[1:5]) == [*unused, "Training texts from train.csv, test texts from val.tsv."]
    assert "12 of 12 test texts are also training texts, letter for letter; they were kept." in rows.notes


def test_a_folder_with_a_training_file_alone_is_split(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.tsv", ROWS)
    assert len(read_table(tmp_path).test_texts) == 3


def test_the_columns_of_both_files_are_those_of_the_training_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", [(f"t{row}", str(row % 2), "x") for row in range(6)], ("said", "label", "text"))
    write_rows(tmp_path / "test.csv", [("x", "1", "u")], ("text", "label", "said"))
    assert read_table(tmp_path, text_column="said").test_texts == ["u"]
    write_rows(tmp_path / "test.csv", [("x", "1", "u")], ())
    refused(tmp_path, r"test.csv has no column 'said'", text_column="said")


def test_a_test_label_that_training_never_saw_is_named_with_its_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", ROWS)
    write_rows(tmp_path / "test.csv", [("a", "good"), ("b", "odd")])
    refused(tmp_path, r"test.csv, line 3: the label 'odd' does not occur in train.csv")


def test_paths_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.csv", "does not exist")
    refused(tmp_path / "nul\0.csv", "does not exist|cannot be read")
    refused(tmp_path / ("x" * 300), "cannot be read: File name too long")
    refused(tmp_path, "holds no file to train with; looked for train.csv, ")
    refused(write(tmp_path / "a.xlsx", "x"), r"the suffix '.xlsx'; allowed: .csv, ")
    refused(write(tmp_path / "a.csv", ""), "is empty")
    os.mkfifo(tmp_path / "pipe.csv")
    refused(tmp_path / "pipe.csv", "is no file that can be read to its end")


def test_the_readers_load_no_torch() -> None:
    code = "import sys, multirate_core.data.tables, multirate_core.data.known_texts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
