"""Fit the quality gate: its network on all training films, its limits on films that the network has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.data.parallel import map_in_processes
from cxrs_bench.gate.films import Film
from cxrs_bench.gate.spoil import Plane
from cxrs_bench.metrics import patient_index
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_bench.progress import Report
from cxrs_edge.errors import CxrsError, DataError
from cxrs_edge.gate.data import GateData, Limits
from cxrs_edge.gate.gate import PASSING
from cxrs_edge.gate.network import Layer
from cxrs_edge.image import SUFFIXES, read_file, read_image
from cxrs_edge.prepare import to_8_bit
from cxrs_export.gate_network import GateRecipe, all_logits, train_layers
from cxrs_export.gate_samples import CLASSES, Material, thumbnail

SHORT_SIDE = 112
"""Pixels to which films and pictures are reduced first: every sample is made anew from them."""
FOLDS = 2
REJECT_SIDE, DOUBT_SIDE = 128, 224
REJECT_CONTRAST = 5.0


@dataclass(frozen=True)
class Shares:
    """Of unseen training films, how many may be rejected, and how many rejected or doubtful."""

    rejected: float = 0.007
    doubtful: float = 0.015


def fit_gate(
    films: Sequence[Film], pictures: Sequence[Path], recipe: GateRecipe, shares: Shares, report: Report
) -> GateData:
    """Fit on the films of the split ``train`` alone; half of the patients judges the other half's network."""
    train = [film for film in films if film.split == "train"]
    if not train:
        raise DataError("films: none of the split train; expected some to fit the gate on")
    planes = list(map_in_processes(reduced, [film.path for film in train], "reading films", report))
    material = Material(
        films=planes,
        reach=_reach(train),
        phantoms=_draw_phantoms(recipe.phantoms, report),
        pictures=_read_pictures(pictures, report),
    )
    margins = _unseen_margins(train, material, recipe, report)
    layers = train_layers(material, recipe, report, "fitting on all films")
    reject, doubt = np.quantile(margins, [shares.rejected, shares.doubtful])
    return GateData(
        version="1",
        side=recipe.side,
        classes=CLASSES,
        layers=layers,
        limits=Limits(
            REJECT_SIDE, DOUBT_SIDE, REJECT_CONTRAST, round(float(reject), 3), round(float(doubt), 3)
        ),
        fitted=_provenance(train, material, recipe, shares),
    )


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """Image files in and below folders, sorted; raises `DataError` if there are none."""
    found = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise DataError(
            f"{', '.join(map(str, folders))}: no picture; expected files named {', '.join(SUFFIXES)}"
        )
    return found


def reduced(path: Path) -> Plane:
    """An image's gray pixels, its shorter side reduced to `SHORT_SIDE`."""
    gray = read_image(read_file(path), name=str(path), at_least=SHORT_SIDE)
    image = Image.fromarray(to_8_bit(gray.pixels))
    scale = min(1.0, SHORT_SIDE / min(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def _reduced_if_read(path: Path) -> Plane | None:
    try:
        return reduced(path)
    except CxrsError:
        return None


def _read_pictures(paths: Sequence[Path], report: Report) -> list[Plane]:
    """Those that can be read: packages ship broken ones, too."""
    read = map_in_processes(_reduced_if_read, paths, "reading pictures", report)
    return [plane for plane in read if plane is not None]


def _draw_phantoms(count: int, report: Report) -> list[Plane]:
    # A third of the size: they are reduced anyway.
    drawn = [replace(p, width=p.width // 3, height=p.height // 3) for p in varied_phantoms(count)]
    return list(map_in_processes(draw_phantom, drawn, "drawing phantoms", report))


def _reach(films: Sequence[Film]) -> NDArray[np.float64]:
    """A source of 100 times as many films is taken from 10 times as often."""
    sources = [(film.group, film.source) for film in films]
    sizes = Counter(sources)
    chances = np.array([sizes[source] ** -0.5 for source in sources])
    reach = np.cumsum(chances / chances.sum())
    reach[-1] = 1.0
    return reach


def _unseen_margins(
    films: Sequence[Film], material: Material, recipe: GateRecipe, report: Report
) -> NDArray[np.float64]:
    """Each film's margin by a network that saw no film of its patient."""
    fold_of_film = patient_index([film.patient for film in films]) % FOLDS
    margins = np.empty(len(films))
    for fold in range(FOLDS):
        seen = np.flatnonzero(fold_of_film != fold).tolist()
        unseen = np.flatnonzero(fold_of_film == fold).tolist()
        part = replace(
            material,
            films=[material.films[number] for number in seen],
            reach=_reach([films[number] for number in seen]),
        )
        layers = train_layers(part, recipe, report, f"fitting without part {fold + 1} of {FOLDS}")
        margins[unseen] = _margins([material.films[number] for number in unseen], layers, recipe.side)
    return margins


def _margins(planes: Sequence[Plane], layers: Sequence[Layer], side: int) -> NDArray[np.float64]:
    logits = all_logits([thumbnail(plane, side) for plane in planes], layers)
    passing = np.isin(CLASSES, PASSING)
    passes = np.logaddexp.reduce(logits[:, passing], axis=1)
    return np.asarray(passes - np.logaddexp.reduce(logits[:, ~passing], axis=1), np.float64)


def _provenance(
    films: Sequence[Film], material: Material, recipe: GateRecipe, shares: Shares
) -> dict[str, Any]:
    return {
        "films": dict(Counter(film.group for film in films)),
        "patients": len({film.patient for film in films}),
        "pictures": len(material.pictures),
        "recipe": asdict(recipe),
        "shares": asdict(shares),
        "folds": FOLDS,
    }
