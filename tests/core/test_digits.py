"""The handwritten digits of the offline default pair."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from multirate_core import home
from multirate_core.data.digits import DigitsSplit, load_digits_split


@pytest.fixture(scope="module")
def split() -> DigitsSplit:
    return load_digits_split()


def images_as_bytes(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


def test_all_images_are_there_in_the_size_of_the_network(split: DigitsSplit) -> None:
    assert split.train_images.shape == (1197, 1, 32, 32)
    assert split.test_images.shape == (600, 1, 32, 32)
    assert split.train_images.dtype == split.test_images.dtype == torch.uint8
    assert split.train_labels.shape == (1197,)
    assert split.test_labels.shape == (600,)
    assert split.train_labels.dtype == split.test_labels.dtype == torch.int64
    assert split.class_names == tuple("0123456789")


def test_the_full_range_of_grey_is_used(split: DigitsSplit) -> None:
    assert int(split.train_images.min()) == 0
    assert int(split.train_images.max()) == 255


def test_every_class_has_its_share_of_both_parts(split: DigitsSplit) -> None:
    train, test = split.train_labels.bincount(minlength=10), split.test_labels.bincount(minlength=10)
    expected = (train + test) * 600 / 1797
    assert (test - expected).abs().max() < 1


def test_together_the_parts_are_scikit_learns_digits_each_image_once(split: DigitsSplit) -> None:
    from sklearn.datasets import load_digits

    whole = load_digits_split(image_size=8)
    both = torch.cat([whole.train_images, whole.test_images])
    original = (torch.from_numpy(load_digits().data).float() / 16 * 255).round().to(torch.uint8)
    assert sorted(images_as_bytes(both)) == sorted(images_as_bytes(original.reshape(-1, 1, 8, 8)))
    assert len(original) == 1797


def test_no_test_image_is_also_a_training_image(split: DigitsSplit) -> None:
    assert not set(images_as_bytes(split.train_images)) & set(images_as_bytes(split.test_images))


def test_labels_stay_with_their_images() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    original = (torch.from_numpy(digits.data).float() / 16 * 255).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    label_of = dict(zip(images_as_bytes(original), digits.target.tolist(), strict=True))
    split = load_digits_split(seed=3, image_size=8)
    assert [label_of[image] for image in images_as_bytes(split.test_images)] == split.test_labels.tolist()
    assert [label_of[image] for image in images_as_bytes(split.train_images)] == split.train_labels.tolist()


def test_a_seed_gives_one_split_and_another_seed_another(split: DigitsSplit) -> None:
    again, other = load_digits_split(seed=0), load_digits_split(seed=1)
    assert torch.equal(again.train_images, split.train_images)
    assert torch.equal(again.test_labels, split.test_labels)
    assert not torch.equal(other.test_images, split.test_images)


def test_the_size_of_image_and_test_part_can_be_chosen() -> None:
    split = load_digits_split(image_size=16, test_count=997)
    assert split.train_images.shape == (800, 1, 16, 16)
    assert split.test_images.shape == (997, 1, 16, 16)


def test_importing_the_module_loads_neither_torch_nor_scikit_learn() -> None:
    program = (
        "import sys, multirate_core.data.digits; sys.exit(sum(name in sys.modules for name in ('torch', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
def test_the_second_race_reads_equal_digits_without_scikit_learn() -> None:
    code = """
import sys
from multirate_core.data.digits import load_digits_split
split = load_digits_split(seed=3)
print("sklearn" in sys.modules, int(split.train_images.sum()), split.test_labels.tolist()[:20])
"""
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(" ", 1)
        for _ in range(2)
    ]
    assert [loaded for loaded, _ in said] == ["True", "False"]
    assert said[0][1] == said[1][1]


def test_a_damaged_file_of_kept_digits_is_made_again() -> None:
    whole = load_digits_split(seed=4)
    (file,) = home.subfolder("data").glob("digits-*-4-600.npz")
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(load_digits_split(seed=4).train_images, whole.train_images)
