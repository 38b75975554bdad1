"""Which films are copies of one another, and which are of one patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrs_bench.data.near_duplicates import Look, find_near_duplicates
from cxrs_bench.data.severity.films import Film
from cxrs_edge.extras import import_extra

Edge = tuple[int, int]


@dataclass(frozen=True)
class Merged:
    """A film and the copies of it that are left out; `patient` is the same for all films of a patient."""

    film: Film
    patient: str
    copies: tuple[Film, ...]


def merge_copies(films: Sequence[Film], looks: Sequence[Look], pixels: Sequence[int]) -> tuple[Merged, ...]:
    """Keep one film of each set of copies, with the scores of all, and name the patients.

    Kept is the one with a Brixia score, then the one with more pixels. Copies are of one patient, whatever
    their collections call them. `looks` and `pixels` are those of `films`, in the same order.
    """
    copies = [(match.first, match.second) for match in find_near_duplicates(looks, looks)]
    patients = _components(len(films), [*copies, *_same_patient(films)])
    clusters: dict[int, list[int]] = {}
    for number, cluster in enumerate(_components(len(films), copies)):
        clusters.setdefault(cluster, []).append(number)
    merged = []
    for members in clusters.values():
        best, *others = sorted(members, key=lambda n: (films[n].brixia is None, -pixels[n], films[n].name))
        copied = tuple(films[n] for n in others)
        patient = _patient_id(films, patients, patients[best])
        merged.append(Merged(_with_scores(films[best], copied), patient, copied))
    return tuple(sorted(merged, key=lambda one: one.film.name))


def _same_patient(films: Sequence[Film]) -> Iterable[Edge]:
    first: dict[str, int] = {}
    for number, film in enumerate(films):
        for patient in film.patients:
            yield first.setdefault(patient, number), number


def _components(count: int, edges: Sequence[Edge]) -> list[int]:
    """The number of the connected component that each of `count` nodes is in."""
    sparse = import_extra("scipy.sparse", "data")
    graph = import_extra("scipy.sparse.csgraph", "data")
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    matrix = sparse.coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (count, count))
    _, labels = graph.connected_components(matrix, directed=False)
    return [int(label) for label in labels]


def _with_scores(film: Film, copies: Iterable[Film]) -> Film:
    for copy in copies:
        film = replace(film, brixia=film.brixia or copy.brixia, geographic=film.geographic or copy.geographic)
    return film


def _patient_id(films: Sequence[Film], patients: Sequence[int], patient: int) -> str:
    """A hash of all ids that the patient has, so that it says nothing and does not depend on the order."""
    ids = {
        one for film, owner in zip(films, patients, strict=True) if owner == patient for one in film.patients
    }
    return "pt-" + hashlib.sha1("\n".join(sorted(ids)).encode()).hexdigest()[:6]
