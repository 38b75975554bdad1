"""`bench run`: every configuration in a fresh process a round, rounds interleaved, the report kept up to date."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cxrs_bench.latency.commands import measure_command
from cxrs_bench.latency.configurations import (
    Configuration,
    configure,
    describe_model,
    missing,
)
from cxrs_bench.latency.host import read_host
from cxrs_bench.latency.images import write_image, write_pixels
from cxrs_bench.latency.measure import measure_round
from cxrs_bench.latency.stability import with_doubts
from cxrs_bench.latency.sustained import fastest, measure_sustained
from cxrs_bench.record import Command, Report, Run, Settings
from cxrs_edge.errors import EngineError
from cxrs_edge.model_file import ModelFile
from cxrs_edge.version import __version__

Key = tuple[str, str, int]
OnProgress = Callable[[str, int, int], None]
"""Told what is done now, steps done, and steps in all."""
OnReport = Callable[[Report], None]
"""Told the report as it is, after each step."""
UNFINISHED = "the run ended before its last round"


@dataclass
class _State:
    """The report while it grows."""

    report: Report
    runs: dict[Key, Run]
    save: OnReport

    def keep(self, run: Run) -> None:
        """Put a run in its place and save."""
        self.runs[run.model, run.engine, run.threads] = run
        self.change(runs=tuple(self.runs.values()))

    def change(self, **values: object) -> None:
        """Replace fields of the report and save."""
        self.report = replace(self.report, **values)  # type: ignore[arg-type]
        self.save(self.report)


def run_benchmark(
    models: Sequence[ModelFile], settings: Settings, *, progress: OnProgress, save: OnReport
) -> Report:
    """Measure every model on every engine with every thread count.

    `save` gets a whole report after each step, so that nothing measured is ever lost: what isn't measured yet is
    ``interrupted`` in it. Raises `EngineError` when not a single inference could be measured.
    """
    todo = configure(models, settings.engines, settings.threads)
    if not todo:
        raise EngineError(
            f"engine {', '.join(settings.engines)}: runs none of the models; name another --engine"
        )
    report = Report(
        created=_now(),
        version=__version__,
        settings=settings,
        host=read_host(),
        models=tuple(describe_model(file) for file in models),
    )
    state = _State(report, {one.key: _waiting(one) for one in todo}, save)
    possible = _without_missing(state, todo)
    with tempfile.TemporaryDirectory(prefix="cxrs-bench-") as folder:
        _measure_rounds(state, possible, Path(folder), progress)
        _measure_commands(state, possible, Path(folder), progress)
        _measure_sustained(state, possible, Path(folder), progress)
    if not any(run.rounds for run in state.runs.values()):
        reasons = dict.fromkeys(f"{run.model} on {run.engine}: {run.reason}" for run in state.runs.values())
        raise EngineError(f"nothing could be measured: {'; '.join(reasons)}")
    state.change(finished=_now())
    return state.report


def _waiting(one: Configuration) -> Run:
    return Run(one.file.path.name, one.engine, one.threads, outcome="interrupted", reason=UNFINISHED)


def _without_missing(state: _State, todo: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """The configurations whose engine is installed; the others are unsupported."""
    reasons = dict(missing(state.report.settings.engines))
    for one in todo:
        if one.engine in reasons:
            state.keep(replace(_waiting(one), outcome="unsupported", reason=reasons[one.engine]))
    return tuple(one for one in todo if one.engine not in reasons)


def interleaved(
    configurations: Sequence[Configuration], rounds: int, seed: int
) -> Iterator[tuple[int, Configuration]]:
    """Every configuration once a round, in an order shuffled anew, so that drift hits all alike."""
    rng = random.Random(seed)
    for number in range(1, rounds + 1):
        order = list(configurations)
        rng.shuffle(order)
        for one in order:
            yield number, one


def _measure_rounds(state: _State, todo: Sequence[Configuration], folder: Path, progress: OnProgress) -> None:
    settings = state.report.settings
    pixels = {one.file.card.input: write_pixels(one.file.card.input, folder) for one in todo}
    total = settings.rounds * len(todo)
    for step, (number, one) in enumerate(interleaved(todo, settings.rounds, settings.seed)):
        progress(f"round {number} of {settings.rounds}: {one.label}", step, total)
        run = state.runs[one.key]
        # What crashed once crashes again; its earlier rounds are kept.
        if run.outcome not in ("failed", "unsupported"):
            run = measure_round(run, one, number, settings, pixels[one.file.card.input])
            state.keep(with_doubts(run, planned=settings.rounds))
    progress("measured", total, total)


def _measure_commands(
    state: _State, todo: Sequence[Configuration], folder: Path, progress: OnProgress
) -> None:
    """The whole command of every configuration that infers, interleaved too."""
    repeats = state.report.settings.commands
    able = [one for one in todo if state.runs[one.key].rounds] if repeats else []
    commands: dict[Key, Command] = {}
    image = write_image(folder) if able else folder
    for step, (number, one) in enumerate(interleaved(able, repeats, state.report.settings.seed)):
        progress(f"whole command {number} of {repeats}: {one.label}", step, repeats * len(able))
        commands[one.key] = measure_command(commands.get(one.key), one, image)
        state.change(commands=tuple(commands.values()))


def _measure_sustained(
    state: _State, todo: Sequence[Configuration], folder: Path, progress: OnProgress
) -> None:
    """The fastest configuration without a pause."""
    settings = state.report.settings
    chosen = fastest(state.report.runs) if settings.sustained_minutes else None
    for one in todo:
        if chosen is not None and one.key == chosen.key:
            pixels = write_pixels(one.file.card.input, folder)
            for sustained in measure_sustained(one, settings, pixels):
                done = int(sustained.points[-1].seconds) if sustained.points else 0
                progress(f"sustained: {one.label}", done, int(60 * settings.sustained_minutes))
                state.change(sustained=(sustained,))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
