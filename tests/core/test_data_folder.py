"""Image folders: how they are listed and split, and what every awkward image does."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from image_cases import COLOURS, draw_folder, noise_image, silent
from PIL import Image

from multirate_core.config import DataConfig
from multirate_core.data.catalog import data_shape
from multirate_core.data.folder_scan import list_folder, split_rows
from multirate_core.data.image_folder import decode
from multirate_core.data.registry import DataSplit, load
from multirate_core.errors import ConfigError, DataError

TWO = {"green": 10, "red": 10}


def read(folder: Path, image_size: int = 16, **settings: object) -> DataSplit:
    config = DataConfig("folder", path=str(folder), **settings)  # type: ignore[arg-type]
    return load(config, seed=0, image_size=image_size, channels=3, say=silent)


def huge_png(path: Path) -> None:
    """Write the header of an image of 50,000 × 50,000 pixels and a few of its bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def truncated_jpeg(path: Path) -> None:
    noise_image(0).save(path)
    path.write_bytes(path.read_bytes()[:600])


def noise_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def float_tiff(path: Path) -> None:
    Image.fromarray(np.ones((9, 9), dtype=np.float32)).save(path)


def damaged_png(path: Path) -> None:
    noise_image(0).save(path)
    content = bytearray(path.read_bytes())
    content[60:120] = bytes(60)
    path.write_bytes(bytes(content))


BAD: dict[str, Callable[[Path], None]] = {
    "huge.png": huge_png,
    "cut.jpg": truncated_jpeg,
    "noise.png": noise_bytes,
    "empty.webp": empty_file,
    "float.tiff": float_tiff,
    "damaged.png": damaged_png,
}


def test_train_and_val_folders_are_used_as_they_are(tmp_path: Path) -> None:
    draw_folder(tmp_path / "train", TWO)
    draw_folder(tmp_path / "val", {"green": 2, "red": 3})
    split = read(tmp_path)
    assert split.class_names == ("green", "red")
    assert split.train_labels.bincount().tolist() == [10, 10] and split.test_labels.bincount().tolist() == [2, 3]
    for label, name in enumerate(split.class_names):
        middle = split.train_images[split.train_labels == label].float().mean(dim=(0, 2, 3))
        assert (middle - torch.tensor(COLOURS[name])).abs().max() < 3


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_a_test_folder_may_have_several_names(tmp_path: Path, name: str) -> None:
    draw_folder(tmp_path / "train", TWO)
    draw_folder(tmp_path / name, {"green": 1, "red": 1})
    assert len(list_folder(tmp_path).test) == 2


def test_a_second_test_folder_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    for name in ("train", "test", "val"):
        draw_folder(tmp_path / name, TWO)
    listing = list_folder(tmp_path)
    assert all("val" in path.parts for path, _ in listing.test)
    assert "The folder test was not used." in listing.notes


def test_without_a_test_folder_a_fifth_of_every_class_is_split_off_by_the_seed(tmp_path: Path) -> None:
    draw_folder(tmp_path, {"green": 10, "red": 25})
    listing = list_folder(tmp_path, seed=3)
    assert [label for _, label in listing.test].count(0) == 2 and [label for _, label in listing.test].count(1) == 5
    assert {*listing.train, *listing.test} == {
        *list_folder(tmp_path, seed=4).train,
        *list_folder(tmp_path, seed=4).test,
    }
    assert listing == list_folder(tmp_path, seed=3) and listing.test != list_folder(tmp_path, seed=4).test
    assert "7 of 35 images" in listing.notes[0] and "seed 3" in listing.notes[0]


def test_every_row_is_on_exactly_one_side_of_a_split() -> None:
    labels = [row % 3 for row in range(50)] + [3, 3]
    train, test = split_rows(labels, seed=0)
    assert sorted(train + test) == list(range(52))
    assert {labels[row] for row in train} == {labels[row] for row in test} == {0, 1, 2, 3}


def test_hidden_files_other_files_and_gifs_are_passed_over(tmp_path: Path) -> None:
    draw_folder(tmp_path, TWO)
    (tmp_path / "red" / "._000.jpg").write_bytes(b"resource fork")
    (tmp_path / "red" / "notes.txt").write_text("x")
    noise_image(0).save(tmp_path / "red" / "moving.gif", save_all=True, append_images=[noise_image(1)])
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert len(list_folder(tmp_path).train + list_folder(tmp_path).test) == 20


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    draw_folder(tmp_path, TWO)
    (tmp_path / "red" / "again").symlink_to(tmp_path / "red", target_is_directory=True)
    assert len(list_folder(tmp_path).train + list_folder(tmp_path).test) == 20


def test_unfit_folders_are_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file is a file"):
        read(tmp_path / "file")
    with pytest.raises(DataError, match=r"has 0 class folder"):
        (tmp_path / "empty").mkdir()
        read(tmp_path / "empty")
    with pytest.raises(DataError, match=r"has 1 class folder\(s\) \(red\); training needs at least 2"):
        read(draw_folder(tmp_path / "one", {"red": 5}))
    with pytest.raises(DataError, match=r"class folder .*blue holds no image"):
        read(draw_folder(tmp_path / "hollow", {"red": 5, "blue": 0}))
    with pytest.raises(DataError, match=r"blue holds 1 image; without test folders at least 2"):
        read(draw_folder(tmp_path / "single", {"red": 5, "blue": 1}))


def test_a_folder_that_cannot_be_read_is_named_with_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"xxx cannot be read: File name too long"):
        read(tmp_path / ("x" * 300))


def test_a_part_of_the_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw_folder(tmp_path, {"red": 5, "blue": 5})
    listed = os.scandir

    def refuse(path: str | Path) -> Iterator[os.DirEntry[str]]:  # root, who may run the tests, may read everything
        if str(path).endswith("red"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"red cannot be read: Permission denied"):
        read(root)


def test_test_classes_that_differ_from_the_training_classes_are_listed(tmp_path: Path) -> None:
    draw_folder(tmp_path / "train", {"red": 2, "green": 2, "blue": 2})
    draw_folder(tmp_path / "val", {"red": 2, "green": 2, "violet": 2})
    with pytest.raises(DataError, match=r"missing in val: \['blue'\] \(1\), only in val: \['violet'\] \(1\)"):
        data_shape(DataConfig("folder", path=str(tmp_path)), None)


def test_a_folder_without_a_path_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="needs a path"):
        data_shape(DataConfig("folder"), None)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_name(tmp_path: Path, name: str) -> None:
    BAD[name](draw_folder(tmp_path, TWO) / "red" / name)
    with pytest.raises(DataError, match=rf"red/{name} cannot be read: .*Remove it, or choose to skip"):
        read(tmp_path)


def test_bad_images_are_skipped_by_choice_and_named(tmp_path: Path) -> None:
    draw_folder(tmp_path / "train", TWO)
    draw_folder(tmp_path / "val", {"green": 2, "red": 2})
    for name, write in BAD.items():
        write(tmp_path / "train" / "red" / name)
    truncated_jpeg(tmp_path / "val" / "green" / "zz.jpg")
    split = read(tmp_path, bad_images="skip")
    assert split.train_labels.bincount().tolist() == [10, 10] and len(split.test_labels) == 4
    assert len(split.train_images) == 20 and split.train_images.amax(dim=(1, 2, 3)).min() > 100  # none is left black
    assert split.notes[-1].startswith("7 unreadable image(s) left out: red/cut.jpg (")
    assert split.notes[-1].endswith("and 2 more.")


def test_a_class_with_only_bad_images_is_refused_even_when_they_are_skipped(tmp_path: Path) -> None:
    draw_folder(tmp_path, {"green": 5, "red": 0})
    for number in range(4):
        noise_bytes(tmp_path / "red" / f"{number}.png")
    with pytest.raises(DataError, match=r"no image of the class 'red' can be read"):
        read(tmp_path, bad_images="skip")


def test_progress_is_told_and_what_it_raises_ends_the_loading(tmp_path: Path) -> None:
    draw_folder(tmp_path, {"green": 100, "red": 100})
    config, lines = DataConfig("folder", path=str(tmp_path)), list[str]()
    load(config, seed=0, image_size=16, channels=3, say=lines.append)
    assert lines[0] == "Reading images: 0 of 200" and len(lines) == 4

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(config, seed=0, image_size=16, channels=3, say=stop)


def pixels_of(path: Path, image_size: int = 8, channels: int = 3) -> np.ndarray:
    result = decode(path, image_size, channels)
    assert isinstance(result, np.ndarray), result
    return result


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 0x8080, dtype=np.uint16)).save(tmp_path / "a.png")
    assert (pixels_of(tmp_path / "a.png") == 0x80).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_the_same_picture(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"image{ {'CMYK': '.jpg', 'YCbCr': '.tiff', 'PA': '.tiff'}.get(mode, '.png') }"
    Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    assert pixels_of(path).min() > 250 and pixels_of(path, channels=1).shape == (1, 8, 8)


def test_a_palette_with_transparent_colours_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert pixels_of(tmp_path / "a.png")[:, 0, 0].tolist() == [200, 100, 50]


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("white", "black")]
    for name in ("a.webp", "a.png", "a.tiff"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert pixels_of(tmp_path / name).min() > 250


def test_the_shorter_edge_is_scaled_and_the_middle_cut_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    image.save(tmp_path / "wide.png")
    assert pixels_of(tmp_path / "wide.png", 50)[:, :, 1:-1].min() > 250


def test_a_large_jpeg_is_scaled_with_antialiasing(tmp_path: Path) -> None:
    stripes = np.zeros((1600, 1600, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.jpg", quality=95)
    assert abs(pixels_of(tmp_path / "stripes.jpg", 32).astype(int) - 127).max() < 12
