"""The source task of the offline default pair: rendered letters and symbols, randomly distorted; no digits.

Every image is made on the spot from the scalable font that ships inside Pillow, so the task needs no download.
A glyph is rendered at several stroke widths once (`render_glyphs`), then each training image takes one of those
pictures through a random affine map, an elastic bend, a loss of resolution and noise (`draw_batch`).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

# Digits are the target task, so they are left out, and so are the characters that are a digit in disguise once
# bent a little: I i l | / ! ( ) [ ] { } (1), O o Q D (0), Z z (2), S s $ (5), b G (6), B (8), g q (9). Upper and
# lower case of one shape (C c, V v, ...) count once. What is left still shares parts with digits, bars, bows and
# corners (y with 4, J with 7, & with 8, ? with 2), and should: transfer rests on that. No digit is ever drawn.
GLYPHS: Final = "ACEFHJKLMNPRTUVWXY" + "adefhjmnrty" + "&@#%+=?<>*~^"
CANVAS_SIZE: Final = 64  # pixels, of the pictures that distortion starts from
STROKE_WIDTHS: Final = (0, 1, 2, 3)  # pixels added around the outline on that canvas


def render_glyphs(font_size: int = 44) -> Tensor:
    """Render every glyph centred on a black canvas, once per stroke width.

    Args:
        font_size: height of the font in pixels, default 44: a glyph covers about half the canvas.

    Returns:
        float32 in [0, 1], shape (len(GLYPHS), len(STROKE_WIDTHS), CANVAS_SIZE, CANVAS_SIZE).
    """
    font = ImageFont.load_default(font_size)
    pictures = [[_render_one(glyph, font, width) for width in STROKE_WIDTHS] for glyph in GLYPHS]
    return torch.stack([torch.stack(row) for row in pictures])


def draw_batch(pictures: Tensor, batch_size: int, image_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw random glyphs, distort each in its own way, and return them as a batch.

    Args:
        pictures: what `render_glyphs` returned.
        batch_size: number of images, ≥ 1.
        image_size: height and width of the result in pixels.
        generator: the only source of randomness; the same state gives the same batch, bit for bit.

    Returns:
        Images, float32 in [0, 1], shape (batch_size, 1, image_size, image_size); labels, int64, shape (batch_size,).
    """
    labels = torch.randint(len(pictures), (batch_size,), generator=generator)
    widths = torch.randint(pictures.shape[1], (batch_size,), generator=generator)
    originals = pictures[labels, widths].unsqueeze(1)  # (B, 1, CANVAS_SIZE, CANVAS_SIZE)
    grid = _affine_grid(batch_size, image_size, generator) + _elastic_field(batch_size, image_size, generator)
    bent = functional.grid_sample(originals, grid, align_corners=False)
    return _add_noise(_lose_resolution(bent, generator), generator), labels


def _render_one(glyph: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, stroke_width: int) -> Tensor:
    """Return one centred glyph as float32 in [0, 1], shape (CANVAS_SIZE, CANVAS_SIZE)."""
    canvas = Image.new("L", (CANVAS_SIZE, CANVAS_SIZE))
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = draw.textbbox((0, 0), glyph, font=font, stroke_width=stroke_width)
    corner = ((CANVAS_SIZE - right - left) / 2, (CANVAS_SIZE - bottom - top) / 2)
    draw.text(corner, glyph, fill=255, font=font, stroke_width=stroke_width)
    flat = torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8)
    return flat.reshape(CANVAS_SIZE, CANVAS_SIZE).float() / 255


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _affine_grid(batch_size: int, image_size: int, generator: torch.Generator) -> Tensor:
    """Return sampling grids that rotate, scale, shear and shift, shape (B, image_size, image_size, 2)."""
    angle = _uniform((batch_size,), -math.pi / 9, math.pi / 9, generator)
    shear = _uniform((batch_size,), -0.3, 0.3, generator)
    zoom_x = _uniform((batch_size,), 0.45, 0.8, generator)  # < 1 enlarges: the glyph fills most of the image
    zoom_y = _uniform((batch_size,), 0.55, 0.8, generator)
    shift = _uniform((batch_size, 2, 1), -0.1, 0.1, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [zoom_x * cos, zoom_x * (shear * cos - sin), zoom_y * sin, zoom_y * (shear * sin + cos)]
    linear = torch.stack(rows, dim=1).reshape(batch_size, 2, 2)
    matrix = torch.cat([linear, shift], dim=2)  # (B, 2, 3)
    return functional.affine_grid(matrix, [batch_size, 1, image_size, image_size], align_corners=False)


def _elastic_field(batch_size: int, image_size: int, generator: torch.Generator) -> Tensor:
    """Return smooth random displacements in grid units, shape (B, image_size, image_size, 2).

    Source: P. Simard, D. Steinkraus and J. Platt, Best Practices for Convolutional Neural Networks, ICDAR 2003,
    section 2, with a coarse random lattice in place of their Gaussian filter.
    """
    lattice = torch.randn((batch_size, 2, 4, 4), generator=generator) * 0.06
    field = functional.interpolate(lattice, size=(image_size, image_size), mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)


def _lose_resolution(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shrink the whole batch to a random coarse size and enlarge it again, a blur with visible pixels."""
    size = images.shape[-1]
    coarse = int(torch.randint(size // 4, size + 1, (1,), generator=generator))
    small = functional.adaptive_avg_pool2d(images, coarse)
    return functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)


def _add_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary the contrast and add Gaussian noise of a strength that differs from image to image."""
    shape = (len(images), 1, 1, 1)
    contrast = _uniform(shape, 0.6, 1.4, generator)
    strength = _uniform(shape, 0.0, 0.12, generator)
    noise = torch.randn(images.shape, generator=generator)
    return (images * contrast + noise * strength).clamp(0, 1)
