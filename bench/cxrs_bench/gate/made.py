"""Images that are no X-rays, made by a formula: noise, gradients, text pages, shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Plane = NDArray[np.uint8]
Make = Callable[[tuple[int, int], np.random.Generator], Plane]
"""Width and height, and a generator -> uint8, height x width."""

WORDS = ("lung", "clear", "of", "the", "patient", "no", "sign", "report", "on", "ward", "date", "to")


def draw_blank(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """One gray level, with a little noise."""
    noise = rng.normal(0, rng.uniform(0, 4), size[::-1])
    return _gray(rng.uniform(0, 255) + noise)


def draw_noise(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Noise whose spectrum falls with a power of the frequency, from white to clouds."""
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) * frequency ** -rng.uniform(0, 2.5)
    clouds = np.fft.irfft2(spectrum, (height, width))
    return _gray(rng.uniform(80, 170) + clouds / clouds.std() * rng.uniform(20, 70))


def draw_gradient(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """A ramp in some direction, or rings around a point, with noise."""
    width, height = size
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = down * np.sin(angle) + across * np.cos(angle)
    else:
        y, x = rng.uniform(-0.6, 0.6, 2)
        ramp = np.hypot(down - y, across - x) * rng.choice([-1, 1])
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    return _gray(255 * ramp ** rng.uniform(0.5, 2) + rng.normal(0, rng.uniform(0, 15), ramp.shape))


def draw_text(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """A page of text, black on white or white on black."""
    width, height = size
    page = Image.new("L", size, 255)
    draw, letters = ImageDraw.Draw(page), max(6, round(width * rng.uniform(0.015, 0.05)))
    font = _font(letters)
    top = margin = width * rng.uniform(0.03, 0.12)
    while top < height - margin:
        line = " ".join(rng.choice(WORDS, int(rng.integers(2, 2 + max(1, int(width / letters / 4))))))
        draw.text((margin, top), line, fill=int(rng.integers(0, 90)), font=font)
        top += letters * rng.choice([1.3, 1.3, 1.3, 2.6])
    pixels = np.asarray(page)
    return 255 - pixels if rng.random() < 0.3 else pixels


def draw_shapes(size: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Ellipses and rectangles in gray levels of their own."""
    picture = Image.new("L", size, int(rng.integers(256)))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 9))):
        x, y = np.sort(rng.uniform(0, 1, (2, 2)) * size[0]), np.sort(rng.uniform(0, 1, (2, 2)) * size[1])
        box = (x[0, 0], y[0, 0], x[0, 1], y[0, 1])
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=int(rng.integers(256)))
    return np.asarray(picture)


@cache
def _font(pixels: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(pixels)


def _gray(values: NDArray[np.float64]) -> Plane:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


MADE: Mapping[str, Make] = {
    "blank": draw_blank,
    "noise": draw_noise,
    "gradient": draw_gradient,
    "text page": draw_text,
    "shapes": draw_shapes,
}
