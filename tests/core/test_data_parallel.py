"""Data-parallel training without other ranks: what one rank does, what is refused, how gradients are put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from multirate_core.data_parallel import MultirateDataParallel
from multirate_core.data_parallel.exchange import make_plan, pack, shaped_like
from multirate_core.errors import ConfigError, PartitionError
from multirate_core.optim import MultirateSGD


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def small() -> tuple[nn.Sequential, MultirateSGD]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    slow = [*model[0].parameters(), *model[1].parameters()]
    groups = [{"params": model[2].parameters(), "name": "fast"}, {"params": slow, "name": "slow", "period": 2}]
    return model, MultirateSGD(groups, lr=0.1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(3, 4, generator=random)).square().sum().backward()
        optimizer.step()


def test_one_rank_trains_as_without_the_wrapper_and_sends_nothing(
    one_rank: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model, optimizer), (alone, optimizer_alone) = small(), small()
    monkeypatch.delattr(dist, "all_reduce")
    monkeypatch.delattr(dist, "broadcast")
    parallel = MultirateDataParallel(model, optimizer)
    train(model, optimizer)
    with parallel.no_sync():
        train(model, optimizer)
    parallel.average_buffers()
    parallel.remove()
    train(alone, optimizer_alone)
    train(alone, optimizer_alone)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True))


def test_without_a_process_group_the_message_says_what_to_call() -> None:
    with pytest.raises(ConfigError, match=r"no process group. Call torch.distributed.init_process_group\(\) first"):
        MultirateDataParallel(*small())


def test_an_ordinary_optimiser_is_sent_to_ddp(one_rank: None) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"got SGD\. For others use torch\.nn\.parallel\.DistributedDataParallel"):
        MultirateDataParallel(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_parameters_without_a_group_and_groups_of_another_model_are_both_printed(one_rank: None) -> None:
    model, optimizer = small()
    other = nn.Sequential(model[0], model[1], nn.Linear(4, 2))
    with pytest.raises(PartitionError) as caught:
        MultirateDataParallel(other, optimizer)
    assert "parameters in no group: 2.weight, 2.bias;" in str(caught.value)
    assert "in a group but not in the model: parameter 0 of group 'fast'" in str(caught.value)


def test_a_frozen_parameter_needs_no_group(one_rank: None) -> None:
    model, _ = small()
    model[0].requires_grad_(False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    MultirateDataParallel(model, MultirateSGD(trained, lr=0.1))


def test_a_model_on_two_devices_is_refused(one_rank: None) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    with pytest.raises(ConfigError, match="got parameters and buffers on cpu, meta"):
        MultirateDataParallel(model, MultirateSGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize("size", [0, -1.0, float("nan"), "25"])
def test_a_bucket_has_a_size(one_rank: None, size: object) -> None:
    with pytest.raises(ConfigError, match="bucket_mb must be a finite number > 0"):
        MultirateDataParallel(*small(), bucket_mb=size)  # type: ignore[arg-type]


def test_an_error_leaves_the_optimiser_without_hooks(one_rank: None) -> None:
    _, optimizer = small()
    with pytest.raises(PartitionError):
        MultirateDataParallel(nn.Linear(2, 2), optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_buckets_keep_the_order_and_close_when_they_are_full_the_first_one_sooner() -> None:
    tensors = [torch.empty(size) for size in (10, 10, 30, 30, 30)]
    assert [len(bucket) for bucket in pack(tensors, 40, 240)] == [1, 3, 1]
    assert [id(each) for bucket in pack(tensors, 40, 240) for each in bucket] == list(map(id, tensors))


def test_a_bucket_has_one_type_of_number() -> None:
    halves, floats = [torch.empty(4, dtype=torch.float16) for _ in range(2)], [torch.empty(4) for _ in range(2)]
    mixed = [halves[0], floats[0], halves[1], floats[1]]
    assert [[each.dtype for each in bucket] for bucket in pack(mixed, 1000, 1000)] == [
        [torch.float16] * 2,
        [torch.float32] * 2,
    ]


def test_a_plan_holds_what_is_trained_and_its_digest_tells_it_from_others() -> None:
    ordered = [torch.empty(3) for _ in range(4)]
    plan = make_plan(ordered, bytes([1, 0, 1, 1]), 24)
    assert [[id(each) for each in bucket] for bucket in plan.buckets] == [
        [id(ordered[0]), id(ordered[2])],
        [id(ordered[3])],
    ]
    assert [plan.place.get(each) for each in ordered] == [0, None, 0, 1]
    digests = {make_plan(ordered, bytes(flags), 24).digest for flags in ([1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1])}
    assert len(digests) == 3


@pytest.mark.parametrize(
    "weight",
    [
        torch.empty(2, 3, 4, 5),
        torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.empty(4, 3).t(),
        torch.empty(()),
        torch.empty(0, 3),
        torch.empty(4, 6)[:, ::2],
    ],
    ids=["contiguous", "channels last", "transposed", "scalar", "empty", "with gaps"],
)
def test_a_part_of_a_message_takes_the_shape_of_its_parameter(weight: torch.Tensor) -> None:
    flat = torch.arange(weight.numel() + 7.0)
    shaped = shaped_like(weight, flat[7:])
    assert shaped.shape == weight.shape
    assert sorted(shaped.flatten().tolist()) == flat[7:].tolist()
    if weight.numel() and weight.stride() != (6, 2):
        assert shaped.stride() == weight.stride()
