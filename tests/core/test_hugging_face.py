"""Text networks of transformers: from a local folder, with a head of the right size, or the reason why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from text_cases import FAMILIES, HEADS, SPECIAL, save_checkpoint

from multirate_core.config import ModelConfig
from multirate_core.errors import DownloadError, ModelError, WeightsError
from multirate_core.layers.describe import TreeRequest, describe
from multirate_core.models.registry import BuiltModel, build, build_skeleton
from multirate_core.models.tokenizer import tokenizer_of
from multirate_core.partition import preset
from multirate_core.training.samples import logits

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

pytest.importorskip("transformers", reason="transformers is not installed")

LONGEST = (16,)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without a classification head, as encoders are published."""
    return save_checkpoint(family, tmp_path_factory.mktemp(family.replace("-", "")))


def built(folder: Path, classes: int = 3, weights: str = "pretrained") -> BuiltModel:
    torch.manual_seed(1)
    return build(ModelConfig("hugging_face", weights, str(folder)), classes, LONGEST)


def batch() -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([[2, 7, 9, 3], [2, 6, 3, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }


def test_an_encoder_keeps_its_weights_and_gets_a_head_of_the_right_size(family: str, encoder: Path) -> None:
    from transformers import AutoModel

    ours = built(encoder, classes=5)
    theirs = AutoModel.from_pretrained(encoder).state_dict()
    prefix = ours.module.base_model_prefix + "."
    own = ours.module.state_dict()
    same = [name for name in theirs if prefix + name in own]
    assert len(same) >= 0.9 * len(theirs)
    assert all(torch.equal(own[prefix + name], theirs[name]) for name in same)
    assert ours.head == HEADS[family] and ours.module.training
    assert logits(ours.module, batch()).shape == (2, 5)
    assert any("head is new" in note for note in ours.notes)


def test_the_same_seed_gives_the_same_new_head(encoder: Path) -> None:
    first, again = built(encoder).module.state_dict(), built(encoder).module.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_padding_does_not_change_what_a_text_gets(encoder: Path) -> None:
    model = built(encoder).module.eval()
    short = {"input_ids": torch.tensor([[2, 6, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    with torch.no_grad():
        torch.testing.assert_close(logits(model, batch())[1:], logits(model, short), atol=1e-5, rtol=1e-4)


def test_a_checkpoints_own_head_is_kept_where_it_fits_and_new_where_it_does_not(tmp_path: Path) -> None:
    folder = save_checkpoint("distilbert", tmp_path / "classifier", labels=3)
    fits, other = built(folder, classes=3), built(folder, classes=4)
    assert any("head has as many classes and is used" in note for note in fits.notes)
    assert any("another number of classes" in note for note in other.notes)
    same = torch.equal(
        fits.module.get_parameter("classifier.weight"), built(folder, 3).module.get_parameter("classifier.weight")
    )
    assert same and logits(other.module, batch()).shape == (2, 4)


def test_random_weights_are_those_of_the_seed_and_not_of_the_checkpoint(encoder: Path) -> None:
    ours, theirs = built(encoder, weights="none").module.state_dict(), built(encoder).module.state_dict()
    matrix = next(name for name in ours if name.endswith("word_embeddings.weight"))
    assert not torch.equal(ours[matrix], theirs[matrix])
    assert torch.equal(ours[matrix], built(encoder, weights="none").module.state_dict()[matrix])


def test_the_layer_tree_has_shapes_multiply_adds_and_the_head(family: str, encoder: Path) -> None:
    tree = describe(TreeRequest("hugging_face", 3, LONGEST, str(encoder)))
    assert tree.note == "" and tree.head == HEADS[family] and tree.input_shape == LONGEST
    assert tree.root.output_shape == (3,)
    assert tree.root.multiply_adds > 4 * 16 * 4 * 16 * 16  # four square matrices in each of four blocks, 16 tokens
    names = {parameter.name for parameter in tree.parameters()}
    assert names == {name for name, _ in built(encoder).module.named_parameters()}


def test_the_presets_find_the_head_and_the_last_block(family: str, encoder: Path) -> None:
    tree = describe(TreeRequest("hugging_face", 3, LONGEST, str(encoder)))
    head = preset("head", tree, 5).assignment
    assert {name.split(".")[0] for name, group in head.items() if group == "fast"} == set(HEADS[family])
    last = preset("last_block_head", tree, 5).assignment
    fast = [name for name, group in last.items() if group == "fast"]
    assert any(".layer.3." in name for name in fast) and not any(".layer.2." in name for name in fast)
    assert not any("embeddings" in name for name in fast)


def test_the_tokenizer_cuts_and_frames_texts(encoder: Path) -> None:
    tokenizer = tokenizer_of(ModelConfig("hugging_face", source=str(encoder)))
    rows = tokenizer.encode(["the film was good", "unheard"], 5)
    assert [len(row) for row in rows] == [5, 3]
    assert rows[1] == [2, SPECIAL.index("[UNK]"), 3] and tokenizer.pad_id == 0
    assert tokenizer.digest == tokenizer_of(ModelConfig("hugging_face", source=str(encoder))).digest


def test_a_network_without_a_source_says_what_is_needed() -> None:
    with pytest.raises(ModelError, match="needs a source: a local folder"):
        build_skeleton("hugging_face", 2, LONGEST)
    with pytest.raises(ModelError, match="has no source"):
        build(ModelConfig("glyph_net", source="someone/bert"), 2, (1, 32, 32))


@pytest.mark.parametrize("source", ["not a name", "/no/such/folder", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(source: str) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a name"):
        build_skeleton("hugging_face", 2, LONGEST, source)


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        build_skeleton("hugging_face", 2, LONGEST, str(tmp_path))
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises((ModelError, WeightsError), match=str(tmp_path)):
        build_skeleton("hugging_face", 2, LONGEST, str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}), encoding="utf-8")
    with pytest.raises(ModelError, match="no network that classifies texts"):
        build_skeleton("hugging_face", 2, LONGEST, str(tmp_path))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", **code}), encoding="utf-8")
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')", encoding="utf-8")
    with pytest.raises(ModelError):
        build_skeleton("hugging_face", 2, LONGEST, str(tmp_path))
    assert not marker.exists()


def test_missing_and_damaged_weights_are_errors_and_not_random_numbers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_checkpoint("bert", tmp_path / "bert")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "layer.1" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=lost.replace(".", r"\.")):
        built(folder)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises((WeightsError, ModelError), match="bert"):
        built(folder)
    file.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        built(folder)


def test_a_name_on_the_hub_that_cannot_be_had_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the variable is read once, and a network would be asked
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"cannot be had from the hub.*give its folder"):
        build(ModelConfig("distilbert"), 2, LONGEST)
