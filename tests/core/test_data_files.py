"""Fashion-MNIST and CIFAR from files: where they are found, what is checked, what is refused."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_cases import shared, silent, small_fashion, write_idx
from set_cases import write_cifar10
from torchvision.datasets import CIFAR10, FashionMNIST

from multirate_core.config import DataConfig
from multirate_core.data import torchvision_sets
from multirate_core.data.catalog import DATASETS
from multirate_core.data.cifar_files import cifar_files
from multirate_core.data.mnist_files import read_idx
from multirate_core.data.registry import DataSplit, load
from multirate_core.data.safe_pickle import read_pickle
from multirate_core.errors import DataError, DownloadError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def read(name: str, path: Path | None, **settings: Any) -> DataSplit:
    config = DataConfig(name, path=None if path is None else str(path), **settings)
    channels = DATASETS[name].channels
    return load(config, seed=0, image_size=28 if name == "fashion_mnist" else 32, channels=channels, say=silent)


class CodeRunner:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_the_packed_official_files_give_what_torchvisions_own_reader_gives(tmp_path: Path) -> None:
    source = shared("data/FashionMNIST")
    split = read("fashion_mnist", source.parent)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (source / "raw").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    theirs = FashionMNIST(str(tmp_path), train=True)
    assert torch.equal(split.train_images[:, 0], theirs.data) and torch.equal(split.train_labels, theirs.targets)
    assert split.class_names == tuple(theirs.classes)


def test_fashion_is_found_from_the_root_its_folder_and_the_raw_folder(tmp_path: Path) -> None:
    root = small_fashion(tmp_path / "files")
    splits = [read("fashion_mnist", root / below) for below in ("", "FashionMNIST", "FashionMNIST/raw")]
    assert all(torch.equal(split.train_images, splits[0].train_images) for split in splits)


def test_without_a_path_the_data_folder_of_this_project_is_read(own_home: Path) -> None:
    small_fashion(own_home / "data")
    assert len(read("fashion_mnist", None).train_images) == 30
    write_cifar10(own_home / "data")
    assert len(read("cifar10", None).test_images) == 20


def test_a_border_keeps_the_pixels_and_another_size_is_interpolated(tmp_path: Path) -> None:
    config = DataConfig("fashion_mnist", path=str(small_fashion(tmp_path)))
    own, bordered, small = (
        load(config, seed=0, image_size=size, channels=1, say=silent).train_images for size in (28, 32, 14)
    )
    assert torch.equal(bordered[:, :, 2:-2, 2:-2], own) and bordered.sum() == own.sum()
    assert (small.float().mean() - own.float().mean()).abs() < 1 and small.shape == (30, 1, 14, 14)


def test_a_packed_file_with_another_check_sum_is_named(tmp_path: Path) -> None:
    raw = small_fashion(tmp_path) / "FashionMNIST" / "raw"
    for path in list(raw.iterdir()):
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged or not the official file: its MD5"):
        read("fashion_mnist", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\x08\x03" + bytes(8), b"\0\0\x0d\x01\0\0\0\x01" + bytes(4)])
def test_a_damaged_idx_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match="images"):
        read_idx(tmp_path / "images")


def test_a_truncated_packed_or_unpacked_idx_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "whole", np.arange(60, dtype=np.uint8).reshape(5, 4, 3))
    assert read_idx(tmp_path / "whole").shape == (5, 4, 3)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-7])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(content)[:-12])
    with pytest.raises(DataError, match=r"promises the shape \(5, 4, 3\), and 53 bytes follow"):
        read_idx(tmp_path / "cut")
    with pytest.raises(DataError, match=r"cut\.gz cannot be read"):
        read_idx(tmp_path / "cut.gz")


def test_labels_that_do_not_belong_to_the_images_are_refused(tmp_path: Path) -> None:
    raw = small_fashion(tmp_path) / "FashionMNIST" / "raw"
    write_idx(raw / "t10k-labels-idx1-ubyte", np.zeros(19, dtype=np.uint8))
    with pytest.raises(DataError, match=r"t10k files .* do not belong together"):
        read("fashion_mnist", tmp_path)
    write_idx(raw / "t10k-labels-idx1-ubyte", np.full(20, 10, dtype=np.uint8))
    with pytest.raises(DataError, match=r"up to 10"):
        read("fashion_mnist", tmp_path)


@pytest.mark.parametrize("name", torchvision_sets.FILES)
def test_missing_files_say_what_was_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"looked for .*(idx|batch|train|Forest|jpg).*allow the\s+download"):
        read(name, tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", torchvision_sets.FILES)
def test_without_a_network_a_download_says_where_to_put_the_files(
    name: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens on the discard port
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DownloadError, match=rf"cannot be downloaded: .*{own_home}.*give the folder"):
        read(name, None, download=True)


def packed_cifar(root: Path) -> bytes:
    """The small set as the archive that a download gives."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(write_cifar10(root) / "cifar-10-batches-py", "cifar-10-batches-py")
    return archive.getvalue()


def without_check_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "tgz_md5", None)
    monkeypatch.setitem(torchvision_sets.FILES, "cifar10", cifar_files(10))


def test_a_download_goes_to_the_projects_folder_even_if_a_path_is_given(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed_cifar(tmp_path / "source")
    draft = own_home / "data" / "cifar-10-batches-py.download"
    draft.mkdir(parents=True)
    (draft / CIFAR10.filename).write_bytes(archive)  # as if it had just been downloaded
    without_check_sum(monkeypatch)
    (tmp_path / "mine").mkdir()
    assert len(read("cifar10", tmp_path / "mine", download=True).train_images) == 20
    assert not list((tmp_path / "mine").iterdir())
    assert not draft.exists()
    assert len(read("cifar10", tmp_path / "mine", download=True).train_images) == 20  # it is there now


def test_a_download_that_breaks_off_while_it_is_unpacked_leaves_no_set_behind(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed_cifar(tmp_path / "source")
    whole = own_home / "data" / "cifar-10-batches-py.download" / CIFAR10.filename
    whole.parent.mkdir(parents=True)
    whole.write_bytes(archive[:-2000])
    without_check_sum(monkeypatch)
    with pytest.raises((DownloadError, DataError)):
        read("cifar10", None, download=True)
    with pytest.raises(DataError, match="is not in"):
        read("cifar10", None)
    whole.write_bytes(archive)
    assert len(read("cifar10", None, download=True).train_images) == 20


def test_the_real_cifar_subset_is_read_and_its_notes_say_what_it_is() -> None:
    split = read("cifar10", shared("data"))
    assert (len(split.train_images), len(split.test_images)) == (10_000, 2_000)
    assert split.class_names == DATASETS["cifar10"].class_names
    assert "missing: data_batch_2, data_batch_3, data_batch_4, data_batch_5" in split.notes[0]
    assert "Not the official files" in split.notes[1] and "data_batch_1, test_batch" in split.notes[1]


def test_cifar_is_found_from_the_root_and_from_its_own_folder(tmp_path: Path) -> None:
    root = write_cifar10(tmp_path)
    assert torch.equal(read("cifar10", root).train_images, read("cifar10", root / "cifar-10-batches-py").train_images)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": np.zeros((20, 3000), dtype=np.uint8)},
        {"data": [1, 2, 3]},
        {"labels": [0] * 19},
        {"labels": [10] * 20},
        {"labels": [-1] * 20},
        {"labels": ["cat"] * 20},
        {"labels": None},
        {"data": np.zeros((0, 3072), dtype=np.uint8), "labels": []},
    ],
)
def test_a_cifar_file_with_other_contents_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"data_batch_1 holds .*official"):
        read("cifar10", write_cifar10(tmp_path, **changes))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "batch", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"data": CodeRunner(trace)}, protocol=protocol))
    with pytest.raises(DataError, match=r"batch is refused: .*asks for \w+\.mkdir"):
        read_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "numpy.load", "numpy.core.multiarray.scalar", "os.system", "_codecs.decode"]
)
def test_no_other_name_is_resolved(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    (tmp_path / "batch").write_bytes(f"c{module}\n{attribute}\n(S'1+1'\ntR.".encode())
    with pytest.raises(DataError, match=f"asks for {name}"):
        read_pickle(tmp_path / "batch")


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_written_by_python_3_are_read_exactly(tmp_path: Path, protocol: int) -> None:
    content = {"data": np.arange(256, dtype=np.uint8).reshape(2, 128), "labels": [1, 2], "batch_label": "one"}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_pickle(tmp_path / "batch")
    assert np.array_equal(found["data"], content["data"]) and found["labels"] == [1, 2]


def test_arrays_in_columns_are_read_exactly(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": array}, protocol=2))
    assert np.array_equal(read_pickle(tmp_path / "batch")["data"], array)


def test_a_pickle_of_python_2_is_read() -> None:
    """The official files were written by Python 2, with byte strings as keys and as the array's contents."""
    from multirate_core.data import safe_pickle

    text = (
        b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntRp4\n"
        b"(I1\n(I1\nI3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\xfe\\x80'\ntb"
        b"sS'labels'\n(lp5\nI7\nas."
    )
    content = safe_pickle._ArrayUnpickler(io.BytesIO(text), encoding="bytes").load()
    assert content[b"labels"] == [7]
    assert content[b"data"].array.tolist() == [[1, 254, 128]]


def test_arrays_of_objects_or_other_types_are_refused(tmp_path: Path) -> None:
    for array in (np.array([None]), np.zeros(3), np.zeros(3, dtype=np.int64)):
        (tmp_path / "batch").write_bytes(pickle.dumps({"data": array}, protocol=2))
        with pytest.raises(DataError, match="another type than unsigned bytes"):
            read_pickle(tmp_path / "batch")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_pickle_is_named(tmp_path: Path, share: float) -> None:
    content = pickle.dumps({"data": np.zeros((20, 3072), dtype=np.uint8)}, protocol=2)
    (tmp_path / "batch").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"batch (is refused|cannot be read)"):
        read_pickle(tmp_path / "batch")


def test_a_pickle_that_is_no_dict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="holds list"):
        read_pickle(tmp_path / "batch")


def test_read_only_files_are_enough(tmp_path: Path) -> None:
    root = small_fashion(tmp_path / "files")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    config = DataConfig("fashion_mnist", path=str(root))
    assert len(load(config, seed=0, image_size=28, channels=1, say=silent).train_images) == 30
    copy = dataclasses.replace(config, path=str(tmp_path / "copy"))
    assert len(load(copy, seed=0, image_size=28, channels=1, say=silent).train_images) == 30
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
