"""The paper's claims one by one, beside what was counted and measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from cxrs_bench.analyses import Accuracy, Claim, Figure
from cxrs_bench.analysing.advantage import OPPONENTS, OURS, Advantage, find_advantages
from cxrs_bench.published import (
    COMPLEXITY_NOTES,
    CONFUSION,
    FEWER_FLOPS,
    FLOPS,
    LABELS,
    NAMES,
    PARAMETERS,
    published_figures,
)
from cxrs_bench.record import Model, Report

PUBLISHED_SIZE = 480
TOLERANCE = 0.01
"""A count holds if it is within 1 % of the published one, which is rounded to two or three digits."""
FLATTEN_CELLS, CHANNELS, LEVELS = 15 * 15, 2048, 2
STEM_FILTERS = {OURS: 48, "resnet50": 64, "chexnet": 64}
STEM_PLACES = (PUBLISHED_SIZE // 2) ** 2
ENGINES = {"tflite": "LiteRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


def check_claims(report: Report) -> tuple[Claim, ...]:
    """Every claim that the report has a network for, in the paper's order: complexity, latency, accuracy."""
    counted = {network: model for network in NAMES if (model := _counted(report, network))}
    return (
        *_parameters(counted),
        *_flops(counted),
        *_reductions(counted),
        *map(_latency, find_advantages(report)),
        *_accuracy(report.analyses.accuracy, report),
    )


def _counted(report: Report, network: str) -> Model | None:
    """A file of the network at the published size, the float32 one if there is one."""
    found = [
        model
        for model in report.models
        if (model.network, model.size) == (network, PUBLISHED_SIZE) and model.macs and model.parameters
    ]
    return min(found, key=lambda model: model.precision != "float32", default=None)


def _parameters(counted: Mapping[str, Model]) -> Iterator[Claim]:
    for network, published in PARAMETERS.items():
        if network not in counted:
            continue
        parameters = counted[network].parameters or 0
        note = COMPLEXITY_NOTES[0] if network == "chexnet" else ""
        if network == OURS:
            # The file has the same function with a smaller head: docs/adr/0002.
            note = (
                f"{parameters / 1e6:.2f} M in the file, whose head averages first; the published flatten head has "
                f"{(FLATTEN_CELLS - 1) * CHANNELS * LEVELS:,} more. {COMPLEXITY_NOTES[1]}"
            )
            parameters += (FLATTEN_CELLS - 1) * CHANNELS * LEVELS
        claim = _number(
            f"{NAMES[network]} has {published / 1e6:.1f} M parameters", published, parameters, 1e6, "M"
        )
        yield replace(claim, note=note)


def _flops(counted: Mapping[str, Model]) -> Iterator[Claim]:
    for network, published in FLOPS.items():
        if network in counted:
            measured, in_file = 2 * _published_macs(counted[network]), 2 * (counted[network].macs or 0)
            claim = _number(
                f"{NAMES[network]} takes {published / 1e9:.1f} GFLOPs", published, measured, 1e9, "GFLOPs"
            )
            note = f"{in_file / 1e9:.2f} GFLOPs in the file, whose stem reads one gray channel for three equal ones."
            yield replace(claim, note=note if in_file < measured else "")


def _published_macs(model: Model) -> int:
    """A network's MACs with the stem as published, 7 x 7 x 3, where the file has 4 x 4 x 4 (docs/adr/0018)."""
    saved = (7 * 7 * 3 - 4 * 4 * 4) * STEM_FILTERS[model.network] * STEM_PLACES if model.channels == 1 else 0
    return (model.macs or 0) + saved


def _number(claim: str, published: float, measured: float, unit: float, name: str) -> Claim:
    holds = abs(measured / published - 1) <= TOLERANCE
    return Claim(
        topic="complexity",
        claim=claim,
        published=f"{published / unit:.1f} {name}",
        measured=f"{measured / unit:.2f} {name}",
        verdict="holds" if holds else f"differs by {100 * (measured / published - 1):+.0f} %",
        holds=holds,
    )


def _reductions(counted: Mapping[str, Model]) -> Iterator[Claim]:
    for network, published in FEWER_FLOPS.items():
        if network in counted and OURS in counted:
            measured = 1 - _published_macs(counted[OURS]) / _published_macs(counted[network])
            holds = round(100 * measured) == round(100 * published)
            yield Claim(
                topic="complexity",
                claim=f"{NAMES[OURS]} takes {100 * published:.0f} % fewer FLOPs than {NAMES[network]}",
                published=f"{100 * published:.0f} %",
                measured=f"{100 * measured:.1f} %",
                verdict="holds" if holds else "differs",
                holds=holds,
                note="Counted with the stems as published.",
            )


def _latency(advantage: Advantage) -> Claim:
    interval = advantage.time_ratio
    threads = "1 thread" if advantage.threads == 1 else f"{advantage.threads} threads"
    spread = "" if math.isnan(interval.low) else f" ({interval.low:.2f} to {interval.high:.2f})"
    less = f"{100 * advantage.time_saved:.0f} % less time" if interval.value >= 1 else "more time"
    resolution = "" if advantage.size == PUBLISHED_SIZE else f", {advantage.size} px"
    return Claim(
        topic="latency",
        claim=f"{ENGINES.get(advantage.engine, advantage.engine)}, {advantage.precision}, {threads}{resolution}: the "
        f"advantage over {NAMES[advantage.opponent]} in milliseconds",
        published=f"{advantage.flop_ratio:.2f}x fewer FLOPs",
        measured=f"{interval.value:.2f}x faster{spread}: {less}",
        verdict=advantage.verdict,
        holds=None if advantage.verdict == "unclear" else advantage.verdict == "realised",
        note="A run of this pair was flagged as unstable." if advantage.unstable else "",
    )


def _accuracy(found: tuple[Accuracy, ...], report: Report) -> Iterator[Claim]:
    published = published_figures()._asdict()
    judged = _judged(found, report)
    for figure in judged.figures if judged else ():
        if (
            judged is not None
            and figure.name in LABELS
            and None not in (figure.value, figure.low, figure.high)
        ):
            yield _figure(judged, figure, published[figure.name])
    trained = {report.model(one.model).network for one in found if one.outcome == "measured"}
    for network in OPPONENTS:
        if network in {model.network for model in report.models} and not {network, OURS} <= trained:
            yield Claim(
                topic="accuracy",
                claim=f"{NAMES[OURS]} is more accurate than {NAMES[network]}",
                published="Table 3",
                measured="latency only",
                verdict="can't be told",
                holds=None,
                note="No labelled set was named, or weights are random: only times mean anything.",
            )


def _judged(found: tuple[Accuracy, ...], report: Report) -> Accuracy | None:
    """One judged file of ours, the float32 one if there is one: the report has the others' figures elsewhere."""
    ours = [
        one
        for one in found
        if one.outcome == "measured" and one.confusion and report.model(one.model).network == OURS
    ]
    return min(ours, key=lambda one: report.model(one.model).precision != "float32", default=None)


def _figure(judged: Accuracy, figure: Figure, published: float) -> Claim:
    """Can only be told on the paper's own test set."""
    value, low, high = (number or 0.0 for number in (figure.value, figure.low, figure.high))
    levels = tuple(map(sum, judged.confusion or ()))
    holds = low <= published <= high if levels == tuple(map(sum, CONFUSION)) else None
    verdicts = {None: "can't be told", True: "within the interval", False: "outside the interval"}
    return Claim(
        topic="accuracy",
        claim=f"{LABELS[figure.name]} of {NAMES[OURS]}",
        published=f"{published:.3f}",
        measured=f"{value:.3f} ({low:.2f} to {high:.2f})",
        verdict=verdicts[holds],
        holds=holds,
        note=f"{judged.model} on {ENGINES.get(judged.engine, judged.engine)}, {judged.data}."
        + (
            ""
            if holds is not None
            else f" Not the paper's test set: {levels[0]} and {levels[1]} images of the levels."
        ),
    )
