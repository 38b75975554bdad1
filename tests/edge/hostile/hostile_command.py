"""The real command in a process that may not take much memory."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PREDICT = ["-m", "cxrs_edge", "predict", "--threads", "1", "--format", "json"]
MEMORY = 1_000_000_000
"""Bytes that the process may allocate; an engine and its threads reserve about half of it."""
WITHOUT_THE_POWERS_OF_ROOT = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if os.geteuid() == 0
    else []
)
"""Root reads whatever it likes; without these two powers it is bound by the permissions like everybody else."""

needs_setpriv = pytest.mark.skipif(
    bool(WITHOUT_THE_POWERS_OF_ROOT) and shutil.which("setpriv") is None,
    reason="root, and no setpriv to be less",
)


def forbidden(path: Path, *, folder: bool = False) -> Path:
    path.mkdir() if folder else path.touch()
    path.chmod(0)
    return path


def predict(
    model: Path,
    *paths: Path | str | bytes,
    engine: str = "onnx",
    before: Sequence[str] = (),
    style: str = "json",
) -> subprocess.CompletedProcess[str]:
    command = [
        *before,
        sys.executable,
        *PREDICT,
        "--engine",
        engine,
        "--format",
        style,
        "--model",
        model,
        *paths,
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    )
