"""Subject -> the thickness of its chest along each ray: the anatomy that a phantom is drawn from.

Lengths are in frame units: the short side of the image spans about -1..1, y grows downwards, the
patient's left is on the image's right, as on a viewing box. Zones are those of the Brixia score
(Borghesi and Maroldi, Radiologia medica 2020): a, b, c are the upper, middle and lower zone of the
right lung, d, e, f those of the left. An opacity does what it does in a lung: fluid replaces air.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.float32]
Points = NDArray[np.float64]
Box = tuple[int, int, int, int]

# By grade 0..3: how far a patch spreads over its zone, and the share of its air that is replaced.
_SPREAD = (0.0, 0.45, 0.70, 0.95)
_DENSITY = (0.0, 0.55, 0.75, 0.92)
# fmt: off
# Zones a..f as (left, top, right, bottom); the heart covers the medial part of f.
_ZONES = ((-0.56, -0.70, -0.14, -0.28), (-0.67, -0.28, -0.18, 0.10), (-0.72, 0.10, -0.22, 0.48),
          (0.14, -0.70, 0.56, -0.28), (0.18, -0.28, 0.67, 0.10), (0.32, 0.10, 0.73, 0.52))
_LUNG_TOP = [(0.10, -0.62), (0.16, -0.80), (0.32, -0.83), (0.48, -0.70), (0.61, -0.42),
             (0.69, -0.08), (0.73, 0.28)]
_LUNG_RIGHT = [*_LUNG_TOP, (0.76, 0.62), (0.71, 0.60), (0.62, 0.44), (0.42, 0.33), (0.22, 0.38),
               (0.07, 0.50), (0.06, 0.10), (0.07, -0.30)]
_LUNG_LEFT = [*_LUNG_TOP, (0.76, 0.67), (0.71, 0.66), (0.62, 0.52), (0.45, 0.42), (0.26, 0.43),
              (0.07, 0.52), (0.06, 0.10), (0.07, -0.30)]
_TRUNK_HALF = [(0.19, -99.0), (0.21, -1.00), (0.30, -0.92), (0.62, -0.84), (0.90, -0.76),
               (1.02, -0.56), (0.95, -0.25), (0.88, 0.05), (0.86, 0.40), (0.87, 0.80),
               (0.92, 1.30), (0.92, 99.0)]
_ARM = [(0.84, -0.80), (1.04, -0.76), (1.17, -0.50), (1.24, 0.10), (1.30, 0.90), (1.06, 0.90),
        (1.00, 0.10), (0.92, -0.30)]
_MEDIASTINUM = [(-0.10, -1.00), (-0.09, -0.70), (-0.12, -0.45), (-0.12, -0.15), (-0.17, 0.02),
                (-0.21, 0.22), (-0.17, 0.42), (-0.10, 0.60), (0.30, 0.60), (0.46, 0.50),
                (0.43, 0.36), (0.33, 0.16), (0.21, 0.00), (0.15, -0.12), (0.14, -0.24),
                (0.19, -0.34), (0.16, -0.44), (0.09, -0.52), (0.09, -0.70), (0.10, -1.00)]
_SCAPULA = [(0.56, -0.64), (0.80, -0.70), (0.88, -0.60), (0.80, -0.44), (0.74, -0.05),
            (0.68, -0.08)]
_CLAVICLE = [(0.08, -0.60), (0.20, -0.65), (0.40, -0.72), (0.58, -0.76), (0.78, -0.74)]
_HUMERUS = [(1.03, -0.55), (1.10, 0.00), (1.15, 0.80)]
_WINDPIPE = [(0.00, -1.20), (0.00, -0.60), (-0.02, -0.22)]
# fmt: on


@dataclass(frozen=True)
class Subject:
    """One person as one detector sees them; factors are around 1."""

    zones: tuple[int, ...]  # opacity grades 0..3 of a..f
    seed: int
    size: tuple[int, int]  # width, height in pixels
    scale: float  # pixels per frame unit
    centre: tuple[float, float]  # pixel (x, y) of the frame's origin
    turn: float  # radians
    breadth: float
    length: float
    heart: float
    ribs: float
    bone: float
    breast: float  # thickness


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Independent random numbers per purpose, so that a grade changes nothing outside its zone."""
    words = [int.from_bytes(str(part).encode(), "big") for part in purpose]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def zone_box(subject: Subject, zone: int) -> Box:
    """Zone 0..5 (a..f) as (left, top, right, bottom) in pixels, clipped to the image."""
    left, top, right, bottom = _ZONES[zone]
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    corners = _Canvas(subject).pixels(corners)
    low = np.clip(np.floor(corners.min(axis=0)), 0, np.array(subject.size) - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), low + 1, subject.size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def thickness(subject: Subject) -> Field:
    """Attenuating thickness along each ray, H x W: 0 (nothing) .. about 1.5 (spine and heart)."""
    canvas = _Canvas(subject)
    x, y = canvas.frame()
    heart = _heart(canvas)
    outlines = [_outline(_LUNG_RIGHT, -1), _outline(_LUNG_LEFT)]
    depth = canvas.paint(outlines, 0.010) * (0.12 + 0.46 * canvas.paint(outlines, 0.09))
    air = depth * (1 - 0.80 * heart) * (1 - _opacities(canvas, x, y))
    tissue = 0.05 * canvas.clouds("lung", (9, 20, 45, 90, 180)) + _vessels(canvas)
    flesh = _flesh(canvas, x, y) * (1 + 0.012 * canvas.clouds("flesh", (6, 14, 40)))
    total: Field = flesh - air * (1 - tissue) + subject.bone * _bones(canvas) + 0.12 * heart
    return total


class _Canvas:
    """Turns frame units of one subject into pixels, and outlines into maps."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        cos, sin = np.cos(subject.turn), np.sin(subject.turn)
        stretch = np.diag([subject.breadth, subject.length])
        self._to_pixels = subject.scale * np.array([[cos, -sin], [sin, cos]]) @ stretch

    def pixels(self, points: Points) -> Points:
        moved: Points = points @ self._to_pixels.T + np.array(self.subject.centre)
        return moved

    def frame(self) -> tuple[Field, Field]:
        """x and y in frame units of each pixel's centre, H x W each."""
        (width, height), back = self.subject.size, np.linalg.inv(self._to_pixels)
        right = np.arange(width) + 0.5 - self.subject.centre[0]
        down = (np.arange(height) + 0.5 - self.subject.centre[1])[:, None]
        x, y = (back[axis, 0] * right + back[axis, 1] * down for axis in (0, 1))
        return x.astype(np.float32), y.astype(np.float32)

    def paint(self, outlines: Sequence[Points], blur: float, rim: float = 0.0) -> Field:
        """Map 0..1 of filled outlines, softened over `blur`; a `rim` of that width is denser."""
        image = Image.new("L", self.subject.size)
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            corners = [(float(x), float(y)) for x, y in self.pixels(outline)]
            draw.polygon(corners, fill=150 if rim else 255)
            if rim:
                width = max(1, round(rim * self.subject.scale))
                draw.line([*corners, corners[0]], fill=255, width=width)
        image = image.filter(ImageFilter.GaussianBlur(max(0.6, blur * self.subject.scale)))
        return np.asarray(image, np.float32) / np.float32(255)

    def clouds(self, purpose: str, cells: Sequence[int]) -> Field:
        """Smooth noise around 0, H x W: one octave per count of cells along the short side."""
        size, rng = self.subject.size, stream(self.subject.seed, purpose)
        total = np.zeros(size[::-1], np.float32)
        for octave, number in enumerate(cells):
            shape = [max(2, round(number * side / min(size))) for side in size[::-1]]
            coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
            total += np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) * 0.6**octave
        return total


def _outline(points: Sequence[tuple[float, float]] | Points, side: int = 1) -> Points:
    """Outline with rounded corners (Chaikin's corner cutting), mirrored for side -1."""
    corners = np.array(points) * (side, 1)
    for _ in range(3):
        after = np.roll(corners, -1, axis=0)
        cut = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], axis=1)
        corners = cut.reshape(-1, 2)
    return corners


def _tube(path: Sequence[tuple[float, float]] | Points, width: float) -> Points:
    """Outline of a band of constant width along an open path."""
    middle = np.array(path)
    along = np.gradient(middle, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across *= width / 2 / np.linalg.norm(along, axis=1, keepdims=True)
    return np.concatenate([middle + across, (middle - across)[::-1]])


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def _opacities(canvas: _Canvas, x: Field, y: Field) -> Field:
    """Share of the air replaced by fluid, 0..1: cloudy patches that fade out around their zone."""
    filled = np.zeros_like(x)
    for name, zone, grade in zip("abcdef", _ZONES, canvas.subject.zones, strict=True):
        if grade == 0:
            continue
        left, top, right, bottom = zone
        across = (2 * x - left - right) / (right - left)
        down = (2 * y - top - bottom) / (bottom - top)
        inside = np.clip(1 - (across**2 + down**2) / 1.6, 0, 1)
        clouds = canvas.clouds(f"opacity {name}", (4, 8, 16, 32, 64, 128))
        # Centred, so that chance moves a patch around in its zone but does not undo its grade.
        clouds -= np.average(clouds, weights=inside)
        patch = np.clip(_SPREAD[grade] + inside + 0.42 * clouds - 1, 0, 1)
        filled += _DENSITY[grade] * patch * np.clip(3 * inside, 0, 1)
    return np.clip(filled, 0, 1)


def _heart(canvas: _Canvas) -> Field:
    """Mediastinum and heart, apex to the patient's left; only the part below the hila grows."""
    outline = np.array(_MEDIASTINUM)
    outline[:, 0] *= np.where(outline[:, 1] > 0, canvas.subject.heart, 1.0)
    return canvas.paint([_outline(outline)], 0.014)


def _vessels(canvas: _Canvas) -> Field:
    """Share of a lung's depth taken by vessels: a fan out of each hilum, thinning at each fork."""
    rng = stream(canvas.subject.seed, "vessels")
    orders: list[list[Points]] = [[] for _ in range(5)]
    for side in (-1, 1):
        for angle in np.linspace(-1.45, 1.45, 12) + rng.normal(0, 0.12, 12):
            root = np.array([0.13 * side, -0.06]) + rng.normal(0, 0.03, 2)
            _grow(orders, rng, root, (side, float(angle), 0.17 * rng.uniform(0.7, 1.2)))
    hila = [_ellipse(-0.17, -0.03, 0.05, 0.13), _ellipse(0.18, -0.08, 0.045, 0.10)]
    share = 0.22 * canvas.paint(hila, 0.03)
    for order, tubes in enumerate(orders):
        share += 0.24 * 0.8**order * canvas.paint(tubes, 0.005)
    return share


def _grow(
    orders: list[list[Points]],
    rng: np.random.Generator,
    start: Points,
    heading: tuple[int, float, float],
    order: int = 0,
) -> None:
    """Add a vessel and its forks to the lists by order; `heading` is side, angle, reach."""
    side, angle, reach = heading
    bend = angle + np.cumsum(rng.normal(0, 0.13, 6))
    steps = np.stack([side * np.cos(bend), np.sin(bend)], axis=1) * reach / 6
    path = np.concatenate([start[None], start + np.cumsum(steps, axis=0)])
    orders[order].append(_tube(path, 0.022 * 0.72**order))
    if order + 1 < len(orders):
        for fork in (-1, 1):
            turned = float(bend[-1]) + fork * rng.uniform(0.1, 0.6)
            _grow(orders, rng, path[-1], (side, turned, reach * rng.uniform(0.6, 1.0)), order + 1)


def _flesh(canvas: _Canvas, x: Field, y: Field) -> Field:
    """Soft tissue: trunk, arms, breasts and abdomen, less the windpipe and the stomach's gas."""
    half = np.array(_TRUNK_HALF)
    trunk = canvas.paint([np.concatenate([half, (half * (-1, 1))[::-1]])], 0.02)
    trunk *= 0.40 + 0.46 * np.sqrt(np.clip(1 - x**2, 0, 1)) + 0.12 * np.clip(y - 0.2, 0, 1)
    arms = canvas.paint([_outline(_ARM, side) for side in (-1, 1)], 0.03)
    breasts = canvas.paint([_ellipse(0.46 * side, 0.26, 0.32, 0.28) for side in (-1, 1)], 0.03)
    windpipe = canvas.paint([_tube(_WINDPIPE, 0.085)], 0.016)
    gas = canvas.paint([_ellipse(0.42, 0.64, 0.11, 0.06)], 0.02)
    solid = np.maximum(trunk, 0.48 * arms) + canvas.subject.breast * breasts
    flesh: Field = solid - 0.18 * windpipe - 0.14 * gas
    return flesh


def _bones(canvas: _Canvas) -> Field:
    sides = (-1, 1)
    back, front = _ribs(canvas.subject.ribs)
    clavicles = [_outline(_tube(_CLAVICLE, 0.06), side) for side in sides]
    scapulae = [_outline(_SCAPULA, side) for side in sides]
    humeri = [_tube(np.array(_HUMERUS) * (side, 1), 0.11) for side in sides]
    heads = [_ellipse(side, -0.60, 0.10, 0.10) for side in sides]
    levels = np.arange(-1.3, 1.3, 0.118)
    vertebrae = [_outline(np.array([(-1, 0), (1, 0), (1, 1), (-1, 1)]) * (0.085, 0.098) + (0, top))
                 for top in levels]  # fmt: skip
    spinous = [_ellipse(0.0, top + 0.07, 0.014, 0.03) for top in levels]
    bones: Field = (
        0.14 * canvas.paint(back, 0.006, rim=0.010)
        + 0.11 * canvas.paint(front, 0.008, rim=0.008)
        + 0.19 * canvas.paint(clavicles, 0.007, rim=0.012)
        + 0.07 * canvas.paint(scapulae, 0.008, rim=0.014)
        + 0.16 * canvas.paint(humeri + heads, 0.012, rim=0.014)
        + 0.14 * canvas.paint(vertebrae, 0.008, rim=0.010)
        + 0.06 * canvas.paint(spinous, 0.006)
    )
    return bones


def _ribs(spacing: float) -> tuple[list[Points], list[Points]]:
    """Outlines of the back halves of nine pairs and the front halves of seven: tilted hoops."""
    back = [_rib(number, side, spacing, (0.10, 1.65)) for number in range(9) for side in (-1, 1)]
    front = [_rib(number, side, spacing, (1.50, 2.50)) for number in range(7) for side in (-1, 1)]
    return back, front


def _rib(number: int, side: int, spacing: float, turns: tuple[float, float]) -> Points:
    reach, drop = 0.745 * (1 - 0.38 * np.exp(-0.51 * number)), 0.13 + 0.026 * number
    turn = np.linspace(*turns, 24)
    down = -0.82 + 0.128 * spacing * number + drop * (1 - np.cos(turn))
    return _tube(np.stack([side * reach * np.sin(turn), down], axis=1), 0.052)
