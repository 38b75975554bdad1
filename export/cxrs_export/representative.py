"""The images that int8 quantization is calibrated on and that exported files are verified on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled, without_no_derivatives
from cxrs_bench.phantom import draw_phantom, phantom_level, varied_phantoms
from cxrs_edge.errors import DataError
from cxrs_edge.image import GrayImage, read_file, read_image
from cxrs_edge.prepare import InputSpec, Pixels, pixels_needed, prepare

PHANTOM_NOTE = "drawn phantoms: statistics of a drawing, not of X-rays; calibrate releases on real images"


@dataclass(frozen=True, eq=False)
class RepresentativeSet:
    """Prepared images: `pixels` uint8 1 x H x W x C each, `ids` their names, `source` what they are."""

    ids: tuple[str, ...]
    pixels: tuple[Pixels, ...]
    source: str

    def with_channels(self, channels: int) -> RepresentativeSet:
        """The same images with the first so many of their equal channels."""
        return replace(self, pixels=tuple(pixels[..., :channels] for pixels in self.pixels))


def phantom_set(spec: InputSpec, count: int, *, seed: int = 0) -> RepresentativeSet:
    """Drawn chest phantoms, levels 1 and 2 alike often."""
    ids, pixels = [], []
    for number, phantom in enumerate(varied_phantoms(count, seed=seed)):
        image = GrayImage(
            pixels=draw_phantom(phantom),
            name=f"phantom {number}",
            format="drawn",
            size=(phantom.width, phantom.height),
        )
        ids.append(f"phantom-{seed}-{number}-level{phantom_level(phantom)}")
        pixels.append(prepare(image, spec))
    return RepresentativeSet(tuple(ids), tuple(pixels), PHANTOM_NOTE)


def labelled_sets(
    path: Path,
    spec: InputSpec,
    *,
    images: Path | None,
    calibration: int,
    verification: int,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[RepresentativeSet, RepresentativeSet]:
    """Draw a calibration and a verification set from a training split, of different images.

    Both levels are drawn alike often as far as they go. Test images are refused: a file calibrated on them
    could no longer be judged on them. Raises `DataError`.
    """
    rows = read_labelled(path, images=images)
    splits = {row.split for row in rows}
    if "train" not in splits:
        raise DataError(
            f"{path}: its split is {', '.join(sorted(splits))}; calibration takes training images only, "
            "test patients are refused; name a training list or a set with a train split"
        )
    order = _alternating(without_no_derivatives(in_split(rows, "train", levels=(1, 2))), seed)
    if len(order) < calibration + 1:
        raise DataError(
            f"{path}: {len(order)} training images; expected more than the {calibration} for calibration"
        )
    chosen = order[: calibration + verification]
    prepared = []
    for number, row in enumerate(chosen, 1):
        image = read_image(read_file(row.path), name=str(row.path), at_least=pixels_needed(spec))
        prepared.append(prepare(image, spec))
        report("reading images", number, len(chosen))
    ids = tuple(row.image_id for row in chosen)
    source = f"training split of a labelled set, {len({row.patient for row in order})} patients in all"
    return (
        RepresentativeSet(ids[:calibration], tuple(prepared[:calibration]), source),
        RepresentativeSet(ids[calibration:], tuple(prepared[calibration:]), source),
    )


def _alternating(rows: LabelledSet, seed: int) -> LabelledSet:
    """Shuffled, level 1 and level 2 in turn for as long as both last."""
    rng = np.random.default_rng(seed)
    by_level = [
        [level_rows[i] for i in rng.permutation(len(level_rows))]
        for level_rows in ([r for r in rows if r.level == level] for level in (1, 2))
    ]
    paired = [row for pair in zip(*by_level, strict=False) for row in pair]
    rest = max(by_level, key=len)[len(paired) // 2 :]
    return (*paired, *rest)
