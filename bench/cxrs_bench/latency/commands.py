"""What a user waits for: the whole `cxrs-edge predict` command on one image, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from cxrs_bench.latency.configurations import Configuration
from cxrs_bench.latency.images import IMAGE
from cxrs_bench.record import Command

LONGEST_SECONDS = 600


def measure_command(command: Command | None, one: Configuration, image: Path) -> Command:
    """The command with one more run, or ``failed`` with the reason; earlier runs stay."""
    if command is None:
        command = Command(one.file.path.name, one.engine, one.threads, outcome="measured", image=IMAGE)
    arguments = [sys.executable, "-m", "cxrs_edge", "predict", str(image), "--format", "json"]
    arguments += ["--model", str(one.file.path), "--engine", one.engine, "--threads", str(one.threads)]
    started = perf_counter()
    try:
        done = subprocess.run(
            arguments, capture_output=True, stdin=subprocess.DEVNULL, timeout=LONGEST_SECONDS, check=True
        )
        wall_ms = (perf_counter() - started) * 1000
        answer = json.loads(done.stdout)
        if not answer["probabilities"]:
            return replace(command, outcome="failed", reason=f"not inferred: {'; '.join(answer['notes'])}")
        return _with_times(command, wall_ms, answer["timing_ms"])
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
        return replace(command, outcome="failed", reason=f"status {error.returncode}: {said[-1]}")
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return replace(command, outcome="failed", reason=f"{type(error).__name__}: {error}")


def _with_times(command: Command, wall_ms: float, timing_ms: dict[str, Any]) -> Command:
    stops = {stop: float(ms) for stop, ms in timing_ms.items()}
    return replace(
        command,
        wall_ms=(*command.wall_ms, round(wall_ms, 3)),
        start_ms=(*command.start_ms, round(wall_ms - sum(stops.values()), 3)),
        read_ms=(*command.read_ms, stops["read"]),
        prepare_ms=(*command.prepare_ms, stops["prepare"]),
        gate_ms=(*command.gate_ms, *([stops["gate"]] if "gate" in stops else [])),
        infer_ms=(*command.infer_ms, stops["infer"]),
    )
