"""The catalog of models is a copy of facts; here it is compared with their source."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torchvision

from multirate_core.errors import ModelError
from multirate_core.models.catalog import MODELS, OFFLINE_NAME, model_info, require_image_size

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

PUBLISHED = sorted(name for name, info in MODELS.items() if info.maker == "torchvision")


def test_the_catalog_names_every_classifier_of_torchvision_and_no_other() -> None:
    assert sorted(torchvision.models.list_models(module=torchvision.models)) == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_and_notes_agree_with_the_published_weights(name: str) -> None:
    info, entry = MODELS[name], torchvision.models.get_model_weights(name).DEFAULT
    assert info.pretrained and not info.offline and info.channels == 3
    assert [info.image_size] == entry.transforms().crop_size
    millions, megabytes = entry.meta["num_params"] / 1e6, entry.meta["_file_size"]
    assert info.note.startswith(f"{millions:.1f}".removesuffix(".0") + " M parameters")
    assert f" {megabytes:.0f} MB" in info.note


def test_the_offline_network_agrees_with_its_module() -> None:
    glyph_net = pytest.importorskip("multirate_core.models.glyph_net")
    info = model_info(OFFLINE_NAME)
    assert info.offline and info.pretrained and info.channels == 1
    assert info.image_size == glyph_net.INPUT_SIZE


def test_the_catalog_needs_no_torch() -> None:
    code = (
        "import sys; import multirate_core.models.catalog, multirate_core.data.catalog; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'resnet81'.*resnet18"):
        model_info("resnet81")


def test_an_endless_name_is_cut_in_the_message() -> None:
    with pytest.raises(ModelError) as caught:
        model_info("x" * 100_000)
    assert len(str(caught.value)) < 400


def test_images_that_are_too_small_get_the_smallest_size_that_works() -> None:
    with pytest.raises(ModelError, match=r"alexnet needs images of at least 63 pixels, got 32"):
        require_image_size(model_info("alexnet"), 32)
    require_image_size(model_info("alexnet"), 63)


def test_a_model_of_one_size_names_it() -> None:
    with pytest.raises(ModelError, match=r"vit_b_16 takes images of exactly 224 pixels, got 256"):
        require_image_size(model_info("vit_b_16"), 256)
