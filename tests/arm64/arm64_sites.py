"""Where cxrs-edge is installed and run: this computer, or an arm64 Debian in a folder. Never with a network."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ENTER_ROOT = (
    'mount -t proc proc "$0/proc" && mount --bind "$0/$1" "$0/proc/cpuinfo" && mount --rbind /sys "$0/sys" && '
    'mount --rbind /dev "$0/dev" && shift && exec chroot "$0" "$@"'
)
"""In a mount namespace of its own, so that nothing stays mounted whatever happens. The engines' CPU detection reads
/proc/cpuinfo, which under qemu is this computer's: LiteRT crashes on an x86 description, so each CPU has its own."""
ISOLATED = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child")
"""No network; and with the command ends whatever it started."""
TIMEOUT_S = 3600
"""Of one command; an emulated installation takes a minute or two, an emulated image some seconds."""
PLAIN_ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Cpu:
    """A processor that qemu emulates and Linux describes: what engines choose their kernels by.

    Attributes
    ----------
    name : of qemu's model.
    variant, part, revision : as in /proc/cpuinfo; the implementer is Arm.
    features : as in /proc/cpuinfo.
    """

    name: str
    variant: str
    part: str
    revision: int
    features: str

    def cpuinfo(self) -> str:
        """/proc/cpuinfo of as many cores as this computer has."""
        return "".join(
            f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: {self.variant}\nCPU part\t: {self.part}\n"
            f"CPU revision\t: {self.revision}\n\n"
            for core in range(os.cpu_count() or 1)
        )


RASPBERRY_PI_4 = Cpu("cortex-a72", "0x0", "0xd08", 3, "fp asimd evtstrm crc32 cpuid")
RASPBERRY_PI_5 = Cpu(
    "cortex-a76",
    "0x4",
    "0xd0b",
    1,
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
)
"""qemu's default, a CPU with every extension there is, has no board and takes kernels that neither of them runs."""

CPUS_OF_RELEASE = {"bookworm": (RASPBERRY_PI_4, RASPBERRY_PI_5), "trixie": (RASPBERRY_PI_5,)}
"""Debian release -> CPUs to run it on; the images are graded on the first one."""


def end_when_told() -> None:
    """Let SIGTERM end this program as Ctrl-C does: with its processes, and its copies of X-rays."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class SiteError(Exception):
    """A command failed on a site."""


@dataclass(frozen=True)
class Site:
    """A computer to install on.

    Attributes
    ----------
    machine : as ``uname -m`` says it.
    python : version, such as 3.11.
    root : of the other Debian, or None for this computer.
    cpus : that the other Debian can be run on.
    """

    machine: str
    python: str
    root: Path | None = None
    cpus: tuple[Cpu, ...] = ()

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.machine} Python {self.python}"

    def run(
        self, folder: Path, *command: str, cpu: Cpu | None = None, statuses: Container[int] = (0,)
    ) -> str:
        """Run in `folder` (as this computer names it) without a network; what was written to stdout.

        Another Debian runs on `cpu`, by default its first.

        Raises `SiteError` for an exit status that isn't one of `statuses`, or if nothing was written.
        """
        result = subprocess.run(
            self._isolated(folder, command, cpu),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if result.returncode not in statuses or not result.stdout:
            raise SiteError(f"{self.name}: {' '.join(command)}: status {result.returncode}\n{result.stderr}")
        return result.stdout

    def _isolated(self, folder: Path, command: Sequence[str], cpu: Cpu | None) -> list[str]:
        if self.root is None:
            return [*ISOLATED, "env", "-C", str(folder), f"PYTHON={sys.executable}", *command]
        cpu = cpu or self.cpus[0]
        inside = f"/{folder.relative_to(self.root)}"
        return [
            *ISOLATED, "env", f"QEMU_CPU={cpu.name}",
            "sh", "-c", ENTER_ROOT, str(self.root), cpuinfo_path(cpu),
            "env", "-i", "-C", inside, f"QEMU_CPU={cpu.name}", *PLAIN_ENVIRONMENT, *command,
        ]  # fmt: skip


def cpuinfo_path(cpu: Cpu) -> str:
    """Where in an arm64 Debian its description is."""
    return f"tmp/cpuinfo-{cpu.name}"


def this_computer() -> Site:
    """Where this Python runs; raises `SiteError` on ARM, where there is nothing to compare or emulate."""
    if platform.machine() == "aarch64":
        raise SiteError("this computer is arm64 itself; on it, run: cxrs-edge selftest")
    return Site(platform.machine(), "{}.{}".format(*sys.version_info))


def arm64_site(root: Path, cpus: tuple[Cpu, ...]) -> Site:
    """The arm64 Debian in `root`, which is made by make_root.sh, to be run on `cpus`."""
    for cpu in cpus:
        path = root / cpuinfo_path(cpu)
        # Another run's commands may be reading it.
        if not path.exists() or path.read_text() != cpu.cpuinfo():
            path.write_text(cpu.cpuinfo())
    python = (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    return Site("aarch64", python, root, cpus)


def footprint_mb(venv: Path) -> dict[str, float]:
    """Size on disk of each distribution in a virtual environment, in units of 10**6 bytes, largest first."""
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    sizes = {
        found.metadata["Name"]: sum(
            path.stat().st_size
            for path in map(Path, map(found.locate_file, found.files or ()))
            if path.exists()
        )
        / 1e6
        for found in metadata.distributions(path=[str(site_packages)])
    }
    return {name: round(sizes[name], 1) for name in sorted(sizes, key=sizes.__getitem__, reverse=True)}
