"""A data set of Hugging Face's consists of its own files, wherever its card or its state points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_cases import datasets, refused, save_glue_like, sentences

from multirate_core.data.hub_files import require_from_hub
from multirate_core.data.hub_texts import read_hub
from multirate_core.errors import DataError

pytestmark = pytest.mark.slow  # the library alone takes seconds


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The set of `save_glue_like`."""
    return save_glue_like(tmp_path / "saved")


def test_a_card_cannot_point_to_files_outside_its_folder(tmp_path: Path) -> None:
    (folder := tmp_path / "set").mkdir()
    sentences(10).to_csv(tmp_path / "secret.csv")
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path / 'secret.csv'}\n---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    refused(folder, "it holds no .parquet")
    sentences(20).to_csv(folder / "mine.csv")
    assert len(read_hub(str(folder), text_column="sentence").train_texts) == 16
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    refused(folder, r"link\.csv is a link that leads out of its data set")


def test_files_of_two_kinds_and_names_that_are_patterns_are_refused(tmp_path: Path) -> None:
    sentences(10).to_csv(tmp_path / "part[1].csv")
    refused(tmp_path, "which stand for patterns. Rename it")
    (tmp_path / "part[1].csv").rename(tmp_path / "one.csv")
    sentences(10).to_parquet(tmp_path / "two.parquet")
    refused(tmp_path, "it holds csv and parquet. Give a folder with data files of one kind")


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/secret.arrow"])
def test_a_saved_set_cannot_name_files_outside_its_folder(saved: Path, name: str) -> None:
    state = saved / "train" / "state.json"
    content = json.loads(state.read_text(encoding="utf-8"))
    content["_data_files"][0]["filename"] = name
    state.write_text(json.dumps(content), encoding="utf-8")
    refused(saved, "which is not beside it. Save the data set again")
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "../other"]}), encoding="utf-8")
    content["_data_files"] = []
    state.write_text(json.dumps(content), encoding="utf-8")
    refused(saved, r"names the part '\.\./other'")


def test_files_outside_the_hub_are_refused_before_they_are_fetched() -> None:
    files = {"train": ["hf://datasets/owner/name@1f0/train.csv"], "test": ["http://169.254.169.254/x.json"]}
    with pytest.raises(DataError, match=r"owner/name names a file outside the hub, 'http://169"):
        require_from_hub("owner/name", files)
    require_from_hub("owner/name", {"train": files["train"]})
    require_from_hub("owner/name", None)


@pytest.mark.parametrize("form", ["torch", "numpy"])
def test_the_format_that_a_saved_part_remembers_changes_nothing(tmp_path: Path, saved: Path, form: str) -> None:
    part = sentences(20)
    part.set_format(form, columns=["label"])
    datasets.DatasetDict(train=part, validation=sentences(6)).save_to_disk(tmp_path / "formatted")
    assert read_hub(str(tmp_path / "formatted")).train_labels == read_hub(str(saved)).train_labels
