"""Why a run's figures should not be trusted, in words: what pyperf warns of, and what slows small boards down.

pyperf (github psf/pyperf) warns when the standard deviation reaches 10 % of the mean, when a value is 50 % away from
it, and when there are too few values. Here samples come in rounds, so that drift is told from noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cxrs_bench.latency.intervals import FEWEST_ROUNDS, median_interval
from cxrs_bench.record import Conditions, Round, Run

DEVIATION = 0.10
"""Standard deviation over mean."""
OUTLIER = 0.50
"""How far a sample may be from the mean, as a share of it."""
OUTLIERS = 0.01
"""Share of such samples that is normal on a computer that does other things too."""
WIDTH = 0.10
"""Half width of the median's interval, over the median: with more, 10 % slower can't be told."""
DRIFT = 0.05
"""By how much the medians of rounds may differ, over their median."""
CPU_SHARE = 0.95
"""Of the time that passed, what one thread should have had of a CPU."""
OTHERS = 0.10
"""Of one core, what other programs may take. The load average can't tell: it holds the benchmark's own work."""
CLOCK = 0.05
"""By how much the clock may differ between rounds."""


def find_doubts(rounds: Sequence[Round], *, planned: int, threads: int) -> tuple[str, ...]:
    """A line for each reason; empty: stable.

    `planned` is how many rounds there should be.
    """
    if not rounds:
        return ()
    return (
        *_doubts_of_samples(rounds),
        *_doubts_of_rounds(rounds, planned),
        *_doubts_of_company(rounds, threads),
        *_doubts_of_clock([state for one in rounds for state in (one.before, one.after)]),
    )


def with_doubts(run: Run, *, planned: int) -> Run:
    """The run with its `unstable` filled in."""
    return replace(run, unstable=find_doubts(run.rounds, planned=planned, threads=run.threads))


def _doubts_of_samples(rounds: Sequence[Round]) -> Iterator[str]:
    samples = np.array([sample for one in rounds for sample in one.samples_ms])
    mean = samples.mean()
    deviation = samples.std(ddof=1) / mean if len(samples) > 1 else 0.0
    if deviation >= DEVIATION:
        yield f"standard deviation is {deviation:.0%} of the mean"
    far = np.abs(samples - mean) > OUTLIER * mean
    if far.mean() > OUTLIERS:
        yield f"{far.sum()} of {len(samples)} samples are more than {OUTLIER:.0%} away from the mean"
    unsettled = sum(not one.settled for one in rounds)
    if unsettled:
        yield f"times had not settled when the warm-up of {unsettled} of {len(rounds)} rounds ended"


def _doubts_of_rounds(rounds: Sequence[Round], planned: int) -> Iterator[str]:
    if len(rounds) < planned:
        yield f"{len(rounds)} of {planned} rounds"
    if len(rounds) < FEWEST_ROUNDS:
        yield f"{len(rounds)} rounds: no interval, which takes {FEWEST_ROUNDS}"
        return
    medians = [float(np.median(one.samples_ms)) for one in rounds]
    low, high, middle = min(medians), max(medians), float(np.median(medians))
    if high - low > DRIFT * middle:
        trend = "rising" if medians == sorted(medians) else "up and down"
        yield f"medians of rounds differ by {(high - low) / middle:.0%} ({low:.1f} to {high:.1f} ms), {trend}"
    interval = median_interval([one.samples_ms for one in rounds])
    half = (interval.high - interval.low) / 2
    if half > WIDTH * interval.value:
        yield f"the median is known to {half / interval.value:.0%} only; measure more rounds"


def _doubts_of_company(rounds: Sequence[Round], threads: int) -> Iterator[str]:
    """Signs that other programs had the CPU."""
    wall_ms = max(sum(one.wall_ms for one in rounds), 1e-9)
    others = sum(one.others_cpu_ms or 0 for one in rounds) / wall_ms
    if others > OTHERS:
        yield f"other programs, or the virtual machine's host, took {others:.0%} of a core meanwhile"
    share = sum(one.cpu_ms for one in rounds) / wall_ms
    # Several threads wait for each other, so that less than all of their CPUs is normal.
    if threads == 1 and share < CPU_SHARE:
        yield f"it had a CPU for {share:.0%} of the time only"


def _doubts_of_clock(states: Sequence[Conditions]) -> Iterator[str]:
    clocks = [state.clock_mhz for state in states if state.clock_mhz is not None]
    # Between rounds the clock rests; after them it shows what the work got.
    after = clocks[1::2] if len(clocks) == len(states) else []
    if after and max(after) - min(after) > CLOCK * max(after):
        yield f"the clock differed between rounds: {min(after):.0f} to {max(after):.0f} MHz"
    flags = {flag for state in states for flag in state.throttled or ()}
    now = sorted(flag for flag in flags if not flag.endswith("since start"))
    if now:
        yield f"the board slowed itself down: {', '.join(now)}"
    events = [state.throttle_events for state in states if state.throttle_events is not None]
    if events and max(events) > min(events):
        yield f"cores were slowed down for heat {max(events) - min(events)} times"
