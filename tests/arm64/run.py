"""`make test-arm64`: real aarch64 wheels in an arm64 Debian, installed and run without a network.

For each engine: make an offline bundle, install it here and in the arm64 root, let both test themselves and grade
the same images, and compare. Writes docs/arm64.json and prints its tables. Exit status 1 if an engine can't be
installed or run, if a level flips, or if a probability differs by more than the limit.

CXRS_ARM64_ROOT is the folder that holds the arm64 Debians and what was proven before (~/.cache/cxrs-edge if not
set): the Debians are made once, and a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "offline"))

from arm64_compare import compare_all, failures, render
from arm64_images import copy_real_images, draw_phantoms
from arm64_proof import Install, Proof, installs_for
from arm64_sites import CPUS_OF_RELEASE, Site, SiteError, arm64_site, end_when_told, this_computer
from make_bundle import BundleError, build_wheel

from cxrs_edge.engines.registry import ENGINES
from cxrs_edge.files import write_atomically

ROOT = Path(__file__).parents[2]
SCHEMA = "cxrs-edge/arm64/1"
MAKE_ROOT = Path(__file__).with_name("make_root.sh")
RESULT = ROOT / "docs" / "arm64.json"
INSTALLS = (*(entry.name for entry in ENGINES), "tflite-runtime")


def holder() -> Path:
    """Where the arm64 Debians are; raises `SiteError` if that is in the working copy."""
    folder = Path(os.environ.get("CXRS_ARM64_ROOT", Path.home() / ".cache" / "cxrs-edge")).resolve()
    if folder.is_relative_to(ROOT):
        raise SiteError(f"CXRS_ARM64_ROOT: {folder} is in the working copy; name a folder outside of it")
    return folder


def make_root(release: str) -> Site:
    """The arm64 Debian of a release, made when it is not there."""
    root = holder() / f"arm64-{release}"
    subprocess.run(["sh", MAKE_ROOT, release, root], check=True)
    return arm64_site(root, CPUS_OF_RELEASE[release])


@dataclass(frozen=True)
class Run:
    """What came of all proofs: those that ended, and why the others didn't."""

    runs: list[dict[str, Any]]
    broken: list[str]


def prove_all(plan: Sequence[tuple[Site, Install]], real_images: int) -> Run:
    """Every installation on every computer; one that breaks down doesn't stop the others."""
    result = Run([], [])
    with tempfile.TemporaryDirectory() as folder:
        images, wheels = Path(folder) / "images", Path(folder) / "wheels"
        images.mkdir()
        draw_phantoms(images)
        copy_real_images(images, real_images)
        wheel = build_wheel(wheels)
        for site, install in plan:
            try:
                result.runs.append(Proof(site, install, wheel, images, holder() / "proven").run())
            except (BundleError, SiteError) as error:
                result.broken.append(f"{site.name}: {install.name}: {error}")
    return result


def parse_arguments() -> argparse.Namespace:
    """See ``--help``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--release", choices=CPUS_OF_RELEASE, nargs="+", default=list(CPUS_OF_RELEASE), help="of Debian"
    )
    parser.add_argument("--install", choices=INSTALLS, nargs="+", default=INSTALLS, help="only these")
    parser.add_argument("--real-images", type=int, default=10, help="how many, if the labelled set is there")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def plan_of(sites: Sequence[Site], names: Sequence[str]) -> Iterator[tuple[Site, Install]]:
    """The named installations that each site can have, this computer's first."""
    for site in sites:
        yield from ((site, install) for install in installs_for(site.python) if install.name in names)


def main() -> int:
    """Prove, compare, record; 0 if everything agrees."""
    options = parse_arguments()
    end_when_told()
    try:
        sites = (this_computer(), *map(make_root, options.release))
        # OpenVINO's answers are compared with ONNX Runtime's too.
        names = {*options.install, *(("onnx",) if "openvino" in options.install else ())}
        done = prove_all(list(plan_of(sites, sorted(names))), options.real_images)
        comparisons = compare_all(done.runs)
    except (BundleError, SiteError, ValueError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # It has said why.
    result = {"schema": SCHEMA, "runs": done.runs, "comparisons": comparisons}
    wrong = [*done.broken, *failures(done.runs, comparisons)]
    write_atomically(options.output, f"{json.dumps(result | {'failures': wrong}, indent=1)}\n".encode())
    sys.stdout.write(render(result))
    sys.stdout.write("".join(f"FAILED {failure}\n" for failure in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
