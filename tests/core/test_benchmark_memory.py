"""What the memory benchmark makes of its raw numbers, and that its counters count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from benchmarks.memory import Case, _cycle_times, _figures
from benchmarks.memory_probe import MIB, Probe, build, tensor_bytes

SMALL = Probe("resnet18", 32, 2, "lean")


def raw(process: float) -> dict[str, Any]:
    return {
        "variants": {
            "sgd": {"saved_mib": [100.0], "process_mib": [400.0, 500.0], "tensors_mib": [300.0]},
            "multirate": {"saved_mib": [100.0], "process_mib": [400.0, 500.0], "tensors_mib": [300.0]},
            "lean": {"saved_mib": [30.0], "process_mib": [process, 250.0], "tensors_mib": [150.0]},
        },
        "keeps": {"0.5": {"saved_mib": [60.0], "tensors_mib": [200.0]}},
        "cycle_s": {"multirate": [10.0, 20.0], "lean, keep 0": [11.0, 24.0], "lean, keep 0.5": [10.5, 21.0]},
    }


def test_figures_are_ratios_to_sgd_and_to_multirates_time_beside_their_targets() -> None:
    told = {figure.name: figure.as_dict() for figure in _figures(Case("resnet50", 16), raw(200.0))}
    held = {name: (each["median"], each["met"]) for name, each in told.items() if each["target"]}
    assert held == {
        "resnet50_16_saved": (0.3, True),
        "resnet50_16_process": (0.5, True),
        "resnet50_16_time_keep_0": (1.15, True),
    }
    assert told["resnet50_16_process"]["values"] == [0.5, 0.5]
    assert told["resnet50_16_keep_0.5_saved"]["median"] == 0.6
    assert told["resnet50_16_time_keep_0.5"]["median"] == 1.05


def test_a_case_with_a_known_bound_tells_its_peak_without_a_target() -> None:
    told = {
        figure.name: figure.as_dict() for figure in _figures(Case("vit_b_16", 8, bound="at least 0.63"), raw(400.0))
    }
    assert told["vit_b_16_8_process"]["met"] is None
    assert "at least 0.63" in told["vit_b_16_8_process"]["title"]


def counted(variant: str) -> tuple[int, float]:
    """Bytes saved in a full step, and the peak of live tensors in multiples of the parameters."""
    probe = Probe("resnet18", 32, 2, variant)
    found, (model, _, _) = tensor_bytes(probe), build(probe)
    parameters = sum(weight.untyped_storage().nbytes() for weight in model.parameters())
    return round(found["saved_mib"] * MIB), found["tensors_mib"] * MIB / parameters


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Some kernels take scratch for every thread: as much as the parameters for two of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_the_counters_see_saved_activations_and_parameters_momenta_and_gradients(one_thread: None) -> None:
    (plain, plain_peak), (lean, lean_peak) = counted("multirate"), counted("lean")
    assert 0 < lean < 0.6 * plain
    assert 3.0 < lean_peak <= plain_peak < 4.0  # each once, and the kernels' scratch beside


@pytest.mark.slow
def test_cycles_are_timed_in_turns_and_leave_the_model_as_it_was() -> None:
    seconds = _cycle_times(SMALL, (None, 0.0), rounds=2)
    assert {name: len(values) for name, values in seconds.items()} == {"multirate": 2, "lean, keep 0": 2}
    assert min(value for values in seconds.values() for value in values) > 0
