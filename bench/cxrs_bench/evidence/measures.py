"""Figures of one map on one image."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter
from scipy.integrate import trapezoid
from scipy.stats import rankdata

from cxrs_bench.evidence.methods import strongest_cells
from cxrs_bench.evidence.subject import Map, Subject
from cxrs_bench.metrics import auc
from cxrs_edge.evidence.fills import BLUR, to_pixels

ZONE_CENTRES = ((0.32, 0.30), (0.52, 0.27), (0.72, 0.25))
"""Down and across, shares of the frame: upper, middle and lower zone of the right lung, left in the picture; the
left lung's are mirrored. Where `cxrs_export.severity_network` begins to learn its zones from."""
ZONE_SPREAD = 0.1
"""Standard deviation of the bell that weighs a zone's cells, a share of the side."""


def removal_curves(subject: Subject, values: Map, steps: int) -> tuple[float, float]:
    """Deletion and insertion AUC (Petsiuk et al., RISE, BMVC 2018), of the decided level's probability.

    Deletion grays the strongest cells first (the image's mean), smaller is better; insertion puts them into the
    blurred image first, larger is better. `steps` inferences each, trapezoids over the share of cells.
    """
    plane = subject.plane
    gray = np.full_like(plane, round(float(plane.mean())))
    blurred = np.asarray(Image.fromarray(plane).filter(ImageFilter.GaussianBlur(BLUR * len(plane))))
    shares = np.linspace(0, 1, steps + 1)
    masks = [
        to_pixels(strongest_cells(values, round(share * values.size)), plane.shape) for share in shares[1:]
    ]
    deletion = [subject.probability, *(subject.ask(np.where(mask, gray, plane)) for mask in masks)]
    insertion = [*(subject.ask(np.where(mask, plane, blurred)) for mask in masks[:-1]), subject.probability]
    insertion = [subject.ask(blurred), *insertion]
    return float(trapezoid(deletion, shares)), float(trapezoid(insertion, shares))


def zone_auc(level2_map: Map, affected: tuple[bool, ...]) -> float:
    """How well a map tells an image's affected zones from its other ones; NaN unless there are both.

    `level2_map` speaks for level 2, `affected` are zones a to f by a radiologist. A zone's value is the mean of the
    map, weighted by a bell around the zone's place.
    """
    if len(set(affected)) < 2:
        return math.nan
    ranks = rankdata(zone_means(level2_map))
    return float(auc(np.where(affected, 2, 1), ranks / len(ranks)))


def zone_means(values: Map) -> Map:
    """Six numbers, zones a to f."""
    rows, columns = ((np.arange(side) + 0.5) / side for side in values.shape)
    centres = [*ZONE_CENTRES, *((down, 1 - across) for down, across in ZONE_CENTRES)]
    means = []
    for down, across in centres:
        bell = np.exp(-0.5 * (((rows - down)[:, np.newaxis] ** 2 + (columns - across) ** 2) / ZONE_SPREAD**2))
        means.append((values * bell).sum() / bell.sum())
    return np.array(means)


def correlation(one: Map, other: Map) -> float:
    """Pearson's, over cells; NaN where one of them is constant."""
    if one.std() == 0 or other.std() == 0:
        return math.nan
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
