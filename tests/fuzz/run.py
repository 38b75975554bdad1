"""`make fuzz`: coverage-guided fuzzing of everything that parses, by atheris (libFuzzer).

    python tests/fuzz/run.py --seconds 300            # every target, 300 s each
    python tests/fuzz/run.py --target tiff --seconds 60

What it learns stays in build/fuzz/TARGET and is where the next run goes on from. An input that breaks a promise
is saved as build/fuzz/findings/TARGET-...; fix the code, then keep the input in tests/fuzz/regressions/TARGET, which
the default tests replay. Exit status 1 if there was one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "fuzz"
INSTRUMENTED = ["cxrs_edge", "PIL", "zipfile", "json"]
SECONDS_FOR_ONE = 20
MEMORY_MB = 1500
LONGEST = {"png": 8192, "jpeg": 16384, "tiff": 32768, "bmp": 32768, "card": 4096, "model": 4096}
EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)|Done (\d+) runs")


@click.command()
@click.option("--seconds", default=60, show_default=True, help="For each target.")
@click.option("--target", "only", type=click.Choice(list(LONGEST)), multiple=True, help="By default all.")
def main(seconds: int, only: tuple[str, ...]) -> None:
    """Fuzz each target in a process of its own."""
    failed = False
    for target in only or LONGEST:
        executions, findings = fuzz(target, seconds)
        click.echo(f"{target}: {executions} executions in {seconds} s, findings: {len(findings)}")
        for finding in findings:
            click.echo(f"  {finding.relative_to(ROOT)}")
        failed |= bool(findings)
    sys.exit(failed)


def fuzz(target: str, seconds: int) -> tuple[int, list[Path]]:
    """Executions, and the findings of this run."""
    corpus, findings = FOLDER / target, FOLDER / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS_FOR_ONE}", f"-rss_limit_mb={MEMORY_MB}"]
    where = [f"-artifact_prefix={findings}/{target}-", f"-max_len={LONGEST[target]}", str(corpus)]
    command = [sys.executable, __file__, "--child", target, "-print_final_stats=1", *limits, *where]
    log = FOLDER / f"{target}.log"
    with log.open("wb") as output:
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    counts = [int(a or b) for a, b in EXECUTIONS.findall(log.read_text(errors="replace"))]
    if not counts:
        raise click.ClickException(f"{target}: the fuzzer did not run; see {log}")
    return max(counts), sorted(set(findings.iterdir()) - before)


def run_child(target: str, options: list[str]) -> None:
    """Become libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz_seeds import make_seeds
        from fuzz_targets import TARGETS
    for name, data in make_seeds()[target].items():
        (Path(options[-1]) / f"seed-{name.replace(' ', '-')}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[3:])
    else:
        main()
