"""Pack cxrs-edge with everything that it needs into one archive that installs without a network.

    python offline/make_bundle.py --platform linux_aarch64 --python 3.11 --engine tflite

builds the wheel, lets pip download the other computer's wheels (with this computer's pip settings), proves
that none is missing there and writes dist/offline/NAME.tar.gz. The archive's install.sh does the rest.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
INSTALLER = Path(__file__).with_name("install.sh")
OLDEST_GLIBC, GLIBC = 17, 36
"""Minor versions of glibc 2: wheels for any of them are taken; 36 is Debian 12's, and newer systems run them."""
BITS = {"aarch64": 64, "x86_64": 64, "armv7l": 32}


class BundleError(Exception):
    """The bundle can't be made; the message says what is missing."""


@dataclass(frozen=True)
class Target:
    """The computer that the bundle is for: `machine` as ``uname -m`` says it, `python` as 3.11."""

    machine: str
    python: str

    def platforms(self) -> list[str]:
        """pip's tags of the wheels that it runs, newest first."""
        newest_first = range(GLIBC, OLDEST_GLIBC - 1, -1)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in newest_first]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    def environment(self) -> dict[str, str]:
        """What dependency markers see there. pip would evaluate them for the computer that it runs on."""
        return {key: str(value) for key, value in default_environment().items()} | {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def read_metadata(wheel: Path) -> Message:
    """The METADATA file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def requirements_of(metadata: Message, target: Target, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a distribution needs on the target, with these extras of its own; markers are resolved."""
    provided = set(metadata.get_all("Provides-Extra", []))
    unknown = sorted(set(extras) - provided)
    if unknown:
        raise BundleError(f"{metadata['Name']}: has no extra {', '.join(unknown)}; it has {sorted(provided)}")
    environments = [target.environment() | {"extra": extra} for extra in ("", *extras)]
    needed = []
    for requirement in map(Requirement, metadata.get_all("Requires-Dist", [])):
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(marker.evaluate(environment) for environment in environments):
            needed.append(requirement)
    return needed


def missing_requirements(wheels: Sequence[Path], target: Target, wanted: Iterable[Requirement]) -> list[str]:
    """What is wanted, or needed by a wheel on the target, and is in none of the wheels; sorted."""
    all_metadata = [read_metadata(wheel) for wheel in wheels]
    versions = {canonicalize_name(data["Name"]): Version(data["Version"]) for data in all_metadata}
    needed = [*wanted, *(need for data in all_metadata for need in requirements_of(data, target))]
    return sorted({str(need) for need in needed if not _satisfied(need, versions)})


def _satisfied(requirement: Requirement, versions: Mapping[NormalizedName, Version]) -> bool:
    version = versions.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def build_wheel(folder: Path) -> Path:
    """The wheel of this working copy, in `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise BundleError(f"the wheel can't be built:\n{result.stdout}{result.stderr}")
    (wheel,) = folder.glob("cxrs_edge-*.whl")
    return wheel


def download(requirements: Iterable[Requirement], folder: Path, target: Target) -> None:
    """Let pip resolve and download wheels for the target."""
    platforms = [part for platform in target.platforms() for part in ("--platform", platform)]
    result = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder),
         "--implementation", "cp", "--python-version", target.python, *platforms, "pip",
         *map(str, requirements)],
        check=False,
    )  # fmt: skip
    if result.returncode:
        raise BundleError(
            f"pip found no wheels for {target.machine} with Python {target.python}: see its message above"
        )


def write_bundle(
    folder: Path, wheel: Path, target: Target, engines: Sequence[str], further: Sequence[str]
) -> None:
    """Fill `folder` with wheels, installer, phantom and checksums."""
    metadata = read_metadata(wheel)
    if not SpecifierSet(metadata.get("Requires-Python", "")).contains(target.python):
        raise BundleError(
            f"{metadata['Name']}: needs Python {metadata['Requires-Python']}, not {target.python}: PYTHON_VERSION"
        )
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    shutil.copy(wheel, wheels)
    wanted = [*requirements_of(metadata, target, engines), *map(Requirement, further)]
    download(wanted, wheels, target)
    missing = missing_requirements(sorted(wheels.glob("*.whl")), target, wanted)
    if missing:
        raise BundleError(
            f"{folder.name}: needs {', '.join(missing)} and pip downloaded none; name it: --with"
        )
    extras = f"[{','.join(engines)}]" if engines else ""
    lines = [f"cxrs-edge{extras}=={metadata['Version']}", *further]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "target").write_text(target_settings(target))
    (folder / "phantom.png").write_bytes(_phantom())
    shutil.copy(INSTALLER, folder / "install.sh")
    (folder / "SHA256SUMS").write_text("".join(f"{line}\n" for line in checksums(folder)))


def target_settings(target: Target) -> str:
    """The file that install.sh reads as shell assignments."""
    return f"machine={target.machine}\npython_version={target.python}\nbits={BITS[target.machine]}\n"


def checksums(folder: Path) -> Iterator[str]:
    """Lines for ``sha256sum -c``, of every file below `folder`, sorted."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"


def pack(folder: Path) -> Path:
    """`folder`.tar.gz beside it, with nothing of this computer's users or clock in it."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name, filter=_anonymous)
    return archive


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def _phantom() -> bytes:
    from PIL import Image

    from cxrs_bench.phantom import Phantom, draw_phantom

    png = io.BytesIO()
    Image.fromarray(draw_phantom(Phantom(zones=(0, 2, 3, 0, 1, 2)))).save(png, "PNG", optimize=True)
    return png.getvalue()


def make_bundle(
    output: Path, wheel: Path, target: Target, engines: Sequence[str], further: Sequence[str] = ()
) -> Path:
    """The archive of the bundle of cxrs-edge's `wheel`; one of the same name is replaced.

    `engines` are extras of cxrs-edge, `further` are requirements such as ``tflite-runtime>=2.14``.
    """
    contents = "-".join([*engines, *(Requirement(line).name for line in further)])
    name = f"cxrs-edge-{contents}-linux-{target.machine}-py{target.python}"
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as unfinished:
        folder = Path(unfinished) / name
        write_bundle(folder, wheel, target, engines, further)
        return pack(folder).replace(output / f"{name}.tar.gz")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """See ``--help``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    platforms = [f"linux_{machine}" for machine in BITS]
    parser.add_argument("--platform", choices=platforms, default="linux_aarch64")
    parser.add_argument("--python", metavar="X.Y", default="3.11", help="version on the other computer")
    parser.add_argument("--engine", action="append", default=[], help="extra of cxrs-edge; repeatable")
    parser.add_argument("--with", dest="further", metavar="REQUIREMENT", action="append", default=[])
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "offline")
    return parser.parse_args(arguments)


def main() -> int:
    """Make the bundle that the arguments describe, and print its path."""
    options = parse_arguments()
    target = Target(options.platform.removeprefix("linux_"), options.python)
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_wheel(Path(folder))
            archive = make_bundle(options.output, wheel, target, options.engine, options.further)
    except BundleError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    sys.stdout.write(f"{archive}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
