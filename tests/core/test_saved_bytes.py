"""What a training step saves: counted on the meta device, and the same as in a real forward pass on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from lean_cases import CASES, CLASSES, Case, head_groups, tiny_vit
from torch import Tensor, nn

from multirate_core.layers.saved_bytes import count_saved
from multirate_core.lean import make_lean
from multirate_core.models import doc_net
from multirate_core.optim import MultirateSGD

pytestmark = pytest.mark.slow  # many cases


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[list[int]]:
    """A list that holds at the end how many bytes autograd saved beside the parameters, each storage once."""
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    alive: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    total: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total
    total.append(sum(tensor.untyped_storage().nbytes() for tensor in alive.values()))


def really_saved(model: nn.Module, inputs: Tensor) -> int:
    with saved_bytes(model) as total:
        model.train()(inputs)
    return total[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_count_is_what_a_real_forward_pass_saves_at_any_batch_size(case: Case) -> None:
    torch.manual_seed(0)
    model = case.build()
    counted = count_saved(model, case.shape)
    assert counted is not None and counted.per_sample > 0
    for batch in (2, 5):
        real = really_saved(model, torch.randn(batch, *case.shape))
        assert counted.fixed + batch * counted.per_sample == real


@pytest.mark.slow
def test_fused_attention_of_texts_is_counted_as_the_cpu_saves_it() -> None:
    torch.manual_seed(0)
    model = doc_net.build(3)
    counted = count_saved(model, (24,))
    assert counted is not None
    assert counted.fixed + 4 * counted.per_sample == really_saved(model, torch.randint(0, 50, (4, 24)))


def test_with_lean_memory_inputs_of_blocks_and_one_block_are_saved() -> None:
    torch.manual_seed(0)
    model = tiny_vit()
    counted = count_saved(model, (3, 32, 32))
    optimizer = MultirateSGD(head_groups(model), lr=0.05)
    images = torch.randn(4, 3, 32, 32)
    plain = really_saved(model, images)
    with make_lean(model, optimizer) as lean:
        really_saved(model, images)  # the first full step holds copies of the inputs
        kept = really_saved(model, images)
    one_block = (plain - kept) // len(lean.blocks)  # they are equal
    assert counted is not None and len(lean.blocks) == 2
    assert counted.lean_fixed + 4 * counted.lean_per_sample == kept + one_block


def test_a_forward_that_looks_at_values_is_counted_on_the_cpu_and_one_that_fails_is_unknown() -> None:
    class LooksAtValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x if float(x.sum()) > -1.0 else -x).sigmoid()

    model = LooksAtValues()
    counted = count_saved(model, (2, 3, 4))
    assert counted is not None
    assert counted.fixed + 5 * counted.per_sample == really_saved(model, torch.randn(5, 2, 3, 4))
    assert count_saved(model, (2, 3, 5)) is None


@pytest.mark.slow
def test_the_count_leaves_the_network_and_the_attention_of_others_as_they_were() -> None:
    model = torchvision.models.resnet18(num_classes=CLASSES).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attention = nn.functional.scaled_dot_product_attention
    count_saved(model, (3, 32, 32))
    assert nn.functional.scaled_dot_product_attention is attention
    assert not model.training and not model._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
