"""Is one report's machine, engine or model faster than another's? Told beyond noise, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from cxrs_bench.latency.intervals import FEWEST_ROUNDS, Interval, ratio_interval
from cxrs_bench.record import Host, Model, Report, Run
from cxrs_edge.errors import DataError

Verdict = Literal["faster", "slower", "same within noise", "not resolvable"]
MEMORY_TOLERANCE = 0.02
"""The same machine states a little other memory after a firmware's or kernel's update."""


@dataclass(frozen=True)
class Comparison:
    """One configuration in both reports.

    Attributes
    ----------
    model, engine, threads : of the new run.
    ratio : median time of the new run over that of the old one, with its interval.
    remarks : what differs besides, or is unstable.
    """

    model: str
    engine: str
    threads: int
    old: Run
    new: Run
    ratio: Interval
    remarks: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """From the interval alone: a difference that lies within it isn't one."""
        if isnan(self.ratio.low):
            return "not resolvable"
        if self.ratio.low > 1:
            return "slower"
        return "faster" if self.ratio.high < 1 else "same within noise"

    def slower_than(self, limit: float) -> bool:
        """Whether it is slower, and by more than this share."""
        return self.verdict == "slower" and self.ratio.value > 1 + limit


def compare_reports(
    old: Report, new: Report, *, any_host: bool = False, any_model: bool = False
) -> tuple[Comparison, ...]:
    """Compare every configuration that both reports measured.

    Models are paired by their file's name, network and precision. Raises `DataError` for reports of two machines, or
    of other model files of the same name, unless `any_host` or `any_model` allows it, and when nothing is in both.
    """
    differing = _host_differences(old.host, new.host)
    if differing and not any_host:
        raise DataError(
            f"reports of two machines ({'; '.join(differing)}): their times say nothing about the software; "
            "expected one machine, or say --any-host"
        )
    pairs = list(_pairs(old, new))
    if not pairs:
        raise DataError(
            "no configuration (model, engine, threads) was measured in both reports; measure the same ones"
        )
    for before, after in pairs:
        _check_models(old.model(before.model), new.model(after.model), any_model=any_model)
    return tuple(_compare(old, new, *pair) for pair in pairs)


def unmatched(old: Report, new: Report) -> tuple[str, ...]:
    """Configurations that only one of the reports measured, in words."""
    before, after = ({run.key for run in report.runs if run.rounds} for report in (old, new))
    return (
        *(f"{_label(key)}: only in the first report" for key in sorted(before - after)),
        *(f"{_label(key)}: only in the second report" for key in sorted(after - before)),
    )


def _pairs(old: Report, new: Report) -> Iterator[tuple[Run, Run]]:
    measured = {run.key: run for run in old.runs if run.rounds}
    for run in new.runs:
        if run.rounds and run.key in measured:
            yield measured[run.key], run


def _compare(old: Report, new: Report, before: Run, after: Run) -> Comparison:
    model, engine, threads = after.key
    return Comparison(
        model=model,
        engine=engine,
        threads=threads,
        old=before,
        new=after,
        ratio=ratio_interval(_samples(after), _samples(before)),
        remarks=tuple(_remarks(old, new, before, after)),
    )


def _samples(run: Run) -> Sequence[Sequence[float]]:
    return [one.samples_ms for one in run.rounds]


def _host_differences(old: Host, new: Host) -> tuple[str, ...]:
    """What makes two machines of them; software may differ, that is what is compared."""
    pairs = [
        ("CPU", old.cpu, new.cpu),
        ("architecture", old.machine, new.machine),
        ("board", old.board, new.board),
        ("cores", old.cores, new.cores),
    ]
    found = [f"{what} {a} and {b}" for what, a, b in pairs if a != b]
    if abs(old.memory_bytes - new.memory_bytes) > MEMORY_TOLERANCE * max(old.memory_bytes, new.memory_bytes):
        found.append(f"memory {old.memory_bytes / 1e9:.1f} and {new.memory_bytes / 1e9:.1f} GB")
    return tuple(found)


def _check_models(old: Model, new: Model, *, any_model: bool) -> None:
    if (old.network, old.precision, old.size) != (new.network, new.precision, new.size):
        raise DataError(
            f"{new.id}: {old.network} {old.precision} of {old.size} pixels and {new.network} {new.precision} of "
            f"{new.size} pixels under one name; expected the same network"
        )
    if old.sha256 != new.sha256 and not any_model:
        raise DataError(
            f"{new.id}: two model files of that name, sha256 {old.sha256[:12]} and {new.sha256[:12]}; expected the "
            "same file, or say --any-model"
        )


def _remarks(old: Report, new: Report, before: Run, after: Run) -> Iterator[str]:
    if before.engine_version != after.engine_version:
        yield f"{after.engine} {before.engine_version} and {after.engine_version}"
    if old.model(before.model).sha256 != new.model(after.model).sha256:
        yield "another model file"
    for which, run in (("first", before), ("second", after)):
        if run.unstable:
            yield f"{which} unstable: {'; '.join(run.unstable)}"
        if len(run.rounds) < FEWEST_ROUNDS:
            yield f"{which} has {len(run.rounds)} rounds; an interval takes {FEWEST_ROUNDS}"


def _label(key: tuple[str, str, int]) -> str:
    model, engine, threads = key
    return f"{model} on {engine}, threads {threads}"
