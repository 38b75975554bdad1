"""The report file of `cxrs-edge bench`: raw samples and the facts to judge them by, as versioned JSON.

Everything else (percentiles, verdicts, tables, pictures) is computed from it. Within a schema version keys are only
added; unknown ones are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cxrs_bench.analyses import Analyses
from cxrs_edge.errors import DataError
from cxrs_edge.files import write_atomically

SCHEMA: Literal["cxrs-edge/bench/1"] = "cxrs-edge/bench/1"
MAX_BYTES = 200_000_000

Outcome = Literal["measured", "failed", "unsupported", "interrupted"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Threads = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
Utc = str
"""A moment as ISO 8601 in UTC, for example ``2026-11-25T20:15:00+00:00``."""


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes
    ----------
    rounds : fresh processes for each configuration, interleaved.
    samples, seconds : a round ends after so many timed inferences, or so much time, whichever is first.
    threads, engines : that each model was to run with.
    seed : of the order within each round.
    quick : whether it was the quick mode.
    commands : runs of the whole ``predict`` command for each configuration.
    sustained_minutes : of the sustained run, 0 for none.
    image : what was inferred, in words.
    """

    rounds: Count
    samples: Count
    seconds: float
    threads: tuple[Threads, ...]
    engines: tuple[str, ...]
    seed: int
    quick: bool
    commands: Count
    sustained_minutes: float
    image: str


@dataclass(frozen=True)
class Host:
    """The machine, without names of computers or people. None: the system doesn't say.

    Attributes
    ----------
    board : such as ``Raspberry Pi 5 Model B Rev 1.0``.
    cpu, machine : model name, and architecture as `platform.machine` has it.
    features : of the instruction set, those that matter here, as Linux spells them.
    cores, cpus : physical cores, and logical CPUs, that this process may use.
    virtual : whether it is a virtual machine.
    governor : of the clock, such as ``ondemand``.
    clock_mhz_max : highest clock that the system states.
    packages : version of each engine's package and of numpy, as imported.
    """

    board: str | None
    cpu: str | None
    machine: str
    features: tuple[str, ...]
    cores: Threads
    cpus: Threads
    virtual: bool | None
    governor: str | None
    clock_mhz_max: float | None
    memory_bytes: Count
    system: str
    kernel: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Conditions:
    """State of the machine at one moment; None: the system doesn't say.

    Attributes
    ----------
    load : average of the last minute, processes.
    clock_mhz : mean over the cores.
    temperature_c : of the hottest sensor of the CPU.
    throttled : what slows a Raspberry Pi down now, such as ``under-voltage``; empty: nothing.
    throttle_events : how often x86 cores were slowed down for heat since the machine started.
    """

    load: float | None = None
    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttled: tuple[str, ...] | None = None
    throttle_events: int | None = None


@dataclass(frozen=True)
class Model:
    """A model file.

    Attributes
    ----------
    id : its file name, unique in the report; runs refer to it.
    network : ``cxrs``, ``resnet50``, ``chexnet``, else the card's name.
    name, version, precision : from the card.
    format : ``tflite`` or ``onnx``.
    size, channels : of the input, size x size x channels.
    bytes, sha256 : of the file with its card, and the card's hash of the converter's bytes.
    parameters, macs : kernel weights, and multiply-accumulates for one image, counted on the file.
    trained : False: random weights, so that only its times mean anything.
    """

    id: str
    network: str
    name: str
    version: str
    precision: str
    format: Literal["tflite", "onnx"]
    size: Threads
    channels: Threads
    bytes: Count
    sha256: str
    parameters: Count | None
    macs: Count | None
    trained: bool


@dataclass(frozen=True)
class Round:
    """One fresh process that ran one configuration.

    Attributes
    ----------
    number : from 1; all configurations have a first round before any has a second.
    samples_ms : each timed inference, in order.
    warmup_ms : those before, the first includes what the engine puts off until then.
    settled : whether the warm-up ended because times had settled, not because its time was up.
    load_ms : importing the engine and opening the file in it, until it can infer.
    cpu_ms, wall_ms : CPU time of the process, and time that passed, over all timed inferences.
    others_cpu_ms : CPU time that other processes, or a virtual machine's host, took meanwhile.
    rss_bare_bytes : resident set of the bare interpreter.
    rss_peak_bytes : highest resident set of the process, interpreter included.
    """

    number: Threads
    started: Utc
    samples_ms: tuple[Positive, ...]
    warmup_ms: tuple[Milliseconds, ...]
    settled: bool
    load_ms: Milliseconds
    cpu_ms: Milliseconds
    wall_ms: Milliseconds
    rss_bare_bytes: Count | None
    rss_peak_bytes: Count | None
    others_cpu_ms: Milliseconds | None = None
    before: Conditions = field(default_factory=Conditions)
    after: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True)
class Run:
    """One configuration: a model on an engine with so many threads.

    Attributes
    ----------
    outcome : ``measured``: every round is there; ``failed`` and ``interrupted`` may have some;
        ``unsupported``: the engine isn't installed or doesn't run the file.
    reason : why it isn't ``measured``, in one line.
    threads : asked for; `threads_used` is what the engine took.
    unstable : why its figures should not be trusted, a line each; empty is good.
    """

    model: str
    engine: str
    threads: Threads
    outcome: Outcome
    reason: str | None = None
    engine_version: str | None = None
    threads_used: int | None = None
    rounds: tuple[Round, ...] = ()
    unstable: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """Model id, engine and threads: unique in a report."""
        return self.model, self.engine, self.threads

    @property
    def samples_ms(self) -> tuple[float, ...]:
        """Timed inferences of all rounds."""
        return tuple(chain.from_iterable(one.samples_ms for one in self.rounds))


@dataclass(frozen=True)
class Command:
    """The whole ``cxrs-edge predict`` command on one image, in fresh processes: n values of each.

    Attributes
    ----------
    image : the file, in words.
    wall_ms : from starting the process to its end, by the clock outside.
    start_ms : what is left of it: interpreter, imports, opening the model, printing.
    read_ms, prepare_ms, gate_ms, infer_ms : as the command states them; no `gate_ms` where there is no gate.
    """

    model: str
    engine: str
    threads: Threads
    outcome: Outcome
    image: str
    reason: str | None = None
    wall_ms: tuple[Positive, ...] = ()
    start_ms: tuple[float, ...] = ()
    read_ms: tuple[Milliseconds, ...] = ()
    prepare_ms: tuple[Milliseconds, ...] = ()
    gate_ms: tuple[Milliseconds, ...] = ()
    infer_ms: tuple[Milliseconds, ...] = ()


@dataclass(frozen=True)
class SustainedPoint:
    """One stretch of a sustained run, `seconds` after its start, with the conditions at its end."""

    seconds: float
    inferences: Threads
    median_ms: Positive
    p95_ms: Positive
    conditions: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True)
class Sustained:
    """Inference without a pause for minutes, which shows throttling."""

    model: str
    engine: str
    threads: Threads
    started: Utc
    outcome: Outcome
    reason: str | None = None
    points: tuple[SustainedPoint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of one `cxrs-edge bench run`.

    Attributes
    ----------
    created, finished : when it began and ended; `finished` is None in a file of an unfinished run.
    version : of cxrs-edge.
    analyses : sections that `cxrs-edge bench report` and its stages add.
    """

    schema: Literal["cxrs-edge/bench/1"] = SCHEMA
    created: Utc
    version: str
    settings: Settings
    host: Host
    models: tuple[Model, ...]
    runs: tuple[Run, ...] = ()
    commands: tuple[Command, ...] = ()
    sustained: tuple[Sustained, ...] = ()
    finished: Utc | None = None
    analyses: Analyses = field(default_factory=Analyses)

    def model(self, id: str) -> Model:
        """The model called `id`; every run's is there."""
        return next(model for model in self.models if model.id == id)


def encode_report(report: Report) -> bytes:
    """Indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def write_report(report: Report, path: Path) -> None:
    """Write beside, fsync, rename; raises `DataError` when the file can't be written."""
    try:
        write_atomically(path, encode_report(report))
    except OSError as error:
        raise DataError(f"{path}: can't be written: {error.strerror}; name a file that can") from error


def read_report(path: Path) -> Report:
    """Read a report file; raises `DataError` naming the file and the field that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: can't be read: {reason}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB; expected a report of bench run")
    return decode_report(data, name=str(path))


def decode_report(data: bytes, *, name: str) -> Report:
    """Parse a report's JSON; raises `DataError` as `read_report` does."""
    try:
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{name}: not a report of cxrs-edge bench run ({SCHEMA}): {error}") from error
    _check_references(report, name)
    return report


def _check_references(report: Report, name: str) -> None:
    models = [model.id for model in report.models]
    keys = [run.key for run in report.runs]
    if len(set(models)) < len(models) or len(set(keys)) < len(keys):
        raise DataError(f"{name}: a model or a run is there twice; expected each once")
    entries: tuple[Run | Command | Sustained, ...] = (*report.runs, *report.commands, *report.sustained)
    for entry in entries:
        if entry.model not in models:
            raise DataError(f"{name}: a run of {entry.model!r}, which is not among its models: {models}")
