"""Who is in a labelled set: the paper's Table 1, age and sex by patient, view and level by image."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from cxrs_bench.data.csv_text import csv_text
from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_edge.errors import DataError
from cxrs_edge.extras import import_extra

UNKNOWN = "unknown"
AGE_BINS = ("0-19", "20-39", "40-59", "60-79", "80+")
BIN_YEARS = 20
PICTURE_FORMATS = ("png", "svg", "pdf")
MAX_AGE = 120
UNIT = {"level": "images", "age": "patients", "sex": "patients", "view": "images"}
"""What is counted of each variable."""
_AGE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52.18, "D": 365.25}
_SEX = {"m": "male", "male": "male", "f": "female", "female": "female", "o": "other", "other": "other"}


@dataclass(frozen=True)
class Summary:
    """A group of images.

    Attributes
    ----------
    name : of the group, for example ``train``.
    images, patients : how many.
    ages : years, of each patient whose age is known; the youngest where images tell several.
    counts : variable (the keys of `UNIT`) -> category -> number of patients or images.
    """

    name: str
    images: int
    patients: int
    ages: tuple[float, ...]
    counts: Mapping[str, Mapping[str, int]]


def summarize(rows: LabelledSet, *, by: str | None = None) -> tuple[Summary, ...]:
    """Summarize all images, then, where they differ, each value of the field `by`: split, level or source."""
    groups = {"all": list(rows)}
    values = sorted({str(getattr(row, by)) for row in rows}) if by else []
    for value in values if len(values) > 1 else ():
        name = f"level {value}" if by == "level" else value or UNKNOWN
        groups[name] = [row for row in rows if str(getattr(row, str(by))) == value]
    return tuple(_summary(name, images) for name, images in groups.items())


def render_table(summaries: Sequence[Summary]) -> str:
    """A table for people, one column a group, with shares in per cent."""
    lines = [
        _line("", [summary.name for summary in summaries]),
        _line("images", [str(summary.images) for summary in summaries]),
        _line("patients", [str(summary.patients) for summary in summaries]),
        _line("age, mean and SD", [_mean_and_sd(summary.ages) for summary in summaries]),
    ]
    for variable, unit in UNIT.items():
        lines.append(f"{variable}, {unit}")
        for category in summaries[0].counts[variable]:
            lines.append(
                _line(f"  {category}", [_cell(summary, variable, category) for summary in summaries])
            )
    return "\n".join(line.rstrip() for line in lines)


def to_csv(summaries: Sequence[Summary]) -> str:
    """One row for each figure: group, variable, category, unit, value, share (0..1, empty for no count)."""
    header = ("group", "variable", "category", "unit", "value", "share")
    return csv_text(header, (figure for summary in summaries for figure in _figures(summary)))


def plot(summaries: Sequence[Summary], picture_format: str) -> bytes:
    """Draw level, age, sex and view of each group as shares; returns a file of one of `PICTURE_FORMATS`."""
    if picture_format not in PICTURE_FORMATS:
        raise DataError(f"picture format {picture_format!r}; expected one of {', '.join(PICTURE_FORMATS)}")
    import_extra("matplotlib", "data")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    width = 0.8 / len(summaries)
    for axes, (variable, unit) in zip(figure.subplots(1, len(UNIT), sharey=True), UNIT.items(), strict=True):
        categories = list(summaries[0].counts[variable])
        for number, summary in enumerate(summaries):
            at = [x + (number + 0.5) * width - 0.4 for x in range(len(categories))]
            shares = [100 * _share(summary, variable, category) for category in categories]
            axes.bar(at, shares, width, label=f"{summary.name} ({summary.patients} patients)")
        axes.set_xticks(range(len(categories)), categories, rotation=30, ha="right")
        axes.set(title=f"{variable} ({unit})")
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].set_ylabel("share (%)")
    figure.axes[0].legend(fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format=picture_format, dpi=110)
    return file.getvalue()


def age_in_years(text: str) -> float | None:
    """``55``, ``55.5`` or DICOM's ``055Y``, ``008M``, ``003W``, ``010D`` in years; None for anything else."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    years = float(match[1]) / _PER_YEAR[match[2].upper()]
    return years if years <= MAX_AGE else None


def _figures(summary: Summary) -> Iterator[tuple[object, ...]]:
    yield summary.name, "images", "", "images", summary.images, ""
    yield summary.name, "patients", "", "patients", summary.patients, ""
    if summary.ages:
        yield summary.name, "age", "mean", "years", f"{fmean(summary.ages):.2f}", ""
    if len(summary.ages) > 1:
        yield summary.name, "age", "SD", "years", f"{stdev(summary.ages):.2f}", ""
    for variable, unit in UNIT.items():
        for category, count in summary.counts[variable].items():
            share = f"{_share(summary, variable, category):.4f}"
            yield summary.name, variable, category, unit, count, share


def _summary(name: str, images: Sequence[LabelledImage]) -> Summary:
    patients: dict[str, list[LabelledImage]] = {}
    for row in images:
        patients.setdefault(row.patient, []).append(row)
    ages = [_youngest(own) for own in patients.values()]
    return Summary(
        name=name,
        images=len(images),
        patients=len(patients),
        ages=tuple(age for age in ages if age is not None),
        counts={
            "level": _counted(str(row.level) for row in images),
            "age": _counted((_age_bin(age) for age in ages), AGE_BINS),
            "sex": _counted((_sex(own) for own in patients.values()), ("female", "male")),
            "view": _counted(row.view.strip() or UNKNOWN for row in images),
        },
    )


def _youngest(images: Iterable[LabelledImage]) -> float | None:
    return min((age for row in images if (age := age_in_years(row.age)) is not None), default=None)


def _sex(images: Iterable[LabelledImage]) -> str:
    told = {_SEX[word] for row in images if (word := row.sex.strip().lower()) in _SEX}
    if len(told) > 1:
        return "contradictory"
    return told.pop() if told else UNKNOWN


def _age_bin(age: float | None) -> str:
    return UNKNOWN if age is None else AGE_BINS[min(int(age) // BIN_YEARS, len(AGE_BINS) - 1)]


def _counted(words: Iterable[str], first: Sequence[str] = ()) -> dict[str, int]:
    """Counts: the categories that are always shown, then the others sorted, unknown last."""
    counts = Counter(words)
    others = sorted(counts.keys() - set(first), key=lambda word: (word == UNKNOWN, word))
    return {word: counts[word] for word in (*first, *others)}


def _share(summary: Summary, variable: str, category: str) -> float:
    of = summary.images if UNIT[variable] == "images" else summary.patients
    return summary.counts[variable].get(category, 0) / of


def _cell(summary: Summary, variable: str, category: str) -> str:
    count = summary.counts[variable].get(category, 0)
    return f"{count} ({100 * _share(summary, variable, category):.1f} %)"


def _mean_and_sd(ages: Sequence[float]) -> str:
    if not ages:
        return "not recorded"
    return f"{fmean(ages):.1f}" + (f" ± {stdev(ages):.1f}" if len(ages) > 1 else "")


def _line(label: str, cells: Iterable[str]) -> str:
    return f"{label:<18}" + "".join(f"{cell:>16}" for cell in cells)
