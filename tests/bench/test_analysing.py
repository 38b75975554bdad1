"""The sections that explain a report, on figures small enough to follow by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import TinyCard, TinyGraph, tiny_onnx

from cxrs_bench.analyses import Analyses, Bandwidth, Demand, OperatorProfile, OperatorRow, Peak, Roofline
from cxrs_bench.analysing.accuracy import judge_models
from cxrs_bench.analysing.advantage import Advantage, find_advantages
from cxrs_bench.analysing.claims import check_claims
from cxrs_bench.analysing.files import find_files
from cxrs_bench.analysing.gap import find_gap
from cxrs_bench.analysing.operators import group_rows
from cxrs_bench.analysing.roofline import limit_gmac_s
from cxrs_bench.cli_report import analyse
from cxrs_bench.complexity import Complexity, OperatorCost
from cxrs_bench.labelled import LabelledImage
from cxrs_bench.latency.intervals import Interval
from cxrs_bench.probing.events import Event
from cxrs_bench.probing.groups import group_events
from cxrs_bench.record import Report, Run, read_report, write_report
from cxrs_edge.errors import DataError
from cxrs_edge.model_file import read_model_file, with_card

EXAMPLE = Path(__file__).parent / "example-report.json"


@pytest.fixture(scope="module")
def example() -> Report:
    return read_report(EXAMPLE)


def _quiet(*_: Any) -> None:
    """Progress that nobody sees."""


def _advantage(low: float, value: float, high: float, example: Report) -> Advantage:
    run = example.runs[0]
    return Advantage("tflite", "int8", 1, 480, "resnet50", run, run, 3.0, Interval(value, low, high))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((2.9, 3.1, 3.2), "realised"),
        ((2.5, 2.8, 3.0), "realised"),
        ((1.1, 1.5, 1.9), "partly"),
        ((0.9, 1.1, 1.3), "not realised"),
        ((0.7, 0.8, 0.9), "reversed"),
        ((math.nan, 2.0, math.nan), "unclear"),
    ],
)
def test_verdicts(interval: tuple[float, float, float], verdict: str, example: Report) -> None:
    assert _advantage(*interval, example).verdict == verdict


def test_shares_saved(example: Report) -> None:
    advantage = _advantage(1.9, 2.0, 2.1, example)
    assert advantage.flops_saved == pytest.approx(2 / 3)
    assert advantage.time_saved == pytest.approx(1 / 2)


def test_only_what_ran_alike_is_compared(example: Report) -> None:
    found = find_advantages(example)
    models = {model.id: model for model in example.models}
    for one in found:
        ours, theirs = models[one.ours.model], models[one.theirs.model]
        assert (ours.network, ours.precision, ours.format) == ("cxrs", theirs.precision, theirs.format)
        assert (one.ours.engine, one.ours.threads) == (one.theirs.engine, one.theirs.threads)
        assert one.flop_ratio == theirs.macs / ours.macs  # type: ignore[operator]
    # Three engines, two precisions, two numbers of threads, two opponents, less the failed and the unsupported run.
    assert len(found) == 3 * 2 * 2 * 2 - 2
    first = found[0]
    medians = [np.median([np.median(r.samples_ms) for r in run.rounds]) for run in (first.theirs, first.ours)]
    assert first.time_ratio.value == pytest.approx(medians[0] / medians[1])


def test_counts_and_reductions_of_the_paper(example: Report) -> None:
    claims = {claim.claim: claim for claim in check_claims(example)}
    ours = claims["COVID-Net CXR-S has 8.8 M parameters"]
    # 7,908,512 in the file, and 224 more cells x 2048 channels x 2 levels of the flatten head.
    assert (ours.measured, ours.holds) == (f"{(7_908_512 + 224 * 2048 * 2) / 1e6:.2f} M", True)
    assert (claims["COVID-Net CXR-S takes 11.1 GFLOPs"].measured) == "11.13 GFLOPs"
    chexnet = claims["CheXNet has 8.1 M parameters"]
    assert (chexnet.verdict, chexnet.holds) == ("differs by -15 %", False)
    assert "1000-class top" in chexnet.note
    less = claims["COVID-Net CXR-S takes 69 % fewer FLOPs than ResNet-50"]
    assert (less.measured, less.holds) == (f"{100 * (1 - 5565 / 17706):.1f} %", True)


def test_every_pair_is_a_claim_with_its_verdict(example: Report) -> None:
    claims = [claim for claim in check_claims(example) if claim.topic == "latency"]
    for claim, advantage in zip(claims, find_advantages(example), strict=True):
        assert claim.verdict == advantage.verdict
        assert claim.published == f"{advantage.flop_ratio:.2f}x fewer FLOPs"
        assert claim.holds == (advantage.verdict == "realised")
    assert sum("unstable" in claim.note for claim in claims) == 1


def test_accuracy_can_not_be_claimed_without_a_set(example: Report) -> None:
    claims = [claim for claim in check_claims(example) if claim.topic == "accuracy"]
    assert {(claim.measured, claim.holds) for claim in claims} == {("latency only", None)}


def _with_profiles(advantage: Advantage, **rows: tuple[OperatorRow, ...]) -> Analyses:
    runs = {"ours": advantage.ours, "theirs": advantage.theirs}
    return Analyses(
        operators=tuple(
            OperatorProfile(run.model, run.engine, run.threads, "by hand", rows=rows[who])
            for who, run in runs.items()
            if who in rows
        )
    )


def test_the_gap_is_split_exactly(example: Report) -> None:
    advantage = find_advantages(example)[0]
    ours = (
        OperatorRow("1x1 convolutions", 52, 4_000_000_000, 0, 20.0),
        OperatorRow("depthwise", 16, 0, 0, 4.0),
        OperatorRow("additions", 16, 0, 0, 8.0),
    )
    theirs = (
        OperatorRow("first convolution", 1, 2_000_000_000, 0, 10.0),
        OperatorRow("3x3 convolutions", 16, 8_000_000_000, 0, 20.0),
        OperatorRow("additions", 16, 0, 0, 5.0),
    )
    gap = find_gap(advantage, _with_profiles(advantage, ours=ours, theirs=theirs))
    assert gap is not None
    assert (gap.ours, gap.theirs) == (32 / 4, 35 / 10)
    assert gap.convolutions == 20 / 4 - 30 / 10
    assert gap.rest == 12 / 4 - 5 / 10
    assert gap.convolutions + gap.rest == gap.ours - gap.theirs
    assert gap.our_rate == pytest.approx(200)
    assert gap.their_rate == pytest.approx(1000 / 3)
    assert (gap.our_rest, gap.their_rest) == (12 / 32, 5 / 35)
    assert gap.largest_rest == ("additions", 8 / 32)


def test_without_both_profiles_there_is_no_gap(example: Report) -> None:
    advantage = find_advantages(example)[0]
    row = (OperatorRow("1x1 convolutions", 1, 10, 0, 1.0),)
    assert find_gap(advantage, _with_profiles(advantage, ours=row)) is None
    nothing = (OperatorRow("additions", 1, 0, 0, 1.0),)
    assert find_gap(advantage, _with_profiles(advantage, ours=row, theirs=nothing)) is None


def test_groups_add_up_and_keep_what_was_merged_away() -> None:
    costs = (
        OperatorCost("stem", "Conv", 100, 1, (1,), "spatial", 10, 5),
        OperatorCost("a", "Conv", 50, 1, (1,), "1x1", 20, 5),
        OperatorCost("b", "Conv", 30, 1, (1,), "1x1", 20, 5),
    )
    added = OperatorCost("sum", "Add", 0, 0, (1,), "none", 8, 4)
    complexity = Complexity(parameters=3, macs=180, rows=costs, free=(added,))
    events = [Event("stem", "Conv", 3.0), Event("a", "Conv", 1.0), Event("b", "Conv", 2.0)]
    rows = {row.group: row for row in group_rows(group_events(events, complexity), complexity)}
    assert (rows["first convolution"].ms, rows["first convolution"].bytes) == (3.0, 15)
    assert rows["1x1 convolutions"] == OperatorRow("1x1 convolutions", 2, 80, 50, 3.0)
    # The engine melted the addition into a convolution: its cost stays in sight.
    assert rows["additions"] == OperatorRow("additions", 0, 0, 12, 0)
    assert sum(row.macs for row in rows.values()) == 180


def test_the_limit_is_the_lower_roof() -> None:
    roofline = Roofline(
        peaks=(Peak("onnx", 1, "int8", 400.0, "s"), Peak("onnx", 1, "float32", 100.0, "s")),
        bandwidths=(Bandwidth("onnx", 1, 5.0), Bandwidth("tflite", 1, 10.0)),
        demands=(Demand("heavy", 1000, 10), Demand("light", 100, 10), Demand("empty", 5, 0)),
    )
    assert limit_gmac_s(roofline, "heavy", "onnx", 1, "int8") == 400
    # Memory is the machine's: the best engine's 10 GB/s times 10 MACs per byte.
    assert limit_gmac_s(roofline, "light", "onnx", 1, "int8") == 100
    assert limit_gmac_s(roofline, "heavy", "onnx", 1, "float16") == 100
    assert limit_gmac_s(roofline, "heavy", "onnx", 2, "int8") is None
    assert limit_gmac_s(roofline, "heavy", "tflite", 1, "int8") is None
    assert limit_gmac_s(roofline, "empty", "onnx", 1, "int8") is None


def _tiny_report(example: Report, folder: Path, slopes: dict[str, float], untrained: str = "") -> Report:
    """Models whose probability of level 2 falls with the image's mean, the steeper the greater the slope."""
    models = []
    for id, slope in slopes.items():
        path = folder / id
        path.write_bytes(with_card(tiny_onnx(TinyGraph(slope=slope)), TinyCard().card(), "onnx"))
        card = read_model_file(path).card
        precision = "float32" if "float32" in id else "int8"
        network = id.partition("-")[0]
        models.append(
            replace(
                example.models[1], id=id, network=network, name=network, precision=precision, size=32,
                sha256=card.sha256, trained=id != untrained,
            )
        )  # fmt: skip
    runs = tuple(replace(example.runs[0], model=id, engine="onnx") for id in slopes)
    return replace(example, models=tuple(models), runs=runs, commands=(), sustained=())


def _drawn(folder: Path, images: int) -> tuple[LabelledImage, ...]:
    """Every second image is bright and of level 1."""
    rows = []
    for index in range(images):
        level = 1 + index % 2
        path = folder / f"{index}.png"
        noise = np.random.default_rng(index).integers(0, 40, (140, 160))
        gray = np.linspace(0, 60, 160)[np.newaxis, :] + noise + (150 if level == 1 else 0)
        Image.fromarray(gray.astype(np.uint8)).save(path)
        rows.append(LabelledImage(str(index), path, f"p{index}", level, "test"))
    return tuple(rows)


def test_files_are_judged_and_ranked_where_the_set_can(example: Report, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    slopes = {
        "cxrs-float32.onnx": 1.5,
        "cxrs-int8.onnx": 1.4,
        "chexnet-int8.onnx": -1.5,
        "resnet50-int8.onnx": 9.0,
    }
    report = _tiny_report(example, tmp_path, slopes, untrained="resnet50-int8.onnx")
    found, pairs = judge_models(report, find_files(report, tmp_path), _drawn(tmp_path, 12), "drawn", _quiet)
    by_model = {one.model: one for one in found}
    assert by_model["resnet50-int8.onnx"].outcome == "latency only"
    assert by_model["resnet50-int8.onnx"].figures == ()
    outcome = by_model["cxrs-int8.onnx"]
    assert outcome.reason is None
    assert (outcome.images, outcome.patients, outcome.data) == (12, 12, "drawn")
    assert outcome.against is not None
    assert (outcome.against.model, outcome.against.to_level1, outcome.against.to_level2) == (
        "cxrs-float32.onnx",
        0,
        0,
    )
    assert outcome.against.largest_difference > 0
    assert by_model["cxrs-float32.onnx"].against is None
    verdicts = {(pair.a, pair.b): pair.verdict for pair in pairs}
    assert verdicts["cxrs-float32.onnx", "cxrs-int8.onnx"] == "not resolvable"
    # The slope's sign turns every level round, so one of the two is always wrong where the other is right.
    against = verdicts["chexnet-int8.onnx", "cxrs-int8.onnx"]
    assert against in ("a", "b", "not resolvable")
    assert len(pairs) == 3


def test_a_file_is_only_taken_for_the_one_that_was_measured(example: Report, tmp_path: Path) -> None:
    report = _tiny_report(example, tmp_path, {"cxrs-int8.onnx": 1.5})
    assert find_files(report, tmp_path) == {"cxrs-int8.onnx": tmp_path / "cxrs-int8.onnx"}
    other = replace(report, models=(replace(report.models[0], sha256="f" * 64),))
    with pytest.raises(DataError, match=r"the report measured ffffffffffff\.\.\."):
        find_files(other, tmp_path)
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match=r"has no file 'cxrs-int8\.onnx'"):
        find_files(report, tmp_path / "sub")
    outside = replace(report, models=(replace(report.models[0], id="../cxrs-int8.onnx"),))
    with pytest.raises(DataError, match="has no file"):
        find_files(outside, tmp_path / "sub")


def test_runs_without_samples_are_not_compared(example: Report) -> None:
    runs = tuple(Run(run.model, run.engine, run.threads, "failed", "killed") for run in example.runs)
    assert find_advantages(replace(example, runs=runs)) == ()


def test_the_command_adds_what_it_found_to_the_file(example: Report, tmp_path: Path) -> None:
    """On a real engine; a stage that can't begin loses nothing of what is there."""
    pytest.importorskip("onnxruntime")
    report = _tiny_report(example, tmp_path, {"cxrs-int8.onnx": 1.5})
    record = tmp_path / "report.json"
    write_report(report, record)
    command = [str(record), "--models", str(tmp_path), "--stage", "operators"]
    run = CliRunner().invoke(analyse, command, catch_exceptions=False)
    assert run.exit_code == 0
    assert "1 operator profiles (0 without), 0 peaks" in run.output
    found = read_report(record)
    (profile,) = found.analyses.operators
    assert (profile.model, profile.engine, profile.reason) == ("cxrs-int8.onnx", "onnx", None)
    assert sum(row.ms for row in profile.rows) > 0
    assert found.runs == report.runs
    run = CliRunner().invoke(analyse, [*command[:3], "--stage", "accuracy"])
    assert run.exit_code == 2
    assert "--stage accuracy needs --labels" in run.output
    other = ["--labels", str(tmp_path / "none"), "-o", str(tmp_path / "other.json")]
    run = CliRunner().invoke(analyse, [*command, *other])
    assert isinstance(run.exception, DataError)
    assert not (tmp_path / "other.json").exists()
    assert read_report(record) == found
