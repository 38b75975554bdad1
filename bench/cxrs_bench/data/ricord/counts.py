"""What a build came to, beside what is published."""

from __future__ import annotations

from collections import Counter

from cxrs_bench.data.ricord.build import SPLITS, Built

PUBLISHED = {
    "images": 909,
    "patients": 258,
    "level 1": 227,
    "level 2": 682,
    "test images": 150,
    "test level 1": 52,
    "test level 2": 98,
}
"""Aboutalebi et al., Diagnostics 2022, section 2, and the published test list. (The published notebook that made the
set counts 226 and 683 of the two levels, one image otherwise than the paper; docs/paper.md.)"""


def count(built: Built) -> dict[str, int]:
    """The published counts' names -> the counts here."""
    films = [one.film for one in built.made]
    counts = {"images": len(films), "patients": len({film.study.patient for film in films})}
    for level in (1, 2):
        counts[f"level {level}"] = sum(film.level == level for film in films)
    test = [film for film in films if film.split == SPLITS[1]]
    counts["test images"] = len(test)
    for level in (1, 2):
        counts[f"test level {level}"] = sum(film.level == level for film in test)
    return counts


def render_counts(built: Built) -> str:
    """The counts here beside the published ones, then why images were left out, then what was a close call."""
    lines = [f"{'':<16}{'here':>8}{'published':>12}"]
    lines += [f"{name:<16}{here:>8}{PUBLISHED[name]:>12}" for name, here in count(built).items()]
    reasons = Counter(one.reason for one in built.exclusions)
    lines.append(f"{len(built.exclusions)} images left out")
    lines += [f"{number:>8}  {reason}" for reason, number in reasons.most_common()]
    graded = [one.film for one in built.made if one.film.grading]
    ties = sum(film.grading.tied for film in graded if film.grading and film.split == SPLITS[0])
    other = sum(film.grading.winner != f"level{film.level}" for film in graded if film.grading)
    lines.append(f"{ties:>8}  training images graded by a tie, which the grade first in the file wins")
    lines.append(
        f"{other:>8}  test images whose published level is not the majority's; the published one is used"
    )
    return "\n".join(lines)
