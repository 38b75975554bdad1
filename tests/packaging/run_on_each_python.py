"""Install the wheel with the runtime's extras alone on each supported Python found here, and run tests/edge on it.

    python tests/packaging/run_on_each_python.py [--fast] [VERSION...]

Proves that the runtime needs neither TensorFlow nor the other two packages' dependencies. Interpreters are taken
from the search path and from pyenv; a version that isn't here is named and left out. Every version is tried, whatever
became of the one before it; the exit status is 1 if the tests failed on any, or if no version was found.
`--fast` leaves out property tests and those that wait, which look for faults that no version of Python has alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).parents[2]
NEEDED = ("docs", "tests/edge")
"""What the runtime's tests read of the tree."""
MARKERS, FAST_MARKERS = "not slow", "not slow and not hypothesis"
"""Hypothesis marks its tests itself."""
WAITING = ("tests/edge/test_watch.py", "tests/edge/test_watch_faults.py")


def find_python(version: str) -> str | None:
    """An interpreter of this version that starts, or None."""
    return next((path for path in _candidates(version) if _starts(path)), None)


def _candidates(version: str) -> Iterator[str]:
    # pyenv puts a shim on the path for each version that it has, but only the selected ones start.
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python")))


def _starts(python: str) -> bool:
    return (
        subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
        == 0
    )


def run(*command: str | Path, cwd: str | Path = ROOT) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=cwd)


def check(version: str, python: str, wheel: Path, fast: bool) -> None:
    """A fresh-enough environment with the wheel, two engines and pytest; then the runtime's tests."""
    venv = ROOT / f".venv-py{version}"
    if not (venv / "bin" / "pip").exists():
        run(python, "-m", "venv", venv)
    pip = (venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
    # The tests build tiny models with the onnx package; the runtime itself never imports it.
    run(*pip, f"cxrs-edge[tflite,onnx,dicom,serve] @ {wheel.as_uri()}", "pytest", "hypothesis", "onnx")
    run(*pip, "--force-reinstall", "--no-deps", wheel)
    # -P and the copy outside of the tree: the installed package is tested, not the source folder.
    pytest = (venv / "bin" / "python", "-P", "-m", "pytest", "-q", "--import-mode=importlib")
    with tempfile.TemporaryDirectory() as folder:
        for part in NEEDED:
            shutil.copytree(ROOT / part, Path(folder) / part)
        shutil.copy(ROOT / "tests" / "conftest.py", Path(folder) / "tests")
        options = ["-p", "no:cacheprovider", "-o", "markers=slow", "-m", FAST_MARKERS if fast else MARKERS]
        if fast:
            options += [f"--ignore={file}" for file in WAITING]
        run(*pytest, *options, "tests/edge", cwd=folder)


def outcome(version: str, wheel: Path, fast: bool) -> str:
    """What became of this version: ``passed ...``, ``failed ...`` or ``not on this machine ...``."""
    python = find_python(version)
    if python is None:
        return "not on this machine, left out"
    say(f"Python {version}: {python}")
    started = time.monotonic()
    try:
        check(version, python, wheel, fast)
    except subprocess.CalledProcessError as error:
        return f"failed: {' '.join(error.cmd)}"
    return f"passed in {time.monotonic() - started:.0f} s"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        description="The wheel's runtime alone, tested on each Python found here."
    )
    parser.add_argument("--fast", action="store_true", help="without property tests and those that wait")
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
        (wheel,) = Path(folder).glob("*.whl")
        outcomes = {version: outcome(version, wheel, arguments.fast) for version in arguments.versions}
    for version, what in outcomes.items():
        say(f"Python {version}: {what}")
    passed = [what.startswith("passed") for what in outcomes.values()]
    failed = [what.startswith("failed") for what in outcomes.values()]
    return int(any(failed) or not any(passed))


if __name__ == "__main__":
    sys.exit(main())
