"""Many clients at once at `cxrs-edge serve`: requests, refusals, errors, latency and memory growth.

    make load                                   # 8 clients for 2 minutes
    python bench/load_serve.py --seconds 20 --places 4

The server is a process of its own, with the bundled model. Each client grades one file after the other: drawn
phantoms of 1 to 6 megapixels as PNG, JPEG and TIFF. A refusal is a 503; the client waits as Retry-After says
and sends the file again, and the latency of its answer counts from the first try. Anything else than a grade or
a refusal is an error, also a grade that differs from the first one of the same file. Memory is the server's
resident set; its growth is the median of the last tenth of the samples minus that of the second tenth, since
the first one warms up.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from PIL import Image

PHANTOM = Path(__file__).parents[1] / "examples" / "phantom.png"
SAMPLES_A_SECOND = 4


@dataclass
class Tally:
    """What all clients have seen."""

    latencies_s: list[float] = field(default_factory=list)
    refusals: int = 0
    errors: list[str] = field(default_factory=list)
    levels: dict[int, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def graded(self, number: int, level2: float, seconds: float) -> None:
        """One grade of file `number`."""
        with self.lock:
            self.latencies_s.append(seconds)
            if self.levels.setdefault(number, level2) != level2:
                self.errors.append(f"file {number}: {level2} after {self.levels[number]}")

    def failed(self, what: str) -> None:
        with self.lock:
            self.errors.append(what)

    def refused(self) -> None:
        with self.lock:
            self.refusals += 1


def draw_files() -> list[bytes]:
    """X-rays as they come: small and large, 8 and 16 bit."""
    phantom = Image.open(PHANTOM).convert("L")
    large = phantom.resize((2500, 2500), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(phantom.resize((2048, 2048)), np.uint16) * 257)
    return [
        PHANTOM.read_bytes(),
        _encode(large, "PNG", compress_level=1),
        _encode(large, "JPEG", quality=92),
        _encode(deep, "TIFF"),
    ]


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@contextmanager
def serving(options: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a free port, stopped in good order at the end."""
    command = [sys.executable, "-m", "cxrs_edge", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r"Open .*:(\d+)/", line)))
        # What it says from now on must not fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, port
        process.terminate()


def run_client(port: int, first: int, files: Sequence[bytes], ended: float, tally: Tally) -> None:
    """Grade one file after the other until the time is over."""
    number = first
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        while time.monotonic() < ended:
            number = (number + 1) % len(files)
            try:
                grade_once(connection, number, files[number], tally)
            except (OSError, http.client.HTTPException) as error:
                tally.failed(repr(error))
                connection.close()


def grade_once(connection: http.client.HTTPConnection, number: int, data: bytes, tally: Tally) -> None:
    """One file, sent again while the server is full."""
    started = time.monotonic()
    while True:
        connection.request("POST", "/api/grade", data)
        response = connection.getresponse()
        body = response.read()
        if response.status != 503:
            break
        tally.refused()
        time.sleep(float(response.headers["Retry-After"]))
    if response.status == 200:
        tally.graded(number, json.loads(body)["probabilities"]["level2"], time.monotonic() - started)
    else:
        tally.failed(f"{response.status} {body[:200]!r}")


def resident_mb(pid: int) -> float:
    """Of a Linux process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def sample_memory(pid: int, ended: float) -> list[float]:
    samples = []
    while time.monotonic() < ended:
        samples.append(resident_mb(pid))
        time.sleep(1 / SAMPLES_A_SECOND)
    return samples


def describe(tally: Tally, samples: Sequence[float], clients: int, seconds: float) -> Iterator[str]:
    """The lines of the report."""
    yield f"{clients} clients, {seconds:.0f} s"
    yield f"requests  {len(tally.latencies_s)} graded, {len(tally.latencies_s) / seconds:.1f} a second"
    yield f"refusals  {tally.refusals} (503 with Retry-After)"
    yield f"errors    {len(tally.errors)}"
    if len(tally.latencies_s) > 1:
        cuts = statistics.quantiles(tally.latencies_s, n=100, method="inclusive")
        yield f"latency   p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s"
    tenth = max(1, len(samples) // 10)
    early, late = statistics.median(samples[tenth : 2 * tenth]), statistics.median(samples[-tenth:])
    grown = f"growth {late - early:+.1f} MB, peak {max(samples):.0f} MB"
    yield f"memory    {early:.0f} MB early, {late:.0f} MB late, {grown}"
    yield from (f"error: {error}" for error in tally.errors[:5])


@click.command(help=__doc__.split("\n\n")[0] if __doc__ else None)
@click.option("--clients", default=8, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=120.0, show_default=True, type=click.FloatRange(5))
@click.option("--places", default=16, show_default=True, help="As of `cxrs-edge serve`.")
@click.option("--engine", default="auto", show_default=True, help="As of `cxrs-edge serve`.")
def main(clients: int, seconds: float, places: int, engine: str) -> None:
    files, tally = draw_files(), Tally()
    with serving(["--places", str(places), "--engine", engine]) as (process, port):
        ended = time.monotonic() + seconds
        threads = [
            threading.Thread(target=run_client, args=(port, first, files, ended, tally))
            for first in range(clients)
        ]
        for thread in threads:
            thread.start()
        samples = sample_memory(process.pid, ended)
        for thread in threads:
            thread.join()
        # The last requests end later.
        took = seconds + time.monotonic() - ended
    click.echo("\n".join(describe(tally, samples, clients, took)))
    if process.returncode:
        click.echo(f"error: the server ended with status {process.returncode}")
    sys.exit(bool(tally.errors or process.returncode))


if __name__ == "__main__":
    main()
