"""Texts as a network takes them: tokenized once, padded to the longest of a batch, masked where padded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from multirate_core.data.texts import TextRows, TextSplit
from multirate_core.data.tokens import KEPT_FILES, tokenized
from multirate_core.errors import DataError
from multirate_core.home import subfolder
from multirate_core.models.tokenizer import TextTokenizer
from multirate_core.training.texts import PAD_TO, Texts, longest

PAD = 99
ROWS = TextRows(["a bb ccc", "a", "bb bb " * 10], [0, 1, 0], ["ccc a"], [1], ("no", "yes"), ("made up",))


class Lengths:
    """Turns each word into its length, and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        self.calls += 1
        return [[len(word) for word in text.split()][:max_tokens] for text in texts]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIRATE_HOME", str(tmp_path))
    return tmp_path


def split_of(
    rows: TextRows = ROWS, lengths: Lengths | None = None, max_tokens: int = 12, digest: str = "x"
) -> TextSplit:
    return tokenized(rows, TextTokenizer((lengths or Lengths()).encode, PAD, digest), max_tokens, lambda _: None)


def texts_of(split: TextSplit, fixed_length: int | None = None) -> Texts:
    return Texts(split.train_tokens, split.train_labels, split.pad_id, torch.device("cpu"), fixed_length)


def test_every_text_keeps_its_tokens_its_label_and_its_part(own_home: Path) -> None:
    split = split_of()
    ids, starts = split.train_tokens.ids.tolist(), split.train_tokens.starts.tolist()
    assert [ids[a:b] for a, b in pairwise(starts)] == [[1, 2, 3], [1], [2] * 12]
    assert split.test_tokens.ids.tolist() == [3, 1] and split.test_tokens.starts.tolist() == [0, 2]
    assert (split.train_labels.tolist(), split.test_labels.tolist()) == ([0, 1, 0], [1])
    assert split.notes == ("made up", "1 of 4 texts have 12 tokens or were cut there.")


def test_a_batch_is_padded_and_masked_whichever_rows_it_takes(own_home: Path) -> None:
    texts = texts_of(split_of())
    inputs, labels = texts.batch(torch.tensor([1, 0]))
    assert inputs["input_ids"].tolist() == [[1] + [PAD] * 7, [1, 2, 3] + [PAD] * 5]  # type: ignore[index]
    assert inputs["attention_mask"].sum(1).tolist() == [1, 3] and labels.tolist() == [1, 0]  # type: ignore[index]
    last, _ = texts.batch(slice(2, 3))
    assert last["input_ids"].tolist() == [[2] * 12 + [PAD] * 4]  # type: ignore[index]
    assert last["input_ids"].shape[1] % PAD_TO == 0  # type: ignore[index]


def test_a_compiled_network_sees_one_length(own_home: Path) -> None:
    split = split_of()
    texts = texts_of(split, longest(split))
    assert {texts.batch(slice(row, row + 1))[0]["input_ids"].shape for row in range(3)} == {(1, 16)}  # type: ignore[index]


def test_texts_are_tokenized_once_for_a_tokenizer_and_a_length(own_home: Path) -> None:
    lengths = Lengths()
    first, again = split_of(lengths=lengths), split_of(lengths=lengths)
    assert lengths.calls == 1 and torch.equal(first.train_tokens.ids, again.train_tokens.ids)
    split_of(lengths=lengths, digest="another tokenizer")
    split_of(lengths=lengths, max_tokens=5)
    assert lengths.calls == 3


def test_a_damaged_file_of_tokens_is_made_anew(own_home: Path) -> None:
    split_of()
    (kept,) = subfolder("tokens").glob("*.safetensors")
    kept.write_bytes(b"rubbish")
    lengths = Lengths()
    assert split_of(lengths=lengths).test_tokens.ids.tolist() == [3, 1] and lengths.calls == 1


def test_only_the_newest_files_of_tokens_are_kept(own_home: Path) -> None:
    for number in range(KEPT_FILES + 3):
        split_of(digest=str(number))
    assert len(list(subfolder("tokens").iterdir())) == KEPT_FILES


def test_a_text_without_tokens_is_named(own_home: Path) -> None:
    with pytest.raises(DataError, match=r"'   '.*no token"):
        split_of(TextRows(["a", "   "], [0, 1], ["a"], [0], ("no", "yes"), ()))
