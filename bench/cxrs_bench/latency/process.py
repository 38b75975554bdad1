"""Start a measuring process, read its answers, and tell how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from threading import Timer
from typing import IO, Any

from cxrs_bench.latency.child import ChildRequest
from cxrs_edge.errors import CxrsError

CHILD = (sys.executable, "-m", "cxrs_bench.latency.child")
LONGEST_SECONDS = 1800
"""That a process may take beyond what was asked for; then it hangs."""


class ChildError(CxrsError):
    """A measuring process that gave no answer, with the reason.

    `unsupported` says that the engine isn't installed.
    """

    kind = "engine"

    def __init__(self, reason: str, *, unsupported: bool = False) -> None:
        super().__init__(reason)
        self.unsupported = unsupported


def run_child(request: ChildRequest, command: tuple[str, ...] = CHILD) -> Iterator[dict[str, Any]]:
    """Answers as they come; raises `ChildError` when the process fails, dies or hangs.

    Leaving the iterator early, as Ctrl-C does, ends the process.
    """
    with tempfile.TemporaryFile() as errors:
        # In a session of its own, Ctrl-C reaches only this process, which then ends the other.
        process = subprocess.Popen(
            [*command, json.dumps(asdict(request))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        timer = Timer(LONGEST_SECONDS + request.seconds + request.sustained_seconds, process.kill)
        timer.start()
        try:
            yield from _read_answers(process)
            process.wait()
        finally:
            hung = not timer.is_alive()
            timer.cancel()
            process.kill()
            process.wait()
        if process.returncode:
            raise ChildError(_end(process.returncode, errors, hung=hung))


def _read_answers(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise ChildError(answer["error"], unsupported=answer["kind"] == "dependency")
            yield answer


def _end(status: int, errors: IO[bytes], *, hung: bool) -> str:
    if hung:
        return f"its process gave no answer within {LONGEST_SECONDS // 60} minutes"
    if status < 0:
        name = signal.Signals(-status).name
        cause = ", which Linux also sends when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{cause}"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")
    return f"its process ended with status {status}: {last}"
