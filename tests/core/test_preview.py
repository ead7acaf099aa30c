"""A look at data before a race: what it counts, finds and shows, also where a race would refuse them."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_cases import draw_folder, noise_image, small_fashion
from PIL import Image
from table_cases import ROWS, write, write_rows

from multirate_core.cli.look import preview_lines
from multirate_core.cli.program import main
from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data import preview as looks
from multirate_core.data import preview_findings, preview_images
from multirate_core.data.folder_scan import list_folder
from multirate_core.data.preview import PreviewError, outcome, preview, read, request_of, start
from multirate_core.data.preview_form import ClassCount, DataPreview, Duplicates, from_json, to_json
from multirate_core.errors import ConfigError, DataError, StoreError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

GLYPHS = ModelConfig()


def noise_folder(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """A folder of images no two of which are equal."""
    seed = first
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise_image(seed, (30 + 2 * number, 20)).save(folder / name / f"{number}.png")
            seed += 1
    return folder


def look(path: Path, name: str = "folder", **options: Any) -> DataPreview:
    return preview(DataConfig(name, path=str(path), **options), GLYPHS)


def picture(content: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(content)))


# ---- images --------------------------------------------------------------------------------------------------------


def test_the_digits_are_counted_as_a_race_would_take_them() -> None:
    found = preview(DataConfig("digits", train_images=50), GLYPHS)
    assert (found.train_samples, found.test_samples, len(found.classes)) == (50, 600, 10)
    assert sum(each.train for each in found.classes) == 50 and sum(each.test for each in found.classes) == 600
    assert sorted(Counter(one.label for one in found.samples).values()) == [1] * 8 + [2] * 2
    assert all(max(picture(one.content).size) == 96 for one in found.samples)
    assert found.problems == () and found.duplicates == Duplicates(50, 600, 0, 0)


def test_a_good_folder_is_split_as_a_race_splits_it(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "a", {"cat": 10, "dog": 5})
    found, listing = look(folder), list_folder(folder)
    assert found.classes == (ClassCount("cat", 8, 2), ClassCount("dog", 4, 1))
    assert (found.train_samples, found.test_samples) == (len(listing.train), len(listing.test))
    assert found.edges is not None
    assert (found.edges.smallest, found.edges.median, found.edges.largest, found.edges.files) == (20, 20, 48, 15)
    assert found.problems == () and len(found.samples) == 12
    assert {picture(one.content).format for one in found.samples} == {"PNG"}
    fewer = look(folder, train_images=4)
    assert fewer.train_samples == 4 and "The settings limit the training part to 4 images." in fewer.notes


def test_the_samples_are_the_pictures_of_their_classes(tmp_path: Path) -> None:
    found = look(draw_folder(tmp_path / "a", {"red": 3, "blue": 3}))
    for one in found.samples:
        channel = np.asarray(picture(one.content)).mean((0, 1)).argmax()
        assert channel == {"red": 0, "blue": 2}[one.label]


def test_equal_pixels_are_found_in_both_parts_and_under_other_labels(tmp_path: Path) -> None:
    noise_folder(tmp_path / "train", {"cat": 3, "dog": 3})
    noise_folder(tmp_path / "val", {"cat": 2, "dog": 2}, first=50)
    noise_image(0, (30, 20)).save(tmp_path / "val" / "dog" / "twin.bmp")  # of train/cat/0.png
    noise_image(0, (30, 20)).save(tmp_path / "train" / "dog" / "twin.png")
    found = look(tmp_path)
    assert found.duplicates == Duplicates(train=7, test=5, in_both=1, conflicting=2)
    assert "1 of 5 test samples are also training samples" in " ".join(found.problems)
    assert "2 of 7 training samples have an equal one in another class" in " ".join(found.problems)


def test_everything_that_a_race_would_refuse_is_named(tmp_path: Path) -> None:
    noise_folder(tmp_path / "train", {"cat": 23, "dog": 2, "lone": 1})
    noise_folder(tmp_path / "val", {"cat": 1, "dog": 1, "cow": 1}, first=90)
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "train" / "dog" / "0.png").write_bytes(b"no image")
    said = " ".join(look(tmp_path).problems)
    assert "1 of 29 images cannot be read: dog/0.png (cannot identify image file" in said
    assert "1 class has no sample at all: empty." in said
    assert "1 class has test samples, but none to train with: cow." in said
    assert "1 class has training samples, but none to test with: lone." in said
    assert "1 class has a single training sample: lone." in said
    assert "cat has 23 training samples, lone 1." in said
    with pytest.raises(DataError):
        list_folder(tmp_path)


def test_a_folder_without_any_class_has_one_problem(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found.problems == ("There are 0 class(es); training needs at least 2.",)
    assert (found.samples, found.edges, found.classes) == ((), None, ())


def test_only_a_part_is_looked_at_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = noise_folder(tmp_path / "a", {"cat": 20, "dog": 20})
    monkeypatch.setattr(preview_findings, "MOST_SAMPLES", 10)
    found = look(folder)
    assert found.duplicates.train + found.duplicates.test == 10
    assert found.train_samples + found.test_samples == 40
    assert "Looked at 10 of 40 images, drawn at random." in found.notes
    monkeypatch.setattr(preview_images, "DECODE_S", 0.0)
    assert "Looked at 0 of 40 images, drawn at random." in look(folder).notes


def test_files_of_a_known_set_are_looked_at_and_missing_ones_are_not_fetched(tmp_path: Path) -> None:
    found = look(small_fashion(tmp_path / "files"), "fashion_mnist", download=True)
    assert (found.train_samples, found.test_samples, found.title) == (30, 20, "Fashion-MNIST")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="is not in"):
        look(tmp_path / "none", "fashion_mnist", download=True)


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_a_table_is_counted_measured_and_shown(tmp_path: Path) -> None:
    rows = [*ROWS, (f"{'long ' * 60}end", "good"), *[(f"one two {n}", "bad") for n in range(20)]]
    found = look(write_rows(tmp_path / "a.csv", rows), "table")
    assert found.train_samples + found.test_samples == len(rows)
    assert {each.name for each in found.classes} == {"bad", "good"}
    assert found.lengths is not None
    counts = sorted(len(text.split()) for text, _ in rows)
    assert (found.lengths.unit, found.lengths.median, found.lengths.texts) == ("words", counts[16], len(rows))
    assert found.lengths.cut_share is None and len(found.samples) == 12
    assert all(len(one.content) <= 200 for one in found.samples)


@pytest.mark.slow
def test_tokens_are_counted_where_the_tokenizer_is_at_hand(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from text_cases import save_checkpoint

    model = ModelConfig("distilbert", source=str(save_checkpoint("distilbert", tmp_path / "net")))
    rows = [("good film", "good")] * 15 + [("the film was not very good and it was bad", "bad")] * 5
    rows = [(f"{text} {n}", label) for n, (text, label) in enumerate(rows)]
    config = DataConfig("table", path=str(write_rows(tmp_path / "a.csv", rows)), max_tokens=8)
    lengths = preview(config, model).lengths
    assert lengths is not None
    assert (lengths.unit, lengths.median, lengths.percentile_95, lengths.limit) == ("tokens", 5, 13, 8)
    assert lengths.cut_share == 0.25  # two special tokens are counted
    assert preview(config, ModelConfig("distilbert")).lengths.unit == "words"  # type: ignore[union-attr]  # on the hub


def test_bad_rows_are_named_and_the_others_are_shown(tmp_path: Path) -> None:
    lines = "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(20)) + "only one column\n"
    path = write(tmp_path / "a.csv", lines)
    found = look(path, "table")
    assert found.train_samples + found.test_samples == 20
    assert "line 22: 1 column(s) instead of 2. Mend the row, or choose to skip bad rows." in found.problems[0]
    skipping = look(path, "table", bad_images="skip")
    assert skipping.problems == () and any("1 bad row(s) left out" in note for note in skipping.notes)


def test_texts_that_differ_by_case_and_space_alone_are_duplicates(tmp_path: Path) -> None:
    train = [("A good film", "1"), ("a bad film", "0"), ("A  BAD film", "1"), ("nothing", "0")]
    write_rows(tmp_path / "train.csv", train)
    write_rows(tmp_path / "test.csv", [("a GOOD film", "1"), ("something", "0")])
    assert look(tmp_path, "table").duplicates == Duplicates(train=4, test=2, in_both=1, conflicting=2)


# ---- what is kept --------------------------------------------------------------------------------------------------


def test_the_json_form_gives_an_equal_preview_back(tmp_path: Path) -> None:
    folder = look(noise_folder(tmp_path / "a", {"<b>x</b>": 3, "two\nlines": 3}))
    table = look(write_rows(tmp_path / "a.csv", ROWS), "table")
    assert from_json(to_json(folder)) == folder and from_json(to_json(table)) == table


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"classes": 3}, {"samples": [{"x": 1}]}, {"edges": 7}, {"duplicates": None}, {"more": 1}]
)
def test_damaged_previews_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    raw = json.loads(to_json(look(write_rows(tmp_path / "a.csv", ROWS), "table")))
    with pytest.raises(DataError):
        from_json(json.dumps(raw | change))
    with pytest.raises(DataError):
        from_json("[" * 100_000)


@pytest.mark.slow
def test_another_process_makes_the_preview_and_a_changed_file_asks_for_another(tmp_path: Path) -> None:
    config = DataConfig("folder", path=str(noise_folder(tmp_path / "a", {"cat": 4, "dog": 4})))
    request = request_of(config, GLYPHS)
    assert read(request) is None
    process = start(request)
    assert process.wait(120) == 0
    assert read(request) == outcome(request, process) == preview(config, GLYPHS)
    assert request_of(config, GLYPHS) == request
    os.utime(tmp_path / "a" / "cat" / "0.png", ns=(0, request.modified_ns + 10**9))
    assert request_of(config, GLYPHS).modified_ns == request.modified_ns + 10**9
    assert read(request_of(config, GLYPHS)) is None


@pytest.mark.slow
def test_why_there_is_no_preview_can_be_read(tmp_path: Path) -> None:
    request = request_of(DataConfig("folder", path=str(tmp_path / "nowhere")), GLYPHS)
    process = start(request)
    assert process.wait(120) == 2
    answer = outcome(request, process)
    assert isinstance(answer, PreviewError) and "does not exist" in answer.message


def test_a_process_that_dies_without_a_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    request = request_of(DataConfig(), GLYPHS)
    process = start(request)
    process.wait(30)
    answer = outcome(request, process)
    assert isinstance(answer, PreviewError)
    assert answer.message.startswith("making the preview of digits ended with exit code 1")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StoreError, match="the preview of digits cannot be made"):
        start(request)


def test_only_the_newest_previews_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "KEPT_FILES", 2)
    requests = [request_of(DataConfig(train_images=count), GLYPHS) for count in (20, 30, 40)]
    for age, request in enumerate(requests):
        assert looks.main([looks._kept(request).request]) == 0
        os.utime(looks._kept(request).path, ns=(0, age))
    assert looks.main([looks._kept(requests[2]).request]) == 0
    assert [isinstance(read(request), DataPreview) for request in requests] == [False, True, True]


def test_the_key_covers_the_settings_and_the_network_but_not_the_download() -> None:
    keys = {
        looks._kept(request_of(config, model)).key
        for config in (DataConfig(), DataConfig(train_images=5), DataConfig(download=True))
        for model in (GLYPHS, ModelConfig("resnet18"))
    }
    assert len(keys) == 4


def test_the_page_asks_without_torch() -> None:
    program = """
import sys
from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data.preview import read, request_of
assert read(request_of(DataConfig(), ModelConfig())) is None
heavy = {"torch", "numpy", "PIL", "streamlit"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


# ---- findings ------------------------------------------------------------------------------------------------------


def test_imbalance_is_a_problem_above_ten_to_one_only() -> None:
    none = Duplicates(0, 0, 0, 0)
    classes = (ClassCount("a", 100, 5), ClassCount("b", 10, 5))
    assert preview_findings.problems_of(classes, none) == []
    (said,) = preview_findings.problems_of((replace(classes[0], train=101), classes[1]), none)
    assert "a has 101 training samples, b 10" in said


def test_every_class_is_shown_once_before_any_is_shown_twice() -> None:
    assert preview_findings.spread_rows([0] * 50 + [1] * 2 + [2]) == [0, 50, 52, 1, 51, 2, 3, 4, 5, 6, 7, 8]
    assert preview_findings.spread_rows(list(range(100))) == list(range(12))
    assert preview_findings.spread_rows([]) == []


# ---- the command line ----------------------------------------------------------------------------------------------


def test_the_command_prints_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = noise_folder(tmp_path / "a", {"cat": 4, "dog": 4})
    options = ["data", "--data", "folder", "--data-path", str(folder)]
    assert main(options) == 0
    text = capsys.readouterr().out
    assert "Image folder: 6 training and 2 test images" in text and "edges in pixels: smallest 20" in text
    assert main([*options, "--json"]) == 0
    assert from_json(capsys.readouterr().out) == look(folder)
    assert main(["data", "--data", "folder", "--data-path", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="needs a path"):
        preview(DataConfig("folder"), GLYPHS)


def test_what_files_say_cannot_steer_the_terminal(tmp_path: Path) -> None:
    rows = [(f"\x1b[2Jred {n}", "\x1b[31m") for n in range(5)] + [(f"two {n}", "b") for n in range(5)]
    text = "\n".join(preview_lines(look(write_rows(tmp_path / "a.jsonl", rows), "table")))
    assert "\x1b" not in text and "\\x1b[31m" in text
