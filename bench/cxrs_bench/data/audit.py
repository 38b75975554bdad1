"""What two lists share that a training set and a test set must not: images, patients, near-duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from cxrs_bench.data.csv_text import csv_text
from cxrs_bench.data.listed import Entry, ImageList
from cxrs_bench.data.near_duplicates import Look, find_near_duplicates

SCHEMA = "cxrs-edge/audit/1"
MAX_LISTED = 10
"""Pairs that the text names; the CSV has all."""
COLUMNS = (
    "kind", "first_list", "first_file", "first_patient", "first_label",
    "second_list", "second_file", "second_patient", "second_label", "similarity",
)  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """One thing that two lists share: the entry of each, and how alike their pixels are where that was asked."""

    kind: str
    first: Entry
    second: Entry
    similarity: float | None = None


@dataclass(frozen=True)
class Overlap:
    """All that two lists share; empty tuples where nothing is.

    Attributes
    ----------
    first, second : the lists.
    images : pairs of entries with the same file name.
    patients : pairs of entries, the first of each patient in each list.
    near_duplicates : pairs of entries under different names whose pixels show one X-ray.
    """

    first: ImageList
    second: ImageList
    images: tuple[Shared, ...]
    patients: tuple[Shared, ...]
    near_duplicates: tuple[Shared, ...]

    def __iter__(self) -> Iterator[Shared]:
        return iter((*self.images, *self.patients, *self.near_duplicates))


def find_overlaps(lists: Sequence[ImageList], looks: Mapping[Path, Look]) -> tuple[Overlap, ...]:
    """Compare each list with each later one.

    Images are shared when their file names are, folders aside; patients when their ids are; near-duplicates are
    searched for among images with a look.
    """
    return tuple(_compare(a, b, looks) for a, b in combinations(lists, 2))


def render_overlap(overlap: Overlap) -> str:
    """What two lists share, for people; the counts by label are of the entries in each list."""
    a, b = overlap.first, overlap.second
    lines = [
        f"{a.name} ({_counted(a.entries)}) and {b.name} ({_counted(b.entries)}):",
        f"  shared images    {_sides(overlap.images)}",
        f"  shared patients  {_patients(overlap)}",
    ]
    if overlap.near_duplicates:
        lines.append(f"  near-duplicates  {_sides(overlap.near_duplicates)}")
    shown = overlap.near_duplicates[:MAX_LISTED]
    lines += [f"    {pair.first.file} ~ {pair.second.file} ({pair.similarity:.2f})" for pair in shown]
    return "\n".join(lines)


def to_json(overlap: Overlap) -> dict[str, Any]:
    """Counts, for programs; the pairs are in the CSV."""
    return {
        "schema": SCHEMA,
        "first": overlap.first.name,
        "second": overlap.second.name,
        "images": [len(overlap.first.entries), len(overlap.second.entries)],
        "shared_images": len(overlap.images),
        "shared_images_by_label": [label_counts(side) for side in _entries(overlap.images)],
        "shared_patients": len(overlap.patients),
        "near_duplicates": len(overlap.near_duplicates),
    }


def pairs_csv(overlaps: Iterable[Overlap]) -> str:
    """One row for each shared image, patient and near-duplicate."""
    return csv_text(COLUMNS, (_cells(overlap, pair) for overlap in overlaps for pair in overlap))


def label_counts(entries: Iterable[Entry]) -> dict[str, int]:
    """How many entries carry each label, the most frequent first."""
    return dict(Counter(entry.label or "no label" for entry in entries).most_common())


def _cells(overlap: Overlap, pair: Shared) -> Iterator[str]:
    yield pair.kind
    for side, entry in ((overlap.first, pair.first), (overlap.second, pair.second)):
        yield from (side.name, entry.file, entry.patient, entry.label)
    yield "" if pair.similarity is None else f"{pair.similarity:.3f}"


def _entries(pairs: Sequence[Shared]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """The entries of each side, once each, in order."""
    firsts = dict.fromkeys(pair.first for pair in pairs)
    return tuple(firsts), tuple(dict.fromkeys(pair.second for pair in pairs))


def _sides(pairs: Sequence[Shared]) -> str:
    if not pairs:
        return "0"
    if not any(entry.label for side in _entries(pairs) for entry in side):
        return str(len(pairs))
    labels = (label_counts(side) for side in _entries(pairs))
    told = [", ".join(f"{count} {label}" for label, count in counts.items()) for counts in labels]
    return f"{len(pairs)}: {told[0]} in the first; {told[1]} in the second"


def _patients(overlap: Overlap) -> str:
    ids = [pair.first.patient for pair in overlap.patients]
    if not ids:
        return "0"
    images = [sum(entry.patient in ids for entry in side.entries) for side in (overlap.first, overlap.second)]
    more = ", ..." if len(ids) > MAX_LISTED else ""
    told = (
        f"{len(ids)}, with {images[0]} images in the first and {images[1]} in the second: "
        f"{', '.join(sorted(ids)[:MAX_LISTED])}{more}"
    )
    apart = sum(map(_is_of_two_sources, overlap.patients))
    return f"{told}; {apart} under other sources, maybe other people" if apart else told


def _counted(entries: Sequence[Entry]) -> str:
    patients = len({entry.patient for entry in entries} - {""})
    return f"{len(entries)} images" + (f", {patients} patients" if patients else "")


def _compare(a: ImageList, b: ImageList, looks: Mapping[Path, Look]) -> Overlap:
    named = {_name(entry): entry for entry in a.entries}
    images = [Shared("image", named[_name(e)], e) for e in b.entries if _name(e) in named]
    return Overlap(
        a,
        b,
        tuple(images),
        tuple(sorted(_same_patients(a, b), key=lambda pair: pair.first.patient)),
        tuple(_same_pictures(a, b, looks)),
    )


def _name(entry: Entry) -> str:
    return Path(entry.file).name


def _same_patients(a: ImageList, b: ImageList) -> Iterator[Shared]:
    """A pair for each patient, of entries of the same source if there are some."""
    first, second = _by_patient(a), _by_patient(b)
    for patient in first.keys() & second.keys() - {""}:
        sides = (first[patient].values(), second[patient].values())
        pairs = [Shared("patient", *entries) for entries in product(*sides)]
        yield min(pairs, key=_is_of_two_sources)


def _by_patient(one: ImageList) -> dict[str, dict[str, Entry]]:
    """The first entry of each source that a patient has."""
    patients: dict[str, dict[str, Entry]] = {}
    for entry in one.entries:
        patients.setdefault(entry.patient, {}).setdefault(entry.source, entry)
    return patients


def _is_of_two_sources(pair: Shared) -> bool:
    return bool(pair.first.source and pair.second.source and pair.first.source != pair.second.source)


def _same_pictures(a: ImageList, b: ImageList, looks: Mapping[Path, Look]) -> Iterator[Shared]:
    seen = [[entry for entry in side.entries if entry.path in looks] for side in (a, b)]
    of_each = [[looks[entry.path] for entry in side if entry.path] for side in seen]
    for match in find_near_duplicates(*of_each):
        first, second = seen[0][match.first], seen[1][match.second]
        if _name(first) != _name(second):
            yield Shared("near-duplicate", first, second, match.similarity)
