"""Text sets of Hugging Face's `datasets`: saved folders, files, names on the hub, and what is refused."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_cases import refused, save_glue_like, sentences

from multirate_core.cli.parser import make_parser
from multirate_core.cli.program import main
from multirate_core.cli.settings import data_config
from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data import hub_facts
from multirate_core.data.catalog import data_shape
from multirate_core.data.hub_facts import HubFacts, is_hub_name, request_of, require_same
from multirate_core.data.hub_texts import read_hub
from multirate_core.data.preview import preview
from multirate_core.data.text_lines import TableLimits
from multirate_core.errors import ConfigError, DataError, DownloadError
from multirate_core.models.catalog import model_info
from multirate_core.presets import race_preset

pytestmark = pytest.mark.slow  # the library alone takes seconds

datasets = pytest.importorskip("datasets", reason="datasets is not installed")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The set of `save_glue_like`."""
    return save_glue_like(tmp_path / "saved")


def test_a_saved_set_keeps_its_class_names_and_is_tested_on_the_part_with_labels(saved: Path) -> None:
    rows = read_hub(str(saved))
    assert rows.class_names == ("bad", "good")
    assert rows.train_texts[:2] == ["the film was awful number 0", "the film was great number 1"]
    assert rows.train_labels == [0, 1] * 10 and rows.test_labels == [0, 1] * 3
    assert rows.notes[:3] == (
        "Texts from the column 'sentence', labels from 'label'.",
        "The part test was not used.",
        "Training texts from train, test texts from validation.",
    )


def test_a_labelled_test_part_comes_before_the_one_to_validate(tmp_path: Path) -> None:
    parts = {"train": sentences(20), "validation": sentences(6), "test": sentences(4)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    rows = read_hub(str(tmp_path / "saved"))
    assert len(rows.test_texts) == 4 and "The part validation was not used." in rows.notes


def test_a_random_split_leaves_the_other_parts_out(saved: Path) -> None:
    first, again, other = (read_hub(str(saved), share=0.3, seed=seed) for seed in (1, 1, 2))
    assert (len(first.train_texts), len(first.test_texts)) == (14, 6)
    assert first == again and first.test_texts != other.test_texts
    assert {"The part validation was not used.", "The part test was not used."} <= {*first.notes}


def test_a_set_of_one_part_is_split_whatever_the_part_is_called(tmp_path: Path) -> None:
    sentences(20).save_to_disk(tmp_path / "one")
    datasets.DatasetDict(test=sentences(20)).save_to_disk(tmp_path / "named")
    for folder in (tmp_path / "one", tmp_path / "named"):
        rows = read_hub(str(folder))
        assert (len(rows.train_texts), len(rows.test_texts)) == (16, 4)


@pytest.mark.parametrize(("suffix", "write"), [("parquet", "to_parquet"), ("csv", "to_csv")])
def test_folders_of_files_are_read_with_numbers_as_classes_in_their_order(
    tmp_path: Path, suffix: str, write: str, own_home: Path
) -> None:
    whole = datasets.Value("int64")
    (tmp_path / "files").mkdir()
    for part, count in (("train", 20), ("test", 6)):
        getattr(sentences(count, [10 - number % 2 * 8 for number in range(count)], whole), write)(
            str(tmp_path / "files" / f"{part}.{suffix}")
        )
    rows = read_hub(str(tmp_path / "files"))
    assert rows.class_names == ("2", "10") and rows.train_labels == [1, 0] * 10 and len(rows.test_texts) == 6
    assert {path.name for path in (tmp_path / "files").iterdir()} == {f"train.{suffix}", f"test.{suffix}"}
    assert (own_home / "hub").is_dir()


def test_columns_may_be_named_and_a_wrong_one_gets_the_right_ones(saved: Path) -> None:
    assert read_hub(str(saved), text_column="2", label_column="label").train_labels == [0, 1] * 10
    refused(
        saved,
        r"no column 'sentences'.*Its columns: 'idx', 'sentence', 'label'.*mean 'sentence'",
        text_column="sentences",
    )
    refused(saved, r"column 'idx' holds int32, not texts", text_column="idx")
    refused(saved, "two columns, got 'label' for both", ConfigError, text_column="label", label_column="label")


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_labels_that_are_fractions_are_refused(tmp_path: Path, kind: str) -> None:
    sentences(4, [0.5, 1.0, 0.5, 1.0], datasets.Value(kind)).save_to_disk(tmp_path / "floats")
    refused(tmp_path / "floats", f"column 'label' holds {kind}; a label is a class by name, a whole number or a word")


def test_lists_and_other_kinds_of_columns_are_refused_in_words(tmp_path: Path) -> None:
    labels = datasets.Sequence(datasets.Value("int64"))
    sentences(4, [[1], [2], [1], [2]], labels).save_to_disk(tmp_path / "lists")
    refused(tmp_path / "lists", r"the column 'label' holds .*(List|Sequence).*; a label is")


def test_rows_without_a_text_or_a_label_are_refused_with_their_number_or_left_out(tmp_path: Path) -> None:
    part = sentences(12, [0, 1, None, -1, *[0, 1] * 4])
    part.save_to_disk(tmp_path / "gaps")
    refused(tmp_path / "gaps", r"gaps.train, line 3: no label\. Mend the row, or choose to skip")
    rows = read_hub(str(tmp_path / "gaps"), bad_rows="skip")
    assert len(rows.train_texts) + len(rows.test_texts) == 10
    assert any(note.startswith("2 bad row(s) left out: train line 3 (no label), train line 4") for note in rows.notes)


def test_more_rows_than_the_limit_are_refused(saved: Path) -> None:
    refused(saved, r"saved.train has 20 rows; at most 19 are read", limits=TableLimits(rows=19))


def test_parts_of_which_none_is_for_training_are_refused(tmp_path: Path) -> None:
    datasets.DatasetDict(a=sentences(4), b=sentences(4)).save_to_disk(tmp_path / "parts")
    refused(tmp_path / "parts", "has the parts a, b; one must be called train")


def test_what_is_no_data_set_is_named(tmp_path: Path, saved: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty is no data set that can be read: it holds no .parquet, .csv or .jsonl files")
    (file,) = (saved / "train").glob("*.arrow")
    file.write_bytes(file.read_bytes().replace(b"awful", b"\xff\xff\xff\xff\xff"))
    refused(saved, "saved is no data set that can be read: 'utf-8' codec can't decode")
    file.write_bytes(b"damaged")
    refused(saved, "saved is no data set that can be read")
    shutil.rmtree(saved / "train")
    refused(saved, "saved is no data set that can be read")


@pytest.mark.parametrize("path", ["imdb", "a/b/c", "../sets/one", "owner/name:two:configurations", "owner/na me", ""])
def test_what_is_neither_a_folder_nor_a_name_is_refused(path: str) -> None:
    assert not is_hub_name(path)
    refused(path, "neither a folder nor a name on the hub, which has the form owner/name")


def test_code_of_a_data_set_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    refused(folder, r"evil is no data set that can be read: it holds no .parquet.*save_to_disk")
    sentences(10).to_csv(folder / "train.csv")
    assert len(read_hub(str(folder), text_column="sentence").train_texts) == 8
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_the_name_of_a_set_on_the_hub_is_not_taken_for_it(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent.parent)
    refused(
        f"{saved.parent.name}/{saved.name}", "is also a folder where this program runs. Give the folder's full path"
    )


def test_a_missing_library_is_named_with_what_installs_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(saved, r"need the package datasets, 4\.0 or newer.*pip install 'datasets>=4\.0'")


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that has no data set."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal clean."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_name_that_the_hub_does_not_have_is_told_at_once(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    told = r"no data set 'someone/nothing' without an account \(HTTP 404\)"
    refused("someone/nothing", told, DownloadError, download=True)


def test_nothing_is_asked_of_the_hub_without_leave(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    refused("someone/nothing", "would have to be downloaded from the hub. Allow it: --download")
    asking, silent = (request_of(DataConfig("hub", path="someone/nothing", download=each)) for each in (True, False))
    assert hub_facts.key(asking) == hub_facts.key(silent)


def test_without_a_network_the_message_says_what_to_do(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    refused(
        "someone/nothing:small",
        "someone/nothing cannot be had: .*refused.*give its folder",
        DownloadError,
        download=True,
    )


def test_offline_only_what_was_downloaded_before_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"someone/nothing cannot be had from the hub: .*give its folder"):
        data_shape(DataConfig("hub", path="someone/nothing"), model_info("doc_net"))


# Facts, preview, settings, races


def test_classes_and_sizes_are_told_without_loading_the_library(saved: Path) -> None:
    code = (
        "import sys; from multirate_core.config import DataConfig; from multirate_core.data.catalog import data_shape; "
        f"print(data_shape(DataConfig('hub', path={str(saved)!r}), None)); "
        "print(sorted({'datasets', 'pyarrow', 'pandas', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shape, loaded = done.stdout.splitlines()
    assert "class_names=('bad', 'good'), train_images=20, test_images=6" in shape and loaded == "[]"


def test_facts_are_found_again_when_the_folder_has_changed(saved: Path) -> None:
    config = DataConfig("hub", path=str(saved))
    assert hub_facts.facts_of(config) == HubFacts(("bad", "good"), 20, 6) == hub_facts.read(request_of(config))
    shutil.rmtree(saved)
    datasets.DatasetDict(train=sentences(30)).save_to_disk(saved)
    assert hub_facts.read(request_of(config)) is None
    assert hub_facts.facts_of(config) == HubFacts(("bad", "good"), 24, 6)
    with pytest.raises(ConfigError, match="needs a path: a folder, or a name on the hub"):
        hub_facts.facts_of(DataConfig("hub"))


def test_a_set_whose_classes_have_changed_on_the_hub_is_refused_once(saved: Path, tmp_path: Path) -> None:
    request = request_of(DataConfig("hub", path="someone/something"))
    require_same(request, read_hub(str(saved)))
    sentences(20, None, datasets.ClassLabel(names=["down", "up"])).save_to_disk(tmp_path / "other")
    other = read_hub(str(tmp_path / "other"))
    with pytest.raises(DataError, match="other classes than when it was read last"):
        require_same(request, other)
    require_same(request, other)


def test_a_look_at_the_data_counts_and_shows_what_is_wrong(saved: Path, tmp_path: Path) -> None:
    found = preview(DataConfig("hub", path=str(saved)), ModelConfig("doc_net"))
    assert [(each.name, each.train, each.test) for each in found.classes] == [("bad", 10, 3), ("good", 10, 3)]
    assert found.lengths is not None and found.lengths.unit == "tokens"
    sentences(12, [0, 1, None, *[0, 1, 0] * 3]).save_to_disk(tmp_path / "gaps")
    problems = preview(DataConfig("hub", path=str(tmp_path / "gaps")), ModelConfig("doc_net")).problems
    assert "line 3: no label" in problems[0]


def test_the_command_line_keeps_a_hub_name_and_makes_a_folder_absolute(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def path_of(words: list[str]) -> str | None:
        options = make_parser().parse_args(["data", *words])
        return data_config(options, race_preset("digits")).path

    monkeypatch.chdir(saved.parent)
    assert path_of(["--data", "hub", "--data-path", "owner/name:config"]) == "owner/name:config"
    assert path_of(["--data", "hub", "--data-path", "saved"]) == str(saved)
    assert path_of(["--data", "hub", "--data-path", "saved/train"]) == str(saved / "train")
    assert path_of(["--data", "table", "--data-path", "owner/name"]) == str(saved.parent / "owner" / "name")


def test_a_race_on_a_saved_set_runs_from_the_command_line(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"compare --inline --threads 1 --model doc_net --data hub --data-path {saved} --epochs 1 --batch-size 8"
    assert main([*words.split(), "--lr", "0.05"]) == 0
    said = capsys.readouterr()
    assert "finished" in said.err + said.out and "multirate" in said.out
    assert main(["data", "--model", "doc_net", "--data", "hub", "--data-path", str(saved)]) == 0
    assert "From Hugging Face: 20 training and 6 test texts" in capsys.readouterr().out
