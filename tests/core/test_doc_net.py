"""The shipped network for text, its tokenizer and weights, and the script that made them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from multirate_core.errors import WeightsError
from multirate_core.models import doc_net, masked_tokens, pretrain_doc_net
from multirate_core.models.pretrain_doc_net import QUICK, PretrainSettings

TEXTS = [
    "Return the names of all files in a folder.",
    "Open a socket; raise an error if it is closed. " * 3,
    "Süß! 漢字",
]


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(doc_net.RECORD_PATH.read_text(encoding="utf-8"))
    return found


def batch_of(texts: list[str]) -> tuple[Tensor, Tensor]:
    rows = [encoding.ids for encoding in doc_net.load_tokenizer().encode_batch(texts)]
    input_ids = masked_tokens.pad(rows)
    return input_ids, input_ids != doc_net.PAD_ID


def network(num_classes: int = 5, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return doc_net.build(num_classes)


# The network


def test_every_layer_with_weights_has_a_name_worth_dragging() -> None:
    model = network()
    assert [name for name, _ in model.named_children()] == [
        "tokens",
        "positions",
        "embedding_norm",
        "layers",
        "norm",
        "head",
    ]
    block = [name for name, module in model.get_submodule("layers.0").named_modules() if not list(module.children())]
    attention = [f"attention.{name}" for name in ("query", "key", "value", "output")]
    assert block == ["norm1", *attention, "norm2", "mlp.0", "mlp.1", "mlp.2"]
    assert all(p.requires_grad for p in model.parameters())


def test_padding_that_is_masked_does_not_change_the_scores() -> None:
    model = network().eval()
    input_ids, mask = batch_of(TEXTS)
    assert not mask.all()
    together = model(input_ids, mask)
    alone = [model(input_ids[i : i + 1, : int(mask[i].sum())]) for i in range(len(TEXTS))]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    garbage = input_ids.where(mask, 77)
    assert torch.equal(model(garbage, mask), together)
    assert not torch.allclose(model(garbage), together, atol=1e-3)


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_masks_of_any_type_mean_the_same(kind: torch.dtype) -> None:
    input_ids, mask = batch_of(TEXTS)
    assert torch.equal(network()(input_ids, mask.to(kind)), network()(input_ids, mask))


def test_the_order_of_words_matters() -> None:
    model = network()
    assert not torch.allclose(model(torch.tensor([[1, 9, 8]])), model(torch.tensor([[1, 8, 9]])), atol=1e-6)


@pytest.mark.slow  # the first use of the meta device loads much of torch
@pytest.mark.parametrize("length", [1, doc_net.MAX_TOKENS])
def test_it_works_on_the_meta_device_with_and_without_mask(length: int) -> None:
    with torch.device("meta"):
        model = doc_net.build(7)
    input_ids = torch.zeros(2, length, dtype=torch.int64, device="meta")
    assert model(input_ids).shape == model(input_ids, torch.ones_like(input_ids)).shape == (2, 7)


@pytest.mark.slow
def test_it_compiles_as_one_graph_with_and_without_mask() -> None:
    model = network()
    input_ids, mask = batch_of(TEXTS)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(input_ids, mask), model(input_ids, mask), atol=1e-5)
    assert torch.allclose(compiled(input_ids), model(input_ids), atol=1e-5)
    compiled(input_ids, mask).sum().backward()
    assert model.get_submodule("tokens").weight.grad is not None


def test_the_random_weights_follow_the_seed() -> None:
    first, second, other = network(seed=4).state_dict(), network(seed=4).state_dict(), network(seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["tokens.weight"], other["tokens.weight"])


# The tokenizer


def test_every_text_becomes_tokens_and_comes_back_in_lower_case() -> None:
    tokenizer = doc_net.load_tokenizer()
    for text in TEXTS:
        tokens = tokenizer.encode(text).ids
        assert tokens[0] == doc_net.CLS_ID
        assert max(tokens) < doc_net.VOCABULARY
        assert tokenizer.decode(tokens).strip() == text.lower().strip()


def test_the_special_tokens_are_where_the_network_expects_them() -> None:
    tokenizer = doc_net.load_tokenizer()
    assert [tokenizer.id_to_token(number) for number in range(3)] == list(doc_net.SPECIAL_TOKENS)
    assert (doc_net.PAD_ID, doc_net.CLS_ID, doc_net.MASK_ID) == (0, 1, 2)
    assert tokenizer.get_vocab_size() == doc_net.VOCABULARY


def test_a_changed_tokenizer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "tokenizer.json"
    damaged.write_bytes(doc_net.TOKENIZER_PATH.read_bytes() + b" ")
    monkeypatch.setattr(doc_net, "TOKENIZER_PATH", damaged)
    with pytest.raises(WeightsError, match="SHA-256"):
        doc_net.load_tokenizer()
    damaged.unlink()
    with pytest.raises(WeightsError, match="missing"):
        doc_net.load_tokenizer()


# The shipped files


def test_the_files_are_the_recorded_ones_and_small(record: dict[str, Any]) -> None:
    weights, tokenizer = doc_net.ASSET_PATH.read_bytes(), doc_net.TOKENIZER_PATH.read_bytes()
    assert hashlib.sha256(weights).hexdigest() == doc_net.SHA256 == record["sha256"]
    assert hashlib.sha256(tokenizer).hexdigest() == doc_net.TOKENIZER_SHA256 == record["tokenizer_sha256"]
    assert (record["file"], record["tokenizer_file"]) == (doc_net.ASSET_PATH.name, doc_net.TOKENIZER_PATH.name)
    assert (len(weights), len(tokenizer)) == (record["bytes"], record["tokenizer_bytes"])
    assert len(weights) + len(tokenizer) <= 8 * 2**20


def test_the_weights_fit_the_network_in_all_but_the_head() -> None:
    shipped, own = load_file(doc_net.ASSET_PATH), network().state_dict()
    assert own.keys() - shipped.keys() == {"head.weight", "head.bias"}
    assert {name: tensor.shape for name, tensor in shipped.items()} == {name: own[name].shape for name in shipped}
    assert all(tensor.dtype == torch.float16 and tensor.isfinite().all() for tensor in shipped.values())


def test_the_record_tells_what_the_script_would_do_today(record: dict[str, Any]) -> None:
    assert PretrainSettings(**record["settings"]) == PretrainSettings()
    assert record["vocabulary"] == doc_net.VOCABULARY
    assert record["text"]["characters"] > 1_000_000
    before, after = record["held_out_before"], record["held_out_after"]
    assert after["masked"] < before["masked"] - 2 and after["pairs"] < before["pairs"] - 0.5
    assert record["versions"].keys() >= {"python", "torch", "tokenizers", "cpu", "sympy"}


# Masked tokens


def test_fifteen_in_a_hundred_tokens_are_chosen_and_most_of_them_hidden() -> None:
    input_ids = torch.full((200, 100), 50)
    shown, chosen = masked_tokens.mask(input_ids, 0.15, torch.Generator().manual_seed(0))
    assert chosen.float().mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[chosen] == doc_net.MASK_ID).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (shown[chosen] == 50).float().mean() == pytest.approx(0.1, abs=0.03)
    assert torch.equal(shown[~chosen], input_ids[~chosen])
    assert len(shown.unique()) > 100  # random tokens in the place of some


def test_special_tokens_are_neither_chosen_nor_put_in() -> None:
    input_ids = torch.tensor([[doc_net.CLS_ID, 9, doc_net.PAD_ID]]).repeat(500, 1)
    shown, chosen = masked_tokens.mask(input_ids, 0.5, torch.Generator().manual_seed(0))
    assert not chosen[:, [0, 2]].any()
    assert torch.equal(shown[:, [0, 2]], input_ids[:, [0, 2]])
    assert set(shown[:, 1].tolist()) & {doc_net.PAD_ID, doc_net.CLS_ID} == set()


def test_a_long_text_becomes_rows_that_lose_nothing_and_short_ones_are_left_out() -> None:
    tokenizer = doc_net.load_tokenizer()
    text = "Read and write files of any size. " * 80
    rows = masked_tokens.token_rows(tokenizer, [text, "Too short."])
    assert len(rows) > 1
    assert all(masked_tokens.SHORTEST_ROW <= len(row) <= masked_tokens.ROW_TOKENS for row in rows)
    assert len(rows[0]) == masked_tokens.ROW_TOKENS
    assert text.lower().strip().startswith(tokenizer.decode([token for row in rows for token in row]).strip())


@pytest.mark.parametrize("length", [masked_tokens.SHORTEST_ROW, 60, masked_tokens.ROW_TOKENS])
def test_two_crops_of_a_row_do_not_overlap_and_stand_in_its_order(length: int) -> None:
    row = list(range(100, 100 + length))
    generator = torch.Generator().manual_seed(0)
    lengths = set()
    for _ in range(200):
        first, second = masked_tokens.two_crops(row, generator)
        assert first[0] == second[0] == doc_net.CLS_ID
        assert first[-1] < second[1]
        for crop in (first, second):
            assert crop[1:] == list(range(crop[1], crop[-1] + 1))
            assert 6 <= len(crop) - 1 <= masked_tokens.CROP_TOKENS
            lengths.add(len(crop))
    assert len(lengths) > 3
    assert max(lengths) <= doc_net.MAX_TOKENS


def test_an_epoch_of_batches_has_every_row_once_in_another_order() -> None:
    rows = [[number] for number in range(325)]
    endless = masked_tokens.batches(rows, 10, torch.Generator().manual_seed(0))
    epochs = [[row[0] for _ in range(32) for row in next(endless)] for _ in range(2)]
    assert all(len(set(epoch)) == 320 for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])


# The script


@pytest.mark.slow
def test_two_pretrainings_from_one_seed_give_equal_bits_and_another_seed_other_ones() -> None:
    few = replace(QUICK, steps=4)
    first, second = (pretrain_doc_net.pretrain(few) for _ in range(2))
    other = pretrain_doc_net.pretrain(replace(few, seed=1)).model.state_dict()
    weights, again = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["layers.0.mlp.0.weight"], other["layers.0.mlp.0.weight"])
    assert first.tokenizer.to_str() == second.tokenizer.to_str()
    assert (first.before, first.after) == (second.before, second.after)


@pytest.mark.slow
def test_pretraining_leaves_the_settings_of_torch_as_they_were() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    pretrain_doc_net.pretrain(replace(QUICK, steps=1, max_files=4))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.slow
def test_the_quick_run_lowers_the_loss_and_writes_files_that_fit_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    pretrain_doc_net.main(["--out", str(folder), "--quick"])
    weights, tokenizer, path = (
        folder / asset.name for asset in (doc_net.ASSET_PATH, doc_net.TOKENIZER_PATH, doc_net.RECORD_PATH)
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record == json.loads(capsys.readouterr().out)
    assert record["held_out_after"]["masked"] < record["held_out_before"]["masked"] - 1
    assert record["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["tokenizer_sha256"] == hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    assert PretrainSettings(**record["settings"]) == QUICK
    assert load_file(weights).keys() == load_file(doc_net.ASSET_PATH).keys()
