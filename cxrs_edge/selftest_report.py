"""The self-test's checks -> text, JSON, and the error that names what is wrong. Nothing here prints."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from cxrs_edge.errors import SelftestError
from cxrs_edge.golden import Golden
from cxrs_edge.render import printable
from cxrs_edge.selftest import EngineCheck, PreparationCheck

SCHEMA = "cxrs-edge/selftest/1"


def to_json(golden: Golden, preparation: PreparationCheck, checks: Iterable[EngineCheck]) -> dict[str, Any]:
    """The contract ``cxrs-edge/selftest/1``."""
    checks = list(checks)
    return {
        "schema": SCHEMA,
        "ok": preparation.ok and all(check.ok for check in checks),
        "tolerance": golden.tolerance,
        "machine": {
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "models": dict(golden.sha256),
        "preparation": {**asdict(preparation), "ok": preparation.ok},
        "engines": [_engine_to_json(golden, check) for check in checks],
    }


def _engine_to_json(golden: Golden, check: EngineCheck) -> dict[str, Any]:
    released = golden.packages.get(check.package)
    return {
        **asdict(check.engine),
        "ok": check.ok,
        "package": check.package,
        "released_version": released and released.version,
        "model": check.model,
        "flips": check.flips,
        "largest_difference": check.largest_difference,
        "infer_ms": check.infer_ms,
        "answers": [asdict(answer) for answer in check.answers],
        "error": check.error and {"kind": check.error.kind, "message": str(check.error)},
    }


def render_preparation(check: PreparationCheck) -> str:
    """The image library's line for a person."""
    head = f"{_mark(check.ok)}  reading and resizing, Pillow {check.pillow}"
    if check.different == 0:
        return f"{head}: all {check.images} images as released, to the last bit"
    return (
        f"{head}: {check.different} of {check.images} images differ, by at most "
        f"{check.largest_difference} of 255 gray levels"
    )


def render_engine(check: EngineCheck) -> str:
    """One engine's line for a person."""
    engine = check.engine
    head = f"{_mark(check.ok)}  {engine.name} {engine.version}"
    if check.error:
        return printable(f"{head}: {check.error}")
    threads = f"{engine.threads} thread{'s' if engine.threads > 1 else ''}"
    return printable(
        f"{head}, {threads}, {check.model}: {check.flips} of {len(check.answers)} levels flip, largest "
        f"difference {check.largest_difference:.4f}, {check.infer_ms:.1f} ms"
    )


def require_ok(golden: Golden, preparation: PreparationCheck, checks: Iterable[EngineCheck]) -> None:
    """Raise `SelftestError` naming everything that isn't as released."""
    faults = [_engine_fault(golden, check) for check in checks if not check.ok]
    if faults:
        faults.append("grade with an engine that is ok: --engine NAME")
    if not preparation.ok:
        faults.append(f"{_preparation_fault(preparation)}; install another version of Pillow")
    if faults:
        raise SelftestError("; ".join(faults))


def _preparation_fault(check: PreparationCheck) -> str:
    return (
        f"Pillow {check.pillow} resizes otherwise: a pixel differs by {check.largest_difference} of 255 gray "
        "levels, expected at most 1"
    )


def _engine_fault(golden: Golden, check: EngineCheck) -> str:
    engine = f"{check.engine.name} {check.engine.version} on {check.model}"
    if check.error:
        return f"{engine}: {check.error}"
    released = golden.packages[check.package].version
    return (
        f"{engine}: {check.flips} of {len(check.answers)} levels flip, a probability differs by "
        f"{check.largest_difference:.4f} from {check.package} {released} at the release, expected at most "
        f"{check.tolerance:g}"
    )


def _mark(ok: bool) -> str:
    return "ok    " if ok else "NOT OK"
