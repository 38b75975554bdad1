"""`make test-arm64`: real aarch64 wheels in an arm64 Debian, installed and run without a network.

For each engine: make an offline bundle, install it here and in the arm64 root, grade the same images on both and
compare. Writes docs/arm64.json and prints its table. Exit status 1 if a level flips or a probability differs by
too much.

CXRS_ARM64_ROOT is the folder that holds the arm64 Debians (~/.cache/cxrs-edge if not set); they are made once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "offline"))

from arm64_compare import LIMIT, compare, read_grades, table
from arm64_images import copy_real_images, draw_phantoms
from arm64_sites import Cpu, Site, SiteError, arm64_site, footprint_mb, this_computer
from make_bundle import BundleError, Target, build_wheel, make_bundle

from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.files import write_atomically

ROOT = Path(__file__).parents[2]
SCHEMA = "cxrs-edge/arm64/1"
MAKE_ROOT = Path(__file__).with_name("make_root.sh")
RESULT = ROOT / "docs" / "arm64.json"
COMMAND = "venv/bin/cxrs-edge"
LAST_PYTHON_OF_TFLITE_RUNTIME = "3.11"


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


@contextmanager
def workspace(site: Site) -> Iterator[Path]:
    """A folder on the site, gone afterwards: real X-rays pass through it."""
    with tempfile.TemporaryDirectory(dir=site.root / "tmp" if site.root else None) as folder:
        yield Path(folder)


def prove(site: Site, install: Install, wheel: Path, real_images: int) -> dict[str, Any]:
    """Bundle, install and grade on one site; JSON-ready."""
    say(f"{site.name}: {install.name}")
    with workspace(site) as folder:
        target = Target(site.machine, site.python)
        archive = make_bundle(folder, wheel, target, install.extras, install.further)
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        bundle = folder / "unpacked" / archive.name.removesuffix(".tar.gz")
        site.run(bundle, "sh", "install.sh", "../../venv")
        images = folder / "images"
        images.mkdir()
        draw_phantoms(images)
        copy_real_images(images, real_images)
        info = json.loads(site.run(folder, COMMAND, "info", "--format", "json"))
        sizes = footprint_mb(folder / "venv")
        return {
            "machine": site.machine,
            "python": site.python,
            "install": install.name,
            "engine": next(engine for engine in info["engines"] if engine["name"] == install.engine),
            "bundle_mb": round(archive.stat().st_size / 1e6, 1),
            "footprint_mb": {"total": round(sum(sizes.values()), 1), "packages": sizes},
            "grades": {
                cpu.name if cpu else site.machine: grade_images(site, install, folder, cpu)
                for cpu in site.cpus or (None,)
            },
        }


def grade_images(site: Site, install: Install, folder: Path, cpu: Cpu | None) -> dict[str, Any]:
    """What the installation in `folder` answers for the images there."""
    say(f"  grading on {cpu.name if cpu else site.machine}")
    arguments = ("predict", "--format", "json", "--engine", install.engine, "images")
    return read_grades(site.run(folder, COMMAND, *arguments, cpu=cpu))


def compare_all(runs: Sequence[dict[str, Any]], engine_of: dict[str, str]) -> list[dict[str, Any]]:
    """Every CPU of each run against the standard installation of its engine here; the first run is one of here."""
    here = (runs[0]["machine"], runs[0]["python"])
    standard = {run["install"]: run for run in runs if (run["machine"], run["python"]) == here}
    compared = []
    for run in runs:
        expected = standard[engine_of[run["install"]]]
        (expected_grades,) = expected["grades"].values()
        for cpu, grades in run["grades"].items():
            if run is not expected:
                comparison = compare(expected_grades, grades)
                compared.append(
                    {"cpu": cpu, **{key: run[key] for key in ("python", "install")}, "against": expected["install"],
                     **asdict(comparison), "failures": comparison.failures()}
                )  # fmt: skip
    return compared


def render(result: dict[str, Any]) -> str:
    """Two tables for a person: what was installed, what differs."""
    installed = [
        (run["machine"], run["python"], run["install"], run["engine"]["version"],
         run["footprint_mb"]["total"], run["bundle_mb"])
        for run in result["runs"]
    ]  # fmt: skip
    differences = [
        (one["cpu"], one["python"], one["install"], one["against"], one["images"], len(one["flips"]),
         f"{one['largest_difference']:.5f}")
        for one in result["comparisons"]
    ]  # fmt: skip
    return (
        table([("machine", "Python", "install", "version", "installed MB", "bundle MB"), *installed])
        + f"\nAgainst {result['runs'][0]['machine']}, Python {result['runs'][0]['python']}:\n"
        + table(
            [("CPU", "Python", "install", "against", "images", "flips", "largest difference"), *differences]
        )
    )


def make_root(release: str) -> Site:
    """The arm64 Debian of a release, made when it is not there."""
    holder = Path(os.environ.get("CXRS_ARM64_ROOT", Path.home() / ".cache" / "cxrs-edge"))
    root = holder.resolve() / f"arm64-{release}"
    if root.is_relative_to(ROOT):
        raise SiteError(f"CXRS_ARM64_ROOT: {root} is in the working copy; name a folder outside of it")
    subprocess.run(["sh", MAKE_ROOT, release, root], check=True)
    return arm64_site(root)


def say(line: str) -> None:
    """Tell a person at once."""
    sys.stderr.write(f"{line}\n")


def parse_arguments() -> argparse.Namespace:
    """See ``--help``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--release", metavar="NAME", nargs="+", default=["bookworm"], help="of Debian")
    parser.add_argument("--real-images", type=int, default=4, help="how many, if the labelled set is there")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def main() -> int:
    """Prove, compare, record; 0 if everything agrees."""
    options = parse_arguments()
    try:
        sites = (this_computer(), *map(make_root, options.release))
        plan = [(site, install) for site in sites for install in installs_for(site.python)]
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_wheel(Path(folder))
            runs = [prove(site, install, wheel, options.real_images) for site, install in plan]
        comparisons = compare_all(runs, {install.name: install.engine for _, install in plan})
    except (BundleError, SiteError, ValueError) as error:
        say(f"Error: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # It has said why.
    result = {"schema": SCHEMA, "limit": LIMIT, "runs": runs, "comparisons": comparisons}
    write_atomically(options.output, f"{json.dumps(result, indent=1)}\n".encode())
    sys.stdout.write(render(result))
    failures = [failure for one in comparisons for failure in one["failures"]]
    sys.stdout.write("".join(f"FAILED {failure}\n" for failure in failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
