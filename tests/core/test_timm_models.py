"""Networks of timm: by name, with a head of the right size, at the size that they were made for, or why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multirate_core.config import DataConfig, ModelConfig
from multirate_core.data.catalog import data_shape, usual_shape
from multirate_core.errors import DownloadError, ModelError, WeightsError
from multirate_core.layers.describe import TreeRequest, describe
from multirate_core.models.catalog import model_info, source_of
from multirate_core.models.registry import BuiltModel, build, build_skeleton, sample_shape
from multirate_core.partition import preset

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

timm = pytest.importorskip("timm", reason="timm is not installed")

VIT, RESNET = "vit_tiny_patch16_224", "resnet18.a1_in1k"
TINY = "test_resnet.r160_in1k"
OWN_SIZE = (3, 0, 0)
SMALL = (3, 32, 32)


def built(name: str, weights: str = "none", classes: int = 5, shape: tuple[int, ...] = SMALL) -> BuiltModel:
    torch.manual_seed(1)
    return build(ModelConfig("timm", weights, name), classes, shape)


@pytest.mark.parametrize(("name", "head", "edge"), [(VIT, "head", 224), (RESNET, "fc", 224), ("resnetv2_50", "", 0)])
@pytest.mark.slow
def test_the_layer_tree_has_shapes_multiply_adds_and_the_right_head(name: str, head: str, edge: int) -> None:
    tree = describe(TreeRequest("timm", 7, OWN_SIZE, name))
    assert tree.note == "" and tree.root.output_shape == (7,)
    assert tree.input_shape == (3, edge or 224, edge or 224)
    assert tree.head == (head or "head.fc",)
    assert tree.root.multiply_adds > 10**9
    fast = [each for each, group in preset("head", tree, 5).assignment.items() if group == "fast"]
    assert fast == [f"{tree.head[0]}.weight", f"{tree.head[0]}.bias"]


@pytest.mark.slow
def test_the_last_block_of_a_transformer_is_found() -> None:
    tree = describe(TreeRequest("timm", 7, OWN_SIZE, VIT))
    fast = [name for name, group in preset("last_block_head", tree, 5).assignment.items() if group == "fast"]
    assert any(name.startswith("blocks.11.") for name in fast) and not any("blocks.10." in name for name in fast)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["levit_128s", "deit_tiny_distilled_patch16_224"])
def test_a_head_of_two_layers_is_both_of_them(name: str) -> None:
    with torch.device("meta"):
        _, head = build_skeleton("timm", 4, sample_shape(ModelConfig("timm", source=name), OWN_SIZE), name)
    assert head == ("head", "head_dist")


def test_a_network_trains_and_has_its_own_normalisation() -> None:
    ours = built(TINY)
    assert ours.module.training and ours.head == ("fc",)
    assert (ours.mean, ours.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert built("test_byobnet").mean == (0.485, 0.456, 0.406)
    loss = ours.module(torch.randn(2, *SMALL)).square().sum()
    loss.backward()
    assert all(weight.grad is not None for weight in ours.module.parameters())


def test_the_same_seed_gives_the_same_random_weights() -> None:
    first, again = built(TINY).module.state_dict(), built(TINY).module.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_without_an_image_size_the_network_is_asked_for_it() -> None:
    info = model_info("timm")
    shape = data_shape(DataConfig("digits"), info).input_shape
    assert shape == usual_shape(info) == OWN_SIZE
    assert sample_shape(ModelConfig("timm", source="swinv2_tiny_window8_256"), shape) == (3, 256, 256)
    assert data_shape(DataConfig("digits", image_size=64), info).input_shape == (3, 64, 64)
    assert sample_shape(ModelConfig("timm", source=RESNET), (3, 64, 64)) == (3, 64, 64)
    with pytest.raises(ModelError, match=r"1024×768.*Set their size"):
        sample_shape(ModelConfig("timm", source="vit_base_patch16_sapiens2"), OWN_SIZE)


def test_a_size_that_the_network_does_not_take_is_refused_with_the_one_that_it_wants() -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=r"32×32: .*Set the image size to 224\."):
        build_skeleton("timm", 5, SMALL, VIT)
    with pytest.raises(ModelError, match=r"3 channel\(s\), got 1"):
        built(RESNET, shape=(1, 32, 32))


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ModelError, match=r"no network 'vit_tiny_patch16'.*vit_tiny_patch16_224"):
        built("vit_tiny_patch16")
    with pytest.raises(ModelError, match=r"no network 'resnet18\.nobody'.*resnet18\."):
        built("resnet18.nobody")


@pytest.mark.parametrize("name", ["hf-hub:someone/net", "local-dir:/tmp", "someone/net", "../net", "a" * 101, "résnet"])
def test_a_page_of_the_hub_and_a_folder_are_no_names(name: str) -> None:
    with pytest.raises(ModelError, match="is not a name in timm"):
        source_of(model_info("timm"), name)
    with pytest.raises(ModelError, match="is not a name in timm"):
        built(name)
    with pytest.raises(ModelError, match="needs a source: a name in timm"):
        source_of(model_info("timm"), "")


def test_pretrained_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"cannot be had from the hub.*weights 'none'"):
        built(RESNET, "pretrained")
    without = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(ModelError, match="no pretrained weights"):
        built(without, "pretrained")


def test_pretrained_weights_from_the_cache_fill_the_network_and_its_head_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants
    from safetensors.torch import save_file

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    torch.manual_seed(5)
    published = timm.create_model("test_resnet").state_dict()
    snapshot = tmp_path / "models--timm--test_resnet.r160_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123", encoding="utf-8")
    save_file(published, snapshot / "model.safetensors")
    fits, other = built(TINY, "pretrained", classes=1000), built(TINY, "pretrained", classes=5)
    assert all(torch.equal(fits.module.state_dict()[name], published[name]) for name in published)
    assert torch.equal(other.module.state_dict()["conv1.0.weight"], published["conv1.0.weight"])
    assert other.module.get_parameter("fc.weight").shape == (5, 96)
    assert any("as many classes and is used" in note for note in fits.notes)
    assert any("head is new" in note and "1000 classes" in note for note in other.notes)


def test_a_local_file_fills_the_network_and_its_head_where_it_fits(tmp_path: Path) -> None:
    file = tmp_path / "resnet.pth"
    torch.manual_seed(5)
    source = timm.create_model("test_resnet", num_classes=5)
    torch.save(source.state_dict(), file)
    fits, other = built(TINY, str(file)), built(TINY, str(file), classes=6)
    assert any("head fits (5 classes)" in note for note in fits.notes)
    assert any("head is new" in note for note in other.notes)
    assert torch.equal(fits.module.get_parameter("fc.weight"), source.fc.weight)
    assert torch.equal(other.module.get_parameter("layer1.0.conv1.weight"), source.layer1[0].conv1.weight)
    with pytest.raises(WeightsError, match="do not fit"):
        built("test_vit", str(file), shape=(3, 160, 160))
