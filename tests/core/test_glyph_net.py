"""The shipped network, its weights, and the task and script that made them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from multirate_core.config import ModelConfig
from multirate_core.errors import WeightsError
from multirate_core.models import glyph_net, glyphs, pretrain_glyphs, registry
from multirate_core.models.pretrain_glyphs import PretrainSettings

CLASSES = len(glyphs.GLYPHS)
TWELVE_STEPS = PretrainSettings(seed=5, steps=12, batch_size=16)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(glyph_net.RECORD_PATH.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return glyphs.render_glyphs()


def draw(pictures: torch.Tensor, seed: int, count: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    return glyphs.draw_batch(pictures, count, glyph_net.INPUT_SIZE, torch.Generator().manual_seed(seed))


# The source task


def test_no_digit_and_no_double_is_among_the_glyphs() -> None:
    assert not any(glyph.isnumeric() for glyph in glyphs.GLYPHS)
    assert not set(glyphs.GLYPHS) & set("OoQDIil|/!()[]{}ZzSs$bGBgq")
    assert len(set(glyphs.GLYPHS)) == CLASSES > 30


def test_every_glyph_is_drawn_whole_and_unlike_all_others(pictures: torch.Tensor) -> None:
    assert pictures.shape == (CLASSES, len(glyphs.STROKE_WIDTHS), 64, 64)
    border = torch.ones(64, 64, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert pictures[:, :, border].max() == 0  # nothing is cut off
    thin = pictures[:, 0].flatten(1)
    distances = torch.cdist(thin, thin) + torch.eye(CLASSES) * 1e9
    assert distances.min() > 3


def test_a_wider_stroke_has_more_ink(pictures: torch.Tensor) -> None:
    ink = pictures.sum(dim=(2, 3))
    assert (ink.diff(dim=1) > 0).all()


def test_a_batch_of_glyphs_follows_its_generator_alone(pictures: torch.Tensor) -> None:
    images, labels = draw(pictures, seed=1)
    again, again_labels = draw(pictures, seed=1)
    other, _ = draw(pictures, seed=2)
    assert images.shape == (32, 1, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, again)
    assert torch.equal(labels, again_labels)
    assert not torch.equal(images, other)


def test_the_same_glyph_comes_out_different_every_time(pictures: torch.Tensor) -> None:
    images, _ = draw(pictures[:1, :1], seed=1, count=8)
    assert torch.pdist(images.flatten(1)).min() > 1


# The network


def test_the_top_level_blocks_have_names_worth_dragging() -> None:
    model = glyph_net.build(10)
    assert [name for name, _ in model.named_children()] == ["stem", "layer1", "layer2", "layer3", "fc"]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 32, 10), (3, 32, 7), (1, 28, 2), (1, 8, 3)])
def test_any_number_of_classes_and_channels_and_other_sizes_work(channels: int, size: int, classes: int) -> None:
    model = glyph_net.build(classes, channels)
    assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


def test_the_random_weights_follow_the_seed() -> None:
    torch.manual_seed(4)
    first = glyph_net.build(10).state_dict()
    torch.manual_seed(4)
    second = glyph_net.build(10).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


# The shipped weights


def test_the_weights_file_is_the_recorded_one_and_small(record: dict[str, Any]) -> None:
    content = glyph_net.ASSET_PATH.read_bytes()
    assert hashlib.sha256(content).hexdigest() == glyph_net.SHA256 == record["sha256"]
    assert len(content) == record["bytes"] <= 4 * 2**20
    assert record["file"] == glyph_net.ASSET_PATH.name


def test_the_record_tells_what_the_script_would_do_today(record: dict[str, Any]) -> None:
    settings = PretrainSettings()
    assert PretrainSettings(**record["settings"]) == settings
    assert record["data"]["classes"] == list(glyphs.GLYPHS)
    assert record["data"]["images"] == settings.steps * settings.batch_size
    assert record["data"]["image_size"] == glyph_net.INPUT_SIZE
    assert (record["data"]["mean"], record["data"]["std"]) == (list(glyph_net.MEAN), list(glyph_net.STD))
    assert record["versions"].keys() >= {"python", "torch", "pillow", "cpu"}


def test_the_shipped_weights_read_fresh_glyphs(record: dict[str, Any], pictures: torch.Tensor) -> None:
    model = pretrained(CLASSES)
    images, labels = draw(pictures, seed=77, count=400)
    with torch.inference_mode():
        right = model.eval()(pretrain_glyphs.normalize(images)).argmax(dim=1) == labels
    assert right.float().mean() > 0.9  # chance is below 0.03
    assert record["source_accuracy"] > 0.9


def test_a_head_of_another_size_keeps_its_own_weights() -> None:
    shipped = load_file(glyph_net.ASSET_PATH)
    own = pretrained(10).state_dict()
    assert own["fc.weight"].shape == (10, shipped["fc.weight"].shape[1])
    body = [name for name in own if not name.startswith("fc.")]
    assert all(torch.equal(own[name], shipped[name]) for name in body)


def test_a_changed_weights_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "glyph_net.safetensors"
    damaged.write_bytes(glyph_net.ASSET_PATH.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(glyph_net, "ASSET_PATH", damaged)
    with pytest.raises(WeightsError, match="SHA-256"):
        pretrained(10)


def pretrained(num_classes: int) -> torch.nn.Module:
    return registry.build(ModelConfig("glyph_net"), num_classes, (1, glyph_net.INPUT_SIZE, glyph_net.INPUT_SIZE)).module


# The script


@pytest.mark.slow
def test_two_pretrainings_from_one_seed_give_equal_bits_and_another_seed_other_ones() -> None:
    first = pretrain_glyphs.pretrain(TWELVE_STEPS).state_dict()
    second = pretrain_glyphs.pretrain(TWELVE_STEPS).state_dict()
    other = pretrain_glyphs.pretrain(PretrainSettings(seed=6, steps=2, batch_size=16)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


def test_pretraining_leaves_the_settings_of_torch_as_they_were() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    pretrain_glyphs.pretrain(PretrainSettings(steps=1, batch_size=2))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.slow
def test_pretraining_lowers_the_loss_on_fresh_glyphs(pictures: torch.Tensor) -> None:
    images, labels = draw(pictures, seed=9, count=200)
    torch.manual_seed(TWELVE_STEPS.seed)
    untrained = glyph_net.build(CLASSES)
    trained = pretrain_glyphs.pretrain(PretrainSettings(seed=TWELVE_STEPS.seed, steps=40, batch_size=32))
    with torch.inference_mode():
        before, after = (
            functional.cross_entropy(model.train()(pretrain_glyphs.normalize(images)), labels)
            for model in (untrained, trained)
        )
    assert after < before - 0.5


def test_the_script_writes_weights_and_a_record_that_fit_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretrain_glyphs, "EVALUATION_IMAGES", 100)
    path = tmp_path / "new" / "weights.safetensors"
    pretrain_glyphs.main(["--out", str(path), "--steps", "2", "--seed", "3"])
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert record == json.loads(capsys.readouterr().out)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["settings"]["steps"] == 2
    assert record["settings"]["seed"] == 3
    assert record["data"]["images"] == 2 * PretrainSettings().batch_size
    assert 0 <= record["source_accuracy"] <= 1
    assert load_file(path).keys() == glyph_net.build(CLASSES).state_dict().keys()
