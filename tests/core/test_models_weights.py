"""Weights files: what fits, what is unwrapped, what is refused and how it is said."""

from __future__ import annotations

import collections
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from image_cases import shared
from safetensors.torch import save_file
from torch import Tensor, nn

from multirate_core.config import ModelConfig
from multirate_core.errors import DownloadError, ModelError, WeightsError
from multirate_core.models import published
from multirate_core.models.registry import build, build_skeleton
from multirate_core.models.weights import load_weights, read_weights

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


class CodeRunner:
    """A pickle of this makes a file when it is loaded by a careless reader."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def small_model(num_classes: int = 3) -> nn.Module:
    layers = [("stem", nn.Conv2d(1, 4, 3)), ("norm", nn.BatchNorm2d(4)), ("fc", nn.Linear(4, num_classes))]
    return nn.Sequential(collections.OrderedDict(layers))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def squeezenet_state(seed: int = 1, num_classes: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return state_of(build_skeleton("squeezenet1_1", num_classes, (3, 64, 64))[0])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".safetensors"])
def test_every_format_gives_the_same_tensors(tmp_path: Path, suffix: str) -> None:
    state, path = state_of(small_model()), tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    tensors, notes = read_weights(path)
    assert notes == () and tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_is_unwrapped_and_says_so(tmp_path: Path, wrapper: str) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, wrapper: {f"module.{k}": v for k, v in state_of(small_model()).items()}}, path)
    tensors, notes = read_weights(path)
    assert set(tensors) == set(small_model().state_dict())
    assert any(repr(wrapper) in note for note in notes) and any("'module.'" in note for note in notes)


def test_a_local_file_gives_the_network_its_weights_and_a_new_head(tmp_path: Path) -> None:
    state, path = squeezenet_state(num_classes=5), tmp_path / "mine.safetensors"
    save_file(state, path)
    torch.manual_seed(2)
    built = build(ModelConfig("squeezenet1_1", str(path)), 7, (3, 32, 32))
    own = built.module.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in state if not name.startswith("classifier.1"))
    assert own["classifier.1.weight"].shape[0] == 7
    assert any("head is new" in note and "(5, 512, 1, 1)" in note for note in built.notes)


def test_a_head_that_fits_is_used_and_said() -> None:
    model, given = small_model(), state_of(small_model())
    notes = load_weights(model, given, ("fc",))
    assert torch.equal(model.state_dict()["fc.weight"], given["fc.weight"])
    assert notes == ("The file's head fits (3 classes) and is used.",)


def test_half_a_head_is_not_used() -> None:
    model, given = small_model(), state_of(small_model())
    del given["fc.bias"]
    before = model.state_dict()["fc.weight"].clone()
    notes = load_weights(model, given, ("fc",))
    assert torch.equal(model.state_dict()["fc.weight"], before) and "head is new" in notes[-1]


def test_half_precision_becomes_the_networks_own_type() -> None:
    model, given = (
        small_model(),
        {k: v.half() if v.is_floating_point() else v for k, v in state_of(small_model()).items()},
    )
    notes = load_weights(model, given, ("fc",))
    assert model.state_dict()["stem.weight"].dtype == torch.float32
    assert torch.equal(model.state_dict()["stem.weight"], given["stem.weight"].float())
    assert "torch.float16" in notes[0]


def test_old_files_without_batch_counters_fit() -> None:
    model, given = small_model(), state_of(small_model())
    del given["norm.num_batches_tracked"]
    given["norm.running_mean"] += 1
    load_weights(model, given, ("fc",))
    assert torch.equal(model.state_dict()["norm.running_mean"], torch.ones(4))


def test_missing_unknown_and_misshaped_names_are_listed_with_their_number() -> None:
    given = {f"extra{i}": torch.zeros(1) for i in range(7)}
    given |= {"stem.weight": torch.zeros(4, 3, 3, 3), "stem.bias": torch.zeros(4, dtype=torch.int64)}
    model = small_model()
    before = state_of(model)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, given, ("fc",))
    message = str(caught.value)
    assert "4 missing: norm.weight, norm.bias, norm.running_mean, norm.running_var" in message
    assert "7 unknown: extra0, extra1, extra2, extra3, extra4 and 2 more" in message
    assert "2 of another shape: stem.weight is (4, 3, 3, 3) float32, must be (4, 1, 3, 3) float32" in message
    assert "fc." not in message
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_the_names_of_published_densenet_and_vit_files_are_understood() -> None:
    with torch.device("meta"):
        for name, new, old in (
            ("densenet121", "denselayer1.norm2.", "denselayer1.norm.2."),
            ("vit_b_32", ".mlp.3.", ".mlp.linear_2."),
        ):
            model, head = build_skeleton(name, 1000, (3, 224, 224))
            given = {key.replace(new, old): tensor for key, tensor in model.state_dict().items()}
            assert set(given) != set(model.state_dict())
            assert "is used" in load_weights(model, given, head)[-1]


def test_auxiliary_heads_of_published_files_are_left_out_and_said() -> None:
    with torch.device("meta"):
        model, head = build_skeleton("googlenet", 10, (3, 224, 224))
        given = {**model.state_dict(), "aux1.fc2.weight": torch.zeros(1000, 1024), "aux2.fc2.bias": torch.zeros(1000)}
        notes = load_weights(model, given, head)
    assert notes[0] == "2 tensors of auxiliary heads were left out."


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path, by_torch: bool, protocol: int) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {"state_dict": {"stem.weight": CodeRunner(trace)}}
    if by_torch:
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(WeightsError, match=r"not a plain state dict.*could run code"):
        read_weights(path)
    assert not trace.exists()


def damaged_files() -> dict[str, bytes]:
    return {
        "empty.pth": b"",
        "text.pth": b"<html>404 not found</html>",
        "noise.th": bytes(range(256)) * 8,
        "empty.safetensors": b"",
        "noise.safetensors": bytes(range(256)) * 8,
        "zip.pt": b"PK\x03\x04" + bytes(100),
    }


@pytest.mark.parametrize("name", damaged_files())
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(damaged_files()[name])
    with pytest.raises(WeightsError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_named(tmp_path: Path, new_format: bool, share: float) -> None:
    path = tmp_path / "cut.pth"
    torch.save(state_of(small_model()), path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"cut\.pth"):
        read_weights(path)


def test_what_is_no_state_dict_is_refused_with_its_type(tmp_path: Path) -> None:
    cases: dict[str, Any] = {
        "list": [torch.zeros(1)],
        "Tensor": torch.zeros(1),
        "an empty state dict": {},
        "epoch are not dense tensors": {"epoch": 3, "stem.weight": torch.zeros(1)},
    }
    for expected, content in cases.items():
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match=expected):
            read_weights(tmp_path / "odd.pth")


def test_a_whole_model_and_a_torchscript_archive_are_refused(tmp_path: Path) -> None:
    torch.save(small_model(), tmp_path / "whole.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop TorchScript; its files remain
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    for name in ("whole.pth", "script.pt"):
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)


def test_a_missing_file_and_a_strange_suffix_say_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file.*gone\.pth"):
        build(ModelConfig("resnet18", str(tmp_path / "gone.pth")), 10, (3, 32, 32))
    with pytest.raises(WeightsError, match=r"cannot be read: File name too long"):
        build(ModelConfig("resnet18", str(tmp_path / ("x" * 300 + ".pth"))), 10, (3, 32, 32))
    with pytest.raises(WeightsError, match=r"'pretrained', 'none' or a file that ends in \.pth"):
        build(ModelConfig("resnet18", "imagenet"), 10, (3, 32, 32))


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build(ModelConfig("squeezenet1_1", "none"), 4, (3, 32, 32)).module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["classifier.1.weight"], states[2]["classifier.1.weight"])


def test_a_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(ModelError, match=r"resnet18 takes images of 3 channel\(s\), got 1"):
        build_skeleton("resnet18", 10, (1, 32, 32))


def test_without_a_network_the_file_the_cache_and_the_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens on the discard port
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DownloadError) as caught:
        build(ModelConfig("resnet18"), 10, (3, 32, 32))
    for part in ("resnet18-f37072fd.pth", str(tmp_path / "hub" / "checkpoints"), "'none'", "local file"):
        assert part in str(caught.value)
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())


def test_a_file_in_torchs_cache_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = squeezenet_state(num_classes=1000)
    published.cache_folder().mkdir(parents=True)
    torch.save(state, published.cache_folder() / "squeezenet1_1-b8a52dc0.pth")
    built = build(ModelConfig("squeezenet1_1"), 7, (3, 32, 32))
    assert torch.equal(built.module.state_dict()["features.0.weight"], state["features.0.weight"])
    assert "squeezenet1_1-b8a52dc0.pth" in built.notes[0]


def test_the_real_squeezenet_file_fits_with_and_without_its_head() -> None:
    path = shared("weights/squeezenet1_1-ncnn-2742afef.pth")
    assert "head is new" in build(ModelConfig("squeezenet1_1", str(path)), 2, (3, 224, 224)).notes[-1]
    assert "(1000 classes) and is used" in build(ModelConfig("squeezenet1_1", str(path)), 1000, (3, 224, 224)).notes[-1]


def test_a_real_cifar_checkpoint_is_read_and_refused_by_another_model() -> None:
    path = shared("weights/resnet20-12fca82f.th")
    tensors, notes = read_weights(path)
    assert tensors["conv1.weight"].shape == (16, 3, 3, 3) and len(notes) == 2
    with pytest.raises(WeightsError, match=r"missing: .*unknown: .*of another shape: conv1\.weight is \(16, 3, 3, 3\)"):
        build(ModelConfig("resnet18", str(path)), 10, (3, 32, 32))


def test_the_shipped_weights_load_into_the_offline_network() -> None:
    glyph_net = pytest.importorskip("multirate_core.models.glyph_net")
    built = build(ModelConfig(), 10, (1, glyph_net.INPUT_SIZE, glyph_net.INPUT_SIZE))
    assert (len(built.mean), len(built.std)) == (1, 1) and "head is new" in built.notes[-1]
