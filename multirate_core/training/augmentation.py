"""Random flips and crops of a batch of images: drawn with the order of an epoch, done on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from multirate_core.config import Augment

BORDER: Final = 8  # a crop moves by up to the edge divided by this
# Seeds of races are below 2**31, and torch looks at 32 bits: no order is drawn from such a seed.
_OTHER_SEEDS: Final = 1 << 31


@dataclass(frozen=True)
class Moves:
    """What happens to each of N images.

    Args:
        flips: bool (N,), mirrored from left to right.
        tops, lefts: int64 (N,), where the image is cut out of itself with a black border; `border` leaves it in place.
        border: in pixels.
    """

    flips: Tensor
    tops: Tensor
    lefts: Tensor
    border: int

    def part(self, first: int, last: int) -> Moves:
        """Return the moves of some images."""
        return Moves(self.flips[first:last], self.tops[first:last], self.lefts[first:last], self.border)

    def to(self, place: Callable[[Tensor], Tensor]) -> Moves:
        """Return the moves with every tensor put somewhere."""
        return Moves(place(self.flips), place(self.tops), place(self.lefts), self.border)


def moves_generator(seed: int) -> torch.Generator:
    """Return a generator for moves, apart from the one that draws the order: that stays what it is without them."""
    return torch.Generator().manual_seed(_OTHER_SEEDS + seed)


def draw_moves(augment: Augment, count: int, edge: int, generator: torch.Generator) -> Moves:
    """Draw what happens to the images of an epoch, on the CPU: equal on every device.

    Args:
        augment: "flip" moves nothing; "crop_flip" does both.
        count: of images, N.
        edge: of the images in pixels.
        generator: advanced.
    """
    border = max(1, edge // BORDER) if augment == "crop_flip" else 0
    flips = torch.rand(count, generator=generator) < 0.5
    tops, lefts = torch.randint(0, 2 * border + 1, (2, count), generator=generator)
    return Moves(flips, tops, lefts, border)


def moved(images: Tensor, moves: Moves) -> Tensor:
    """Return images uint8 (B, C, H, W) flipped and cropped, on their device."""
    edge = images.shape[-1]
    if moves.border == 0:
        return torch.where(moves.flips.view(-1, 1, 1, 1), images.flip(-1), images)
    bordered = functional.pad(images, (moves.border,) * 4)
    places = torch.arange(edge, device=images.device)
    rows = moves.tops[:, None] + places  # (B, H)
    columns = moves.lefts[:, None] + torch.where(moves.flips[:, None], places.flip(0), places)  # (B, W)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    cut = bordered.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return cut.permute(0, 3, 1, 2)
