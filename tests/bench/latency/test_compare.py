"""Slower is called slower, a copy the same, and what can't be compared is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("scipy")
pytest.importorskip("msgspec")

from simulated import EXAMPLE, example, measured_again, scaled, with_runs

from cxrs_bench.latency.compare import compare_reports, unmatched
from cxrs_bench.record import Report, Run, write_report
from cxrs_edge.cli import main
from cxrs_edge.errors import DataError

REPEATS = 20
RECORDED = Path(__file__).parents[3] / "docs" / "bench" / "bench.json"


def recorded_runs() -> list[Run]:
    """Runs to take noise from: the invented ones, and those recorded for the documentation if they are stable."""
    from cxrs_bench.record import read_report

    runs = [run for run in example().runs if len(run.rounds) >= 3][:2]
    if RECORDED.exists():
        calm = [run for run in read_report(RECORDED).runs if len(run.rounds) >= 3 and not run.unstable]
        runs += calm[:: max(1, len(calm) // 4)]
    return runs


def report_of(run: Run) -> Report:
    return replace(example(), runs=(run,))


def verdicts(noise: Run, factor: float) -> list[str]:
    """Of so many pairs of measurements, the second `factor` times as slow."""
    found = []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        first, second = (measured_again(noise, rng, rounds=5, samples=30) for _ in range(2))
        (one,) = compare_reports(report_of(first), report_of(scaled(second, factor)), any_model=True)
        found.append(one.verdict)
    return found


@pytest.mark.parametrize("noise", recorded_runs(), ids=lambda run: f"{run.model}-{run.engine}-{run.threads}")
def test_noise_is_told_from_difference(noise: Run) -> None:
    noise = replace(noise, model="cxrs-int8.onnx")
    assert verdicts(noise, 1.0).count("same within noise") >= 19
    assert verdicts(noise, 1.1).count("slower") >= 19
    assert verdicts(noise, 0.9).count("faster") >= 19


def test_the_very_same_report_is_the_same() -> None:
    comparisons = compare_reports(example(), example())
    assert {one.verdict for one in comparisons} == {"same within noise", "not resolvable"}
    assert all(one.ratio.value == 1.0 for one in comparisons)
    # One round was all that a killed process left.
    assert [one.model for one in comparisons if one.verdict == "not resolvable"] == ["chexnet-float32.onnx"]


def test_a_run_with_the_noise_of_its_rounds_is_not_called_slower() -> None:
    """Samples within a round agree to 0.1 %, rounds differ by 10 %: many samples must not hide that."""
    rng = np.random.default_rng(0)
    run = example().runs[0]

    def noisy() -> Run:
        levels = 30 * (1 + 0.1 * rng.standard_normal(5))
        rounds = tuple(
            replace(run.rounds[0], number=i + 1, samples_ms=tuple(level * rng.normal(1, 0.001, 200)))
            for i, level in enumerate(levels)
        )
        return replace(run, rounds=rounds)

    found = [compare_reports(report_of(noisy()), report_of(noisy()))[0].verdict for _ in range(REPEATS)]
    assert found.count("same within noise") >= 19


def test_two_machines_are_refused() -> None:
    other = replace(example(), host=replace(example().host, cpu="Cortex-A76", cores=4))
    with pytest.raises(DataError, match=r"CPU Example CPU.* and Cortex-A76; cores 2 and 4.*--any-host"):
        compare_reports(example(), other)
    assert len(compare_reports(example(), other, any_host=True)) > 1


def test_more_memory_by_a_hair_is_the_same_machine() -> None:
    host = example().host
    same = replace(example(), host=replace(host, memory_bytes=int(host.memory_bytes * 1.01), kernel="6.12"))
    assert compare_reports(example(), same)
    with pytest.raises(DataError, match=r"memory 16\.0 and 32\.0 GB"):
        compare_reports(example(), replace(example(), host=replace(host, memory_bytes=32 * 10**9)))


def test_other_model_files_are_refused() -> None:
    first, *rest = example().models
    changed = replace(example(), models=(replace(first, sha256="f" * 64), *rest))
    with pytest.raises(DataError, match=r"cxrs-float32\.tflite: two model files .*--any-model"):
        compare_reports(example(), changed)
    (one, *_) = compare_reports(example(), changed, any_model=True)
    assert "another model file" in one.remarks
    resized = replace(example(), models=(replace(first, size=320), *rest))
    with pytest.raises(DataError, match="of 480 pixels and cxrs float32 of 320 pixels"):
        compare_reports(example(), resized, any_model=True)


def test_nothing_in_common() -> None:
    runs = example().runs
    with pytest.raises(DataError, match="measured in both"):
        compare_reports(report_of(runs[0]), report_of(runs[1]))
    assert unmatched(report_of(runs[0]), report_of(runs[1])) == (
        "cxrs-float32.tflite on tflite, threads 1: only in the first report",
        "cxrs-float32.tflite on tflite, threads 2: only in the second report",
    )


def test_versions_and_doubts_are_remarks() -> None:
    newer = with_runs(example(), lambda run: replace(run, engine_version="9.9", unstable=("shaky",)))
    (one, *_) = compare_reports(example(), newer)
    assert one.remarks == ("tflite 2.3.0 and 9.9", "second unstable: shaky")


def compared(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", "compare", *map(str, arguments)])


def test_command(tmp_path: Path) -> None:
    slow = tmp_path / "slow.json"
    write_report(with_runs(example(), lambda run: scaled(run, 1.1)), slow)
    result = compared(EXAMPLE, slow)
    assert result.exit_code == 0
    assert result.stdout.count("slower") > 10
    failed = compared(EXAMPLE, slow, "--fail-if-slower", "5%")
    assert failed.exit_code == 6
    assert "slower than" in failed.stderr
    assert compared(EXAMPLE, slow, "--fail-if-slower", "0.15").exit_code == 0
    assert compared(slow, EXAMPLE, "--fail-if-slower", "5%").exit_code == 0
    assert compared(EXAMPLE, tmp_path / "absent.json").exit_code == 1
    for wrong in ("x", "-1", "nan%"):
        assert compared(EXAMPLE, slow, "--fail-if-slower", wrong).exit_code == 2
