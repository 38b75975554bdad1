"""Records -> the tables of docs/evidence.md, in Markdown, with intervals that resample patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cxrs_bench.evaluation import Estimate
from cxrs_bench.evidence.fills import ALL_FILLS
from cxrs_bench.evidence.methods import OURS
from cxrs_bench.markdown import markdown_table
from cxrs_bench.resampling import patient_interval

Record = dict[str, Any]
Value = Callable[[Record], float]
"""A record's number; NaN where it has none."""


def render_tables(records: Sequence[Record], *, resamples: int, seed: int) -> str:
    """Markdown: methods side by side, the impact by level and fill, and how steady the maps are."""
    tables = _Tables(records, resamples, seed)
    count, patients = len(records), len({record["patient"] for record in records})
    read = sum(not math.isnan(_figure(OURS, "zone_auc")(record)) for record in records)
    head = (
        f"{count} images of {patients} patients, {read} of them with affected and clear zones by a radiologist; "
        "95 % intervals, patients resampled."
    )
    return "\n\n".join([head, tables.methods(), tables.differences(), tables.levels(), tables.maps()]) + "\n"


class _Tables:
    def __init__(self, records: Sequence[Record], resamples: int, seed: int) -> None:
        self.records, self.resamples, self.seed = records, resamples, seed
        self.names = list(records[0]["methods"])

    def methods(self) -> str:
        """A row for each method."""
        columns = ("deletion", "insertion", "zone_auc")
        names = ("deletion AUC", "insertion AUC", "zone AUC")
        titles = ["method", *(f"impact, {fill}" for fill in ALL_FILLS), *names, "s an image (median)"]
        rows = [
            [
                name,
                *(self._shown(_changed(name, fill)) for fill in ALL_FILLS),
                *(self._shown(_figure(name, column)) for column in columns),
                f"{np.median([record['methods'][name]['seconds'] for record in self.records]):.3f}",
            ]
            for name in self.names
        ]
        return markdown_table(titles, rows)

    def differences(self) -> str:
        """Impact of ours less that of each other method on the same images."""
        titles = ["evidence minus", *(f"impact, {fill}" for fill in ALL_FILLS), "verdict by the unseen fill"]
        rows = []
        for name in self.names:
            if name == OURS:
                continue
            found = [self._estimate(_difference(name, fill)) for fill in ALL_FILLS]
            rows.append(
                [
                    name,
                    *(f"{e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f})" for e in found),
                    _verdict(found[-1]),
                ]
            )
        return markdown_table(titles, rows)

    def levels(self) -> str:
        """The Impact Score of candidates and of verified critical factors."""
        titles = ["decided level", "what is removed", "images", *(f"impact, {fill}" for fill in ALL_FILLS)]
        rows = []
        for level in (1, 2):
            chosen = [record for record in self.records if record["level"] == level]
            for what, value in (("all candidates", _changed), ("critical factors", _factors_changed)):
                some = (
                    chosen if value is _changed else [record for record in chosen if record["factor_cells"]]
                )
                shown = [self._shown(value(OURS, fill), some) for fill in ALL_FILLS]
                rows.append([str(level), what, str(len(some)), *shown])
        return markdown_table(titles, rows)

    def maps(self) -> str:
        """Correlations of the evidence map with others of the same image."""
        names = list(self.records[0]["maps"])
        rows = [[name, self._shown(_map_figure(name))] for name in names]
        return markdown_table(["evidence map against", "correlation (mean)"], rows)

    def _shown(self, value: Value, records: Sequence[Record] | None = None) -> str:
        estimate = self._estimate(value, records)
        if math.isnan(estimate.value):
            return ""
        return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"

    def _estimate(self, value: Value, records: Sequence[Record] | None = None) -> Estimate:
        """The mean of the records that have the number."""
        pairs = [(value(r), str(r["patient"])) for r in (self.records if records is None else records)]
        known = [(number, patient) for number, patient in pairs if not math.isnan(number)]
        if not known:
            return Estimate(math.nan, math.nan, math.nan, 1.0)
        numbers = np.array([number for number, _ in known])
        patients = [patient for _, patient in known]
        return patient_interval(
            lambda images: float(numbers[images].mean()), patients, resamples=self.resamples, seed=self.seed
        )


def _changed(name: str, fill: str) -> Value:
    return lambda record: float(record["methods"][name]["removed"][fill]["changed"])


def _factors_changed(_name: str, fill: str) -> Value:
    return lambda record: float(record["factors"][fill]["changed"])


def _figure(name: str, column: str) -> Value:
    return lambda record: float(record["methods"][name][column])


def _map_figure(name: str) -> Value:
    return lambda record: float(record["maps"][name])


def _difference(name: str, fill: str) -> Value:
    ours, other = _changed(OURS, fill), _changed(name, fill)
    return lambda record: ours(record) - other(record)


def _verdict(difference: Estimate) -> str:
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not told apart"
