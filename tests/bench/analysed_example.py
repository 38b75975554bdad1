"""The example report with every section filled, by figures as invented as its times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cxrs_bench.analyses import (
    Accuracy,
    Against,
    Analyses,
    Bandwidth,
    Demand,
    Figure,
    OperatorProfile,
    OperatorRow,
    Pair,
    Peak,
    Roofline,
    SlowOperator,
)
from cxrs_bench.analysing.claims import check_claims
from cxrs_bench.record import Model, Report, Run, read_report

EXAMPLE = Path(__file__).parent / "example-report.json"

Shares = dict[str, tuple[float, float, float]]
"""Group -> shares of MACs, of bytes and of time."""
NETWORKS: dict[str, Shares] = {
    "cxrs": {
        "first convolution": (0.073, 0.03, 0.10),
        "1x1 convolutions": (0.921, 0.49, 0.52),
        "depthwise": (0.006, 0.07, 0.11),
        "additions": (0, 0.36, 0.19),
        "pooling": (0, 0.03, 0.03),
        "quantize, reformat": (0, 0.02, 0.04),
        "head": (0, 0, 0.01),
    },
    "resnet50": {
        "first convolution": (0.03, 0.04, 0.05),
        "1x1 convolutions": (0.48, 0.42, 0.40),
        "3x3 convolutions": (0.49, 0.24, 0.48),
        "additions": (0, 0.26, 0.05),
        "pooling": (0, 0.03, 0.01),
        "head": (0, 0.01, 0.01),
    },
    "chexnet": {
        "first convolution": (0.04, 0.02, 0.04),
        "1x1 convolutions": (0.50, 0.30, 0.40),
        "3x3 convolutions": (0.46, 0.12, 0.30),
        "concatenation, copies": (0, 0.27, 0.09),
        "scale, activation": (0, 0.27, 0.14),
        "pooling": (0, 0.01, 0.02),
        "head": (0, 0.01, 0.01),
    },
}
MEGABYTES = {"cxrs": 136, "resnet50": 300, "chexnet": 380}
"""Moved by int8 files; four times that by floats."""


def analysed_example() -> Report:
    """Filled anew at each call."""
    report = read_report(EXAMPLE)
    analyses = Analyses(
        operators=tuple(_profiles(report)),
        roofline=_roofline(report),
        accuracy=tuple(_accuracy(report)),
        pairs=(
            Pair("cxrs-float32.tflite", "cxrs-int8.tflite", "tflite", (0.01, -0.06, 0.07), "not resolvable"),
            Pair("cxrs-float32.onnx", "cxrs-int8.onnx", "onnx", (0.05, 0.01, 0.09), "a"),
        ),
    )
    report = replace(report, analyses=analyses)
    return replace(report, analyses=replace(analyses, claims=check_claims(report)))


def _bytes(model: Model) -> int:
    return MEGABYTES[model.network] * 1_000_000 * (1 if model.precision == "int8" else 4)


def _profiles(report: Report) -> list[OperatorProfile]:
    runs = [run for run in report.runs if run.threads == 1 and run.outcome == "measured"]
    found = [
        _profile(run, report.model(run.model))
        for run in runs
        if report.model(run.model).precision != "float16"
    ]
    refused = next(run for run in runs if report.model(run.model).precision == "float16")
    reason = "tflite: its C library has no LiteRtGetProfileSummary; so there is no profile"
    return [*found, OperatorProfile(refused.model, refused.engine, 1, "LiteRT's profiler", reason=reason)]


def _profile(run: Run, model: Model) -> OperatorProfile:
    total = sorted(run.samples_ms)[len(run.samples_ms) // 2]
    rows = tuple(
        OperatorRow(
            group,
            0 if group == "additions" and run.engine == "openvino" else 10,
            int(macs * (model.macs or 0)),
            int(moved * _bytes(model)),
            time * total,
        )
        for group, (macs, moved, time) in NETWORKS[model.network].items()
    )
    slow = SlowOperator(
        "stage1_block1", "Fully Connected (NC, QS8, QC8W) GEMM", rows[1].group, 82_000_000, 900_000, 2.5
    )
    return OperatorProfile(
        run.model, run.engine, 1, "the engine's profiler", None, 20, total * 1.04, 70, 70, rows, (slow,) * 3
    )


def _roofline(report: Report) -> Roofline:
    speed = {"tflite": 470.0, "onnx": 455.0, "openvino": 410.0}
    return Roofline(
        peaks=tuple(
            Peak(engine, threads, precision, peak * threads * scale, "1024 x 512 by 512 x 512")
            for threads in (1, 2)
            for precision, scale in (("int8", 1.0), ("float32", 0.26))
            for engine, peak in speed.items()
        ),
        bandwidths=tuple(
            Bandwidth(engine, threads, 12.0 + 6 * threads) for threads in (1, 2) for engine in speed
        ),
        demands=tuple(Demand(model.id, model.macs or 0, _bytes(model)) for model in report.models),
        failures=("openvino, 2 threads, memory: no answer within 600 s; its process was ended",),
    )


def _accuracy(report: Report) -> list[Accuracy]:
    setups = sorted({(run.model, run.engine) for run in report.runs if run.outcome == "measured"})
    found = []
    for index, (id, engine) in enumerate(setups):
        if not report.model(id).trained:
            found.append(Accuracy(id, engine, "latency only", "random weights", "severity, split test"))
            continue
        value = 0.62 - 0.01 * (index % 4)
        figures = (
            Figure("sensitivity_level1", 0.55, 0.30, 0.80),
            Figure("sensitivity_level2", 0.69, 0.52, 0.84),
            Figure("balanced_accuracy", value, value - 0.15, value + 0.14),
            Figure("auc", 0.59, 0.32, 0.77),
            Figure("ppv_level1", None, None, None),
        )
        twin = id.replace("int8", "float32")
        against = None if twin == id else Against(twin, 1, 2, 0.08, (-0.01, -0.06, 0.05))
        confusion = ((10, 8), (13, 29))
        found.append(
            Accuracy(
                id, engine, "measured", None, "severity, split test", 60, 32, confusion, figures, against
            )
        )
    return found
