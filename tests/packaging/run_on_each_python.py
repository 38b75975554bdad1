"""Install the wheel with the runtime's extras alone on each supported Python found here, and run tests/edge on it.

Proves that the runtime needs neither TensorFlow nor the other two packages' dependencies. Interpreters are taken
from the search path and from pyenv; a version that isn't here is named and left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).parents[2]


def find_python(version: str) -> str | None:
    """An interpreter of this version that starts, or None."""
    candidates = [f"python{version}"]
    if shutil.which("pyenv"):
        found = subprocess.run(["pyenv", "prefix", version], capture_output=True, text=True, check=False)
        candidates.append(f"{found.stdout.strip()}/bin/python")
    for candidate in candidates:
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def check(version: str, python: str, wheel: Path) -> None:
    """A fresh-enough environment with the wheel, two engines and pytest; then the runtime's tests."""
    venv = ROOT / f".venv-py{version}"
    if not (venv / "bin" / "pip").exists():
        run(python, "-m", "venv", venv)
    pip = (venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
    # The tests build tiny models with the onnx package; the runtime itself never imports it.
    run(*pip, f"cxrs-edge[tflite,onnx] @ {wheel.as_uri()}", "pytest", "hypothesis", "onnx")
    run(*pip, "--force-reinstall", "--no-deps", wheel)
    # -P and the copy outside of the tree: the installed package is tested, not the source folder.
    with tempfile.TemporaryDirectory() as folder:
        tests = Path(folder) / "tests" / "edge"
        shutil.copytree(ROOT / "tests" / "edge", tests)
        shutil.copytree(ROOT / "docs" / "systemd", Path(folder) / "docs" / "systemd")

        subprocess.run(
            [venv / "bin" / "python", "-P", "-m", "pytest", "-q", "--import-mode=importlib", "-p",
             "no:cacheprovider", "-m", "not slow", tests],
            check=True,
            cwd=folder,
        )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder)
        (wheel,) = Path(folder).glob("*.whl")
        for version in VERSIONS:
            python = find_python(version)
            if python is None:
                sys.stdout.write(f"Python {version}: not on this machine, left out\n")
                continue
            sys.stdout.write(f"Python {version}: {python}\n")
            sys.stdout.flush()
            check(version, python, wheel)


if __name__ == "__main__":
    main()
