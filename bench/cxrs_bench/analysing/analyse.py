"""Fill the sections of a report that explain its times: the stages, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from cxrs_bench.analysing.accuracy import judge_models
from cxrs_bench.analysing.claims import check_claims
from cxrs_bench.analysing.files import find_files
from cxrs_bench.analysing.operators import profile_runs
from cxrs_bench.analysing.roofline import measure_roofline
from cxrs_bench.complexity import count_file
from cxrs_bench.labelled import LabelledSet
from cxrs_bench.progress import Report as Progress
from cxrs_bench.record import Report

STAGES = ("operators", "roofline", "accuracy")
"""That can be left out; the claims cost nothing and are always there."""


def analyse(
    report: Report,
    folder: Path,
    *,
    stages: Iterable[str] = STAGES,
    labelled: LabelledSet = (),
    data: str = "",
    progress: Progress = lambda *_: None,
    after_stage: Callable[[Report], None] = lambda _: None,
) -> Report:
    """The report with the stages' sections; what other sections held stays.

    Parameters
    ----------
    folder : with the model files that were measured.
    labelled, data : images to judge accuracy on, and what they are in words; without, the stage is left out.
    after_stage : called with the report so far, to save it.
    """
    files = find_files(report, folder)
    costs = {id: count_file(path) for id, path in files.items()}
    for stage in (stage for stage in STAGES if stage in stages):
        found = report.analyses
        if stage == "operators":
            found = replace(found, operators=tuple(profile_runs(report, files, costs, progress)))
        elif stage == "roofline":
            found = replace(found, roofline=measure_roofline(report, costs, progress))
        elif labelled:
            accuracy, pairs = judge_models(report, files, labelled, data, progress)
            found = replace(found, accuracy=accuracy, pairs=pairs)
        report = _with_claims(replace(report, analyses=found))
        after_stage(report)
    return _with_claims(report)


def _with_claims(report: Report) -> Report:
    return replace(report, analyses=replace(report.analyses, claims=check_claims(report)))
