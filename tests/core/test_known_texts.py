"""SST-2, TREC, AG News and SMS spam: the real files, and tiny ones in each form in which people have them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from image_cases import shared

from multirate_core.data.known_texts import read_known
from multirate_core.data.texts import TextRows
from multirate_core.errors import ConfigError, DataError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

SENTENCES = "a fine film\t1\na poor one\t0\n"
QUESTIONS = "NUM:dist How far is it ?\nABBR:exp What is NASA ?\nHUM:ind Who was Galileo ?\n"
NEWS = '"1","A title","He said ""no"", twice"\n"4","Chips","Made of\\sand"\n'
MESSAGES = 'ham\tOk lar...\nspam\tFree entry\nham\t"quoted" and £5\nspam\tWin\n'


def write(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))


def refused(name: str, folder: Path, match: str, error: type[Exception] = DataError) -> None:
    with pytest.raises(error, match=match):
        read_known(name, folder)


def named(texts: list[str], labels: list[int], rows: TextRows) -> list[tuple[str, str]]:
    return [(text, rows.class_names[label]) for text, label in zip(texts, labels, strict=True)]


def training_pairs(rows: TextRows) -> list[tuple[str, str]]:
    return named(list(rows.train_texts), list(rows.train_labels), rows)


def held_out_pairs(rows: TextRows) -> list[tuple[str, str]]:
    return named(list(rows.test_texts), list(rows.test_labels), rows)


def counts(rows: TextRows) -> tuple[dict[str, int], dict[str, int]]:
    """How many training and test texts each class has."""
    return dict(Counter(name for _, name in training_pairs(rows))), dict(
        Counter(name for _, name in held_out_pairs(rows))
    )


# The real files


def test_sst2_has_its_published_size() -> None:
    rows = read_known("sst2", shared("data/sst2"))
    train, test = counts(rows)
    assert (train, test) == ({"negative": 3310, "positive": 3610}, {"negative": 428, "positive": 444})
    assert training_pairs(rows)[1][0] == "apparently reassembled from the cutting room floor of any given daytime soap"
    assert rows.notes == ("The file test.tsv was not used.", "Training texts from train.tsv, test texts from dev.tsv.")
    random = read_known("sst2", shared("data/sst2"), share=0.1)
    assert counts(random)[1] == {"negative": 331, "positive": 361}
    assert sorted([*random.train_texts, *random.test_texts]) == sorted(rows.train_texts)
    assert "The file dev.tsv was not used." in random.notes


def test_trec_has_its_published_size_and_a_letter_of_latin_1() -> None:
    rows = read_known("trec", shared("data/trec6"))
    train, test = counts(rows)
    assert rows.class_names == ("abbreviation", "description", "entity", "human", "location", "number")
    assert [train[name] for name in rows.class_names] == [86, 1162, 1250, 1223, 835, 896]
    assert [test[name] for name in rows.class_names] == [9, 138, 94, 65, 81, 113]
    assert training_pairs(rows)[0] == ("How did serfdom develop in and then leave Russia ?", "description")
    assert sum("ð" in text for text in rows.train_texts) == 1
    assert "10 of 500 test texts are also training texts, letter for letter; they were kept." in rows.notes


def test_ag_news_is_split_by_the_seed_where_only_the_test_file_is_there() -> None:
    folder = shared("data/ag_news_test")
    rows = read_known("ag_news", folder, seed=5)
    train, test = counts(rows)
    assert train == dict.fromkeys(("World", "Sports", "Business", "Sci/Tech"), 1520)
    assert test == dict.fromkeys(("World", "Sports", "Business", "Sci/Tech"), 380)
    texts = [*rows.train_texts, *rows.test_texts]
    assert any(text.startswith("Fears for T N pension after talks Unions representing workers") for text in texts)
    assert rows.notes == (
        "AG News is not complete: there is no train.csv.",
        "All texts are from test.csv: 1,520 of 7,600, a fifth of every class, are for testing (seed 5).",
    )
    assert rows == read_known("ag_news", folder, seed=5) != read_known("ag_news", folder, seed=6)


def test_sms_spam_is_split_and_messages_that_were_sent_twice_are_counted() -> None:
    rows = read_known("sms_spam", shared("data/sms_spam"))
    train, test = counts(rows)
    assert (train["ham"] + test["ham"], train["spam"] + test["spam"]) == (4827, 747)
    assert test == {"ham": 965, "spam": 149}
    in_both = len({*rows.train_texts} & {*rows.test_texts})
    assert in_both > 0 and any("are also training texts" in note for note in rows.notes)


@pytest.mark.parametrize("name", ["sst2", "trec", "ag_news", "sms_spam"])
def test_a_folder_above_will_do_too(name: str) -> None:
    assert len(read_known(name, shared("data")).train_texts) > 4000


# Tiny files in each form


@pytest.mark.parametrize("head", ["", "sentence\tlabel\n"])
def test_sst2_comes_with_a_header_and_without(tmp_path: Path, head: str) -> None:
    write(tmp_path / "SST-2" / "train.tsv", head + SENTENCES)
    write(tmp_path / "SST-2" / "dev.tsv", head + "so so \t0\r\n")
    for folder in (tmp_path, tmp_path / "SST-2"):
        rows = read_known("sst2", folder)
        assert training_pairs(rows) == [("a fine film", "positive"), ("a poor one", "negative")]
        assert held_out_pairs(rows) == [("so so", "negative")]


@pytest.mark.parametrize(("train", "test"), [("TREC.train", "TREC.test"), ("train_5500.label", "TREC_10.label")])
def test_trec_comes_under_two_names(tmp_path: Path, train: str, test: str) -> None:
    write(tmp_path / train, QUESTIONS + "LOC:other Where is Curaçao ?\n", "latin-1")
    write(tmp_path / test, "HUM:ind Who: Ann ?\n")
    rows = read_known("trec", tmp_path)
    assert training_pairs(rows)[1:] == [
        ("What is NASA ?", "abbreviation"),
        ("Who was Galileo ?", "human"),
        ("Where is Curaçao ?", "location"),
    ]
    assert held_out_pairs(rows) == [("Who: Ann ?", "human")]


@pytest.mark.parametrize("head", ["", "Class Index,Title,Description\n"])
def test_ag_news_joins_title_and_description(tmp_path: Path, head: str) -> None:
    write(tmp_path / "ag_news_csv" / "train.csv", head + NEWS)
    write(tmp_path / "ag_news_csv" / "test.csv", head + '4,"Moon, again",\n')
    rows = read_known("ag_news", tmp_path)
    assert training_pairs(rows) == [('A title He said "no", twice', "World"), ("Chips Made of\\sand", "Sci/Tech")]
    assert held_out_pairs(rows) == [("Moon, again", "Sci/Tech")]


@pytest.mark.parametrize("file", ["sms.tsv", "SMSSpamCollection"])
def test_sms_spam_comes_under_two_names_and_keeps_its_quotes(tmp_path: Path, file: str) -> None:
    write(tmp_path / file, MESSAGES)
    rows = read_known("sms_spam", tmp_path)
    assert sorted(training_pairs(rows) + held_out_pairs(rows))[0] == ('"quoted" and £5', "ham")
    assert len(held_out_pairs(rows)) == 2
    assert rows.notes[0].startswith(f"All texts are from {file}: 2 of 4")


def test_missing_files_are_named_with_where_they_were_looked_for(tmp_path: Path) -> None:
    refused(
        "sst2", tmp_path, rf"SST-2 is not in {tmp_path}: looked for train.tsv, dev.tsv, test.tsv there and in sst2, "
    )
    refused("trec", tmp_path / "nowhere", r"nowhere: looked for TREC.train, train_5500.label, TREC.test, TREC_10.label")
    refused("ag_news", tmp_path / ("x" * 300), "cannot be read: File name too long")


def test_an_unknown_name_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    refused("imdb", tmp_path, "name must be one of sst2, trec, ag_news, sms_spam, got 'imdb'", ConfigError)


@pytest.mark.parametrize(
    ("name", "file", "good", "bad"),
    [
        ("sst2", "train.tsv", SENTENCES, "no label here\n"),
        ("sst2", "train.tsv", SENTENCES, "of another set\t2\n"),
        ("sst2", "train.tsv", SENTENCES, " \t1\n"),
        ("sst2", "train.tsv", SENTENCES, "sentence\tlabel\n"),
        ("sst2", "test.tsv", "index\tsentence\n", "0\tuneasy mishmash\n"),
        ("trec", "TREC.train", QUESTIONS, "What is NASA ?\n"),
        ("trec", "TREC.train", QUESTIONS, "FOOD:pie What is a pie ?\n"),
        ("trec", "TREC.train", QUESTIONS, "NUM:dist  \n"),
        ("ag_news", "train.csv", NEWS, '"5","Title","Text"\n'),
        ("ag_news", "train.csv", NEWS, '"1","Title"\n'),
        ("ag_news", "train.csv", NEWS, '"1","",""\n'),
        ("ag_news", "train.csv", NEWS, '"1","a" b,""\n'),
        ("sms_spam", "sms.tsv", MESSAGES, "eggs\tand spam\n"),
        ("sms_spam", "sms.tsv", MESSAGES, "ham\n"),
    ],
)
def test_a_row_in_no_known_form_is_named(tmp_path: Path, name: str, file: str, good: str, bad: str) -> None:
    write(tmp_path / file, good + bad)
    line = 1 if good.startswith("index") else good.count("\n") + 1
    refused(name, tmp_path, rf"{file}, line {line} is not (a|ham or spam,) .* Get the files of .* again")


def test_a_file_in_another_encoding_is_named_with_its_byte(tmp_path: Path) -> None:
    write(tmp_path / "sms.tsv", MESSAGES, "latin-1")
    refused("sms_spam", tmp_path, r"sms.tsv, line 3: byte 47 of the file \(0xA3\) .* looks like latin-1")
