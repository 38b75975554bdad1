"""One way to install, on one computer: bundle, install without a network, self-test, grade. -> JSON-ready answers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arm64_compare import read_grades
from arm64_sites import Cpu, Site, footprint_mb
from make_bundle import Target, make_bundle

from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.files import write_atomically

COMMAND = "venv/bin/cxrs-edge"
LAST_PYTHON_OF_TFLITE_RUNTIME = "3.11"
NOT_AS_RELEASED = 4
"""Exit status of `cxrs-edge selftest` when an answer differs."""
ONE_THREAD = ("--threads", "1")
"""Answers don't depend on it, and emulated threads mostly wait for each other."""


@dataclass(frozen=True)
class Install:
    """One way to install: bundle these extras and further requirements, run with `engine`."""

    name: str
    engine: str
    extras: tuple[str, ...]
    further: tuple[str, ...] = ()


def installs_for(python: str) -> tuple[Install, ...]:
    """Every engine, and the older package that 32 bit ARM has where this Python has it."""
    engines = tuple(Install(entry.name, entry.name, (entry.extra,)) for entry in ENGINES)
    older = Install("tflite-runtime", "tflite", (), ("tflite-runtime>=2.14", "numpy<2"))
    return (*engines, older) if python == LAST_PYTHON_OF_TFLITE_RUNTIME else engines


@dataclass(frozen=True)
class Proof:
    """What to prove on one computer; `run` does it, or remembers that it was done.

    Attributes
    ----------
    wheel : of cxrs-edge.
    images : folder of the X-rays to grade.
    memory : folder of earlier answers; one is taken again if wheels, images, Python and CPUs are the same.
    """

    site: Site
    install: Install
    wheel: Path
    images: Path
    memory: Path

    def run(self) -> dict[str, Any]:
        """Bundle, install, self-test and grade; JSON-ready."""
        with _workspace(self.site) as folder:
            archive = make_bundle(
                folder, self.wheel, Target(self.site.machine, self.site.python),
                self.install.extras, self.install.further,
            )  # fmt: skip
            with tarfile.open(archive) as tar:
                tar.extractall(folder / "unpacked", filter="data")
            bundle = folder / "unpacked" / archive.name.removesuffix(".tar.gz")
            remembered = self.memory / f"{self._key(bundle)}.json"
            if not remembered.exists():
                _say(f"{self.site.name}: {self.install.name}: installing")
                self.site.run(bundle, "sh", "install.sh", "../../venv")
                answers = self._answers(folder, round(archive.stat().st_size / 1e6, 1))
                self.memory.mkdir(parents=True, exist_ok=True)
                write_atomically(remembered, json.dumps(answers).encode())
            answers = json.loads(remembered.read_bytes())
        _say(f"{self.site.name}: {self.install.name}: done")
        return dict(answers)

    def _key(self, bundle: Path) -> str:
        """Digest of all that the answers depend on."""
        parts = [
            (bundle / "SHA256SUMS").read_text(),
            self.site.name,
            repr(self.site.cpus),
            repr(self.install),
        ]
        parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.images.iterdir())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _answers(self, folder: Path, bundle_mb: float) -> dict[str, Any]:
        info = json.loads(self.site.run(folder, COMMAND, "info", "--format", "json"))
        sizes = footprint_mb(folder / "venv")
        # Side by side, because emulated commands compute with one thread.
        with ThreadPoolExecutor() as pool:
            selftests = {cpu: pool.submit(self._selftest, folder, cpu) for cpu in self.site.cpus or (None,)}
            grades = [pool.submit(self._grades, folder, part) for part in self._copy_images(folder)]
        return {
            "machine": self.site.machine,
            "python": self.site.python,
            "install": self.install.name,
            "engine": next(engine for engine in info["engines"] if engine["name"] == self.install.engine),
            "bundle_mb": bundle_mb,
            "footprint_mb": {"total": round(sum(sizes.values()), 1), "packages": sizes},
            "selftest": {
                cpu.name if cpu else self.site.machine: test.result() for cpu, test in selftests.items()
            },
            "grades": dict(sorted(grade for part in grades for grade in part.result().items())),
        }

    def _selftest(self, folder: Path, cpu: Cpu | None) -> dict[str, Any]:
        """What the installation says of itself on one CPU."""
        _say(f"  self-test on {cpu.name if cpu else self.site.machine}")
        command = (COMMAND, "selftest", "--format", "json", "--engine", self.install.engine, *ONE_THREAD)
        said = json.loads(self.site.run(folder, *command, cpu=cpu, statuses=(0, NOT_AS_RELEASED)))
        (engine,) = said["engines"]
        return {
            "preparation": {
                key: said["preparation"][key] for key in ("ok", "different", "largest_difference")
            },
            **{key: engine[key] for key in ("ok", "flips", "largest_difference", "error")},
            "images": len(engine["answers"]),
            "tolerance": said["tolerance"],
        }

    def _copy_images(self, folder: Path) -> list[list[str]]:
        """Bring the images to the site; their names there, in as many parts as this computer has processors."""
        shutil.copytree(self.images, folder / "images")
        names = sorted(f"images/{path.name}" for path in self.images.iterdir())
        parts = os.cpu_count() or 1
        return [names[part::parts] for part in range(parts) if names[part::parts]]

    def _grades(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """What the installation answers for these images, on the site's first CPU."""
        _say(f"  grading {len(names)} images")
        command = (
            COMMAND,
            "predict",
            "--format",
            "json",
            "--engine",
            self.install.engine,
            *ONE_THREAD,
            *names,
        )
        return read_grades(self.site.run(folder, *command, statuses=(0, 1)))


@contextmanager
def _workspace(site: Site) -> Iterator[Path]:
    """A folder on the site, gone afterwards: real X-rays pass through it."""
    with tempfile.TemporaryDirectory(dir=site.root / "tmp" if site.root else None) as folder:
        yield Path(folder)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
