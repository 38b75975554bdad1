"""Ways to find out what speaks for a decision, each as a map of the same cells."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

from cxrs_bench.evidence.libraries import lime_map, shap_map
from cxrs_bench.evidence.subject import Map, Subject
from cxrs_edge.evidence.fills import to_pixels

Method = Callable[[Subject], Map]
OURS = "evidence"
PATCH, STRIDE = 3, 2
"""Cells: side of the square that occlusion hides, and its step."""


def cell_methods(samples: int, class_maps: Callable[[Subject], Map] | None) -> Mapping[str, Method]:
    """Every method by its name.

    Parameters
    ----------
    samples : inferences that LIME and SHAP may each ask for, for one image.
    class_maps : the decided level's own cell logits by the float network, h x w: Grad-CAM's map before its ReLU; None
        leaves Grad-CAM out. The last feature map A goes through global average pooling and a linear head w, so
        Grad-CAM's weights, the mean gradients, are w / cells, and its map is the level's cell logits (Selvaraju et
        al., ICCV 2017, section 3.1: there it is CAM). It differs from the
        evidence map in that it leaves the other level out.
    """
    known: dict[str, Method] = {OURS: lambda subject: subject.support}
    if class_maps is not None:
        known["Grad-CAM"] = class_maps
    return {
        **known,
        "occlusion": occlusion_map,
        "LIME": lambda subject: lime_map(subject, samples),
        "SHAP": lambda subject: shap_map(subject, samples),
        "random": random_map,
        "centre": centre_map,
    }


def occlusion_map(subject: Subject) -> Map:
    """Zeiler and Fergus, ECCV 2014: the mean loss of probability over the gray squares that hide a cell."""
    plane, shape = subject.plane, subject.support.shape
    gray = np.uint8(round(float(plane.mean())))
    loss, times = np.zeros(shape), np.zeros(shape)
    for down in range(0, shape[0] - PATCH + 1, STRIDE):
        for across in range(0, shape[1] - PATCH + 1, STRIDE):
            cells = np.zeros(shape, bool)
            cells[down : down + PATCH, across : across + PATCH] = True
            hidden = np.where(to_pixels(cells, plane.shape), gray, plane)
            loss[cells] += subject.probability - subject.ask(hidden)
            times[cells] += 1
    return loss / np.maximum(times, 1)


def random_map(subject: Subject) -> Map:
    """Smoothed noise, whose strongest cells lie together as a method's do; the same for the same pixels."""
    seed = zlib.crc32(subject.plane.tobytes())
    noise = np.random.default_rng(seed).standard_normal(subject.support.shape)
    return np.asarray(gaussian_filter(noise, 1.5))


def centre_map(subject: Subject) -> Map:
    """The nearer to the middle the stronger."""
    down, across = np.indices(subject.support.shape)
    middle_down, middle_across = ((side - 1) / 2 for side in subject.support.shape)
    return np.asarray(-np.hypot(down - middle_down, across - middle_across))


def strongest_cells(values: Map, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The `count` cells with the largest values; equal ones in reading order."""
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(-values, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(values.shape)
