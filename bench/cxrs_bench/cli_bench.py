"""`cxrs-edge bench`: run, compare; analyse and report are in `cxrs_bench.cli_report`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import click

from cxrs_bench.cli_report import analyse, report
from cxrs_bench.progress import progress
from cxrs_bench.record import Report, Settings, read_report, write_report
from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.engines.threads import MAX_THREADS, count_cores
from cxrs_edge.errors import DataError, SlowerError

FILE = click.Path(path_type=Path)
QUICK = {"rounds": 3, "samples": 12, "seconds": 1.5, "commands": 0}
FULL = {"rounds": 5, "samples": 50, "seconds": 10.0, "commands": 3}


@click.group()
def bench() -> None:
    """Measure how long inference takes on this machine, find out why, and compare such measurements."""


bench.add_command(analyse)
bench.add_command(report)


def _parse_threads(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    if value is None:
        return tuple(sorted({1, count_cores()}))
    try:
        counts = tuple(dict.fromkeys(int(count) for count in value.split(",")))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= count <= MAX_THREADS for count in counts):
        raise click.BadParameter(
            f"got {value!r}; expected numbers from 1 to {MAX_THREADS}, for example 1,2", ctx, param
        )
    return counts


@bench.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge bench run --quick\n"
    "  cxrs-edge bench run -o today.json\n"
    "  cxrs-edge bench run --models networks -o pi5.json --engine tflite --threads 1,4 --sustained 10"
)
@click.option(
    "--models",
    "folder",
    type=FILE,
    help="Folder of .tflite and .onnx files, as export --baselines writes it.  [default: the bundled model]",
)
@click.option("-o", "output", type=FILE, help="JSON to write.  [default: bench.json; with --quick none]")
@click.option(
    "--engine",
    "engines",
    type=click.Choice([entry.name for entry in ENGINES]),
    multiple=True,
    help="May be given more than once.  [default: all that are installed]",
)
@click.option(
    "--threads", metavar="N,N", callback=_parse_threads, help="[default: 1 and the number of physical cores]"
)
@click.option("--rounds", type=click.IntRange(1), help="Fresh processes each.  [default: 5, quick 3]")
@click.option("--samples", type=click.IntRange(1), help="Most inferences a round.  [default: 50, quick 12]")
@click.option("--seconds", type=click.FloatRange(0.1), help="Longest round.  [default: 10, quick 1.5]")
@click.option("--quick", is_flag=True, help="Under two minutes, and a recommendation for this machine.")
@click.option(
    "--sustained",
    metavar="MINUTES",
    type=click.FloatRange(0),
    default=0.0,
    help="Then infer without a pause on the fastest configuration: shows throttling.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order of the configurations.")
@click.option("--overwrite", is_flag=True, help="Replace the file that is there.")
def run(
    folder: Path | None,
    output: Path | None,
    engines: tuple[str, ...],
    threads: tuple[int, ...],
    rounds: int | None,
    samples: int | None,
    seconds: float | None,
    quick: bool,
    sustained: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Time each model on each engine and thread count, and say what the figures are worth.

    Each configuration runs in a fresh process a round; rounds are interleaved, so that heat and other programs hit
    all alike. The file is written anew after each step: Ctrl-C keeps what was measured. Close other programs.
    """
    from cxrs_bench.latency.configurations import find_engines, find_models
    from cxrs_bench.latency.images import IMAGE
    from cxrs_bench.latency.recommend import recommend
    from cxrs_bench.latency.run import run_benchmark
    from cxrs_bench.latency.table import render_runs

    preset = QUICK if quick else FULL
    settings = Settings(
        rounds=rounds or int(preset["rounds"]),
        samples=samples or int(preset["samples"]),
        seconds=seconds or preset["seconds"],
        threads=threads,
        engines=find_engines(engines),
        seed=seed,
        quick=quick,
        commands=int(preset["commands"]),
        sustained_minutes=sustained,
        image=IMAGE,
    )
    models = find_models(folder)
    target = output or (None if quick else Path("bench.json"))
    save = _saver(target, overwrite=overwrite)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with progress() as report_progress:
            report = run_benchmark(models, settings, progress=report_progress, save=save)
    except KeyboardInterrupt:
        if target is not None:
            click.echo(f"{target}: holds what was measured", err=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(render_runs(report))
    click.echo(f"\n{recommend(report)}")
    if target is not None:
        click.echo(f"\n{target}: written; see also: cxrs-edge bench compare")


def _saver(target: Path | None, *, overwrite: bool) -> Callable[[Report], None]:
    if target is None:
        return lambda _: None
    if target.exists() and not overwrite:
        raise DataError(f"{target}: is there already; name another file with -o, or say --overwrite")
    return lambda report: write_report(report, target)


def _parse_share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A share, written ``5%`` or ``0.05``."""
    if value is None:
        return None
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise click.BadParameter(f"got {value!r}; expected a share, for example 5% or 0.05", ctx, param)
    return share


@bench.command(
    epilog="\b\nExamples:\n"
    "  cxrs-edge bench compare before.json after.json\n"
    "  cxrs-edge bench compare main.json branch.json --fail-if-slower 5%"
)
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--fail-if-slower",
    "limit",
    metavar="SHARE",
    callback=_parse_share,
    help=f"Exit status {SlowerError.exit_status} if any configuration is slower beyond noise, by more than this.",
)
@click.option("--any-host", is_flag=True, help="Compare reports of two machines all the same.")
@click.option("--any-model", is_flag=True, help="Compare other model files of the same name all the same.")
def compare(old: Path, new: Path, limit: float | None, any_host: bool, any_model: bool) -> None:
    """Say for each configuration in both reports whether NEW is faster or slower than OLD.

    The interval is a bootstrap of the ratio of medians that draws rounds, then samples within them. What lies within
    it is "same within noise". Times of two runs also differ by what the machine did meanwhile: measure both on an
    idle machine, one right after the other.
    """
    from cxrs_bench.latency.compare import compare_reports, unmatched
    from cxrs_bench.latency.table import render_comparisons

    first, second = read_report(old), read_report(new)
    comparisons = compare_reports(first, second, any_host=any_host, any_model=any_model)
    click.echo(render_comparisons(comparisons))
    for line in unmatched(first, second):
        click.echo(line)
    slower = [one for one in comparisons if limit is not None and one.slower_than(limit)]
    if limit is not None and slower:
        names = "; ".join(f"{one.model} on {one.engine}, threads {one.threads}" for one in slower)
        raise SlowerError(f"{new}: slower than {old} by more than {limit:.1%}: {names}")
