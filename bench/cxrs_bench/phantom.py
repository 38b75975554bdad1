"""Phantom -> a drawn frontal chest X-ray: demos, calibration and tests without a patient's image.

Thickness maps of air, soft tissue and bone are attenuated (Beer-Lambert) and developed with the
sigmoid response of film to log exposure. No drawing has diagnostic content; its pixels say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counting
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from cxrs_bench.phantom_anatomy import Box, Field, Subject, stream, thickness, zone_box

NOTICE = "DRAWN PHANTOM - NOT A PATIENT"
MIN_SIDE, MAX_SIDE = 64, 4096


@dataclass(frozen=True)
class Phantom:
    """What to draw; equal phantoms give equal images.

    Parameters
    ----------
    zones : opacity grade 0..3 of the Brixia zones a, b, c (right lung) and d, e, f (left lung).
    seed : 0 or more; picks anatomy, pose, exposure and noise.
    width, height : of the image in pixels, 64..4096.

    Raises
    ------
    ValueError : a parameter is out of its range.
    """

    zones: tuple[int, ...]
    seed: int = 0
    width: int = 1024
    height: int = 1024

    def __post_init__(self) -> None:
        if len(self.zones) != 6 or any(grade not in (0, 1, 2, 3) for grade in self.zones):
            raise ValueError(f"zones: got {self.zones}, expected six grades of 0, 1, 2 or 3")
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}, expected 0 or more")
        for side, pixels in (("width", self.width), ("height", self.height)):
            if not MIN_SIDE <= pixels <= MAX_SIDE:
                raise ValueError(f"{side}: got {pixels}, expected {MIN_SIDE} to {MAX_SIDE} pixels")


def draw_phantom(phantom: Phantom) -> NDArray[np.uint8]:
    """Draw a phantom: uint8, height x width, 0 black (air) .. 255 white (dense)."""
    subject = _subject(phantom)
    film = _develop(thickness(subject), stream(phantom.seed, "film"))
    image = Image.fromarray(np.rint(255 * film).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(subject.scale / 900))
    _burn_notice(image)
    return np.array(image)


def phantom_level(phantom: Phantom) -> int:
    """Severity level by the paper's rule: 0 no zone with opacity, 1 one or two, 2 three or more."""
    affected = sum(grade > 0 for grade in phantom.zones)
    return 0 if affected == 0 else 1 if affected <= 2 else 2


def varied_phantoms(count: int, seed: int = 0) -> Iterator[Phantom]:
    """Yield `count` different phantoms, level 1 and 2 in turn; more of them begin with the same.

    Raises ValueError for a negative count or seed.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed: got {count} and {seed}, expected 0 or more")
    rng = stream(seed, "varied")
    return islice((_random_phantom(rng, level=1 + index % 2) for index in counting()), count)


def zone_boxes(phantom: Phantom) -> tuple[Box, ...]:
    """Where zones a..f lie: six (left, top, right, bottom) in pixels, the last two exclusive."""
    subject = _subject(phantom)
    return tuple(zone_box(subject, zone) for zone in range(6))


def _random_phantom(rng: np.random.Generator, level: int) -> Phantom:
    how_many = rng.integers(1, 3) if level == 1 else rng.integers(3, 7)
    affected = rng.choice(6, size=how_many, replace=False)
    grades = [int(rng.integers(1, 4)) if zone in affected else 0 for zone in range(6)]
    short = int(rng.integers(480, 961))
    sides = (short, round(short * rng.uniform(1.0, 1.25)))
    width, height = sides if rng.random() < 0.5 else sides[::-1]
    return Phantom(tuple(grades), int(rng.integers(2**62)), width, height)


def _subject(phantom: Phantom) -> Subject:
    rng = stream(phantom.seed, "subject")
    width, height = phantom.width, phantom.height
    scale = min(width, height) / 2 * rng.uniform(0.94, 1.12)
    right, down = scale * rng.uniform(-0.05, 0.05), scale * rng.uniform(0.03, 0.12)
    return Subject(
        zones=phantom.zones,
        seed=phantom.seed,
        size=(width, height),
        scale=scale,
        centre=(width / 2 + right, height / 2 + down),
        turn=float(np.radians(rng.uniform(-3.5, 3.5))),
        breadth=rng.uniform(0.93, 1.10),
        length=rng.uniform(0.92, 1.07),
        heart=rng.uniform(0.90, 1.25),
        ribs=rng.uniform(0.92, 1.08),
        bone=rng.uniform(0.75, 1.25),
        breast=rng.uniform(0.0, 0.14),
    )


def _develop(thick: Field, rng: np.random.Generator) -> Field:
    """Film density 0..1: quantum noise, uneven field, sigmoid response, shutters at the border."""
    rows, columns = thick.shape
    midtone, gamma, noise = rng.uniform((0.48, 0.8, 0.01), (0.72, 1.6, 0.05))
    shutters = np.where(rng.random(4) < 0.3, rng.uniform(0.005, 0.03, 4), 0.0)
    quanta = np.exp(-3.0 * thick)
    quanta += noise * np.sqrt(quanta) * rng.standard_normal(thick.shape, dtype=np.float32)
    down = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, columns, dtype=np.float32)
    quanta = np.clip(quanta, 1e-4, None) * (1 - 0.08 * (down**2 + across**2))
    film: Field = 1 / (1 + (quanta / np.exp(-3.0 * midtone)) ** gamma)
    left, top, right, bottom = np.rint(shutters * (columns, rows, columns, rows)).astype(int)
    film[:top] = film[rows - bottom :] = 0
    film[:, :left] = film[:, columns - right :] = 0
    return film


def _burn_notice(image: Image.Image) -> None:
    """Write the notice above any shutter, where the crop (top 8 %, centre square) leaves it."""
    width, height = image.size
    side = min(width, 0.92 * height)
    # Below 3 pixels the text is no taller than 1, and its box rounds to nothing at some sizes.
    font = ImageFont.load_default(size=max(3.0, 0.021 * side))
    at = (width / 2, 0.54 * height + side / 2 - 0.04 * side)
    draw = ImageDraw.Draw(image)
    background = np.asarray(image.crop(draw.textbbox(at, NOTICE, font=font, anchor="mb"))).mean()
    draw.text(at, NOTICE, fill=30 if background > 110 else 210, font=font, anchor="mb")
