"""Random flips and crops: what they do to an image, and that all arms of a race see the same."""

from __future__ import annotations

import pytest
import torch
from race_cases import CPU, MULTIRATE, SGD, only, race, tiny_config, tiny_split
from torch import Tensor
from torch.nn import functional

from multirate_core.config import Augment, DataConfig
from multirate_core.events import StepsRecorded
from multirate_core.training.augmentation import Moves, draw_moves, moved, moves_generator
from multirate_core.training.batches import Images, TrainingOrder

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


def images_of(augment: Augment, channels_last: bool = False) -> Images:
    split = tiny_split()
    return Images(split.train_images, split.train_labels, (0.5,), (0.25,), CPU, channels_last, augment)


def moved_one_by_one(images: Tensor, moves: Moves) -> Tensor:
    """The obvious twin."""
    edge, found = images.shape[-1], []
    for image, flip, top, left in zip(images, moves.flips, moves.tops.tolist(), moves.lefts.tolist(), strict=True):
        bordered = functional.pad(image, (moves.border,) * 4)
        cut = bordered[:, top : top + edge, left : left + edge]
        found.append(cut.flip(-1) if flip else cut)
    return torch.stack(found)


@pytest.mark.parametrize("augment", ["flip", "crop_flip"])
@pytest.mark.parametrize(("channels", "edge"), [(1, 8), (3, 33)])
def test_a_batch_is_moved_as_its_images_one_by_one(augment: Augment, channels: int, edge: int) -> None:
    images = torch.randint(0, 256, (40, channels, edge, edge), dtype=torch.uint8, generator=moves_generator(1))
    moves = draw_moves(augment, 40, edge, moves_generator(2))
    found = moved(images, moves)
    assert found.dtype == torch.uint8 and torch.equal(found, moved_one_by_one(images, moves))
    assert not torch.equal(found, images)


def test_a_move_by_nothing_leaves_an_image_as_it_is() -> None:
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    here = torch.full((5,), 2)
    assert torch.equal(moved(images, Moves(torch.zeros(5, dtype=torch.bool), here, here, 2)), images)


def test_moves_reach_an_eighth_of_the_edge_and_flip_half_of_the_images() -> None:
    moves = draw_moves("crop_flip", 4000, 32, moves_generator(0))
    assert moves.border == 4
    assert set(moves.tops.tolist()) == set(moves.lefts.tolist()) == set(range(9))
    assert 0.45 < moves.flips.float().mean() < 0.55
    assert not torch.equal(moves.tops, moves.lefts)
    flips = draw_moves("flip", 4000, 32, moves_generator(0))
    assert flips.border == 0 and flips.tops.unique().tolist() == [0]


def test_the_order_of_the_images_is_the_same_with_and_without_moves() -> None:
    plain, flipped = (TrainingOrder(images_of(augment), 16, 3, False) for augment in ("none", "flip"))  # type: ignore[arg-type]
    changed = 0
    for (one, labels), (other, same) in zip(plain.take(15), flipped.take(15), strict=True):
        assert torch.equal(labels, same)
        changed += sum(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(one, other, strict=True))
    assert 0.35 * 225 < changed < 0.65 * 225


def test_equal_seeds_move_equally_and_every_epoch_anew() -> None:
    first, second, other = (TrainingOrder(images_of("crop_flip"), 90, seed, False) for seed in (3, 3, 4))
    ones, twos, others = (list(order.take(2)) for order in (first, second, other))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(ones, twos, strict=True))
    assert not torch.equal(ones[0][0], others[0][0])
    moves = [images_of("crop_flip").draw(generator) for generator in [moves_generator(3)] * 2]
    assert not torch.equal(moves[0].tops, moves[1].tops)


def test_batches_that_no_order_asked_for_are_not_moved() -> None:
    plain, moving = images_of("none"), images_of("crop_flip")
    assert torch.equal(plain.batch(slice(0, 90))[0], moving.batch(slice(0, 90))[0])


def test_moved_batches_have_the_memory_format_that_was_asked_for() -> None:
    for channels_last in (False, True):
        images = tiny_split().train_images.repeat(1, 3, 1, 1)
        part = Images(images, tiny_split().train_labels, (0.5,) * 3, (0.2,) * 3, CPU, channels_last, "crop_flip")
        batch, _ = next(TrainingOrder(part, 16, 0, False).take(1))
        assert batch.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.slow
def test_an_arm_sees_the_same_moves_alone_and_beside_others() -> None:
    data = DataConfig(augment="crop_flip")
    alone = only(StepsRecorded, list(race(tiny_config(SGD, data=data))), 0)
    both = list(race(tiny_config(SGD, MULTIRATE, data=data)))
    losses = [loss for event in alone for loss in event.loss]
    assert losses == [loss for event in only(StepsRecorded, both, 0) for loss in event.loss]
    assert losses[0] == only(StepsRecorded, both, 1)[0].loss[0]  # equal weights see an equal first batch
    plain = only(StepsRecorded, list(race(tiny_config(SGD))), 0)
    assert losses != [loss for event in plain for loss in event.loss]
