"""Where cxrs-edge is installed and run: this computer, or an arm64 Debian in a folder. Never with a network."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ENTER_ROOT = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
"""In a mount namespace of its own, so that nothing stays mounted whatever happens. Without /sys: the engines' CPU
detection reads it together with /proc/cpuinfo, and takes the mixture of an x86 and an ARM description badly."""
TIMEOUT_S = 1800
"""Of one command; an emulated installation takes a minute or two, an emulated image some seconds."""
PLAIN_ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")


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
    """

    machine: str
    python: str
    root: Path | None = None

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.machine} Python {self.python}"

    def run(self, folder: Path, *command: str) -> str:
        """Run in `folder` (as this computer names it) without a network; what was written to stdout.

        Raises `SiteError` for an exit status other than 0 and 1 (which is: some image got no grade).
        """
        result = subprocess.run(
            self._isolated(folder, command), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        if result.returncode not in (0, 1) or not result.stdout:
            raise SiteError(f"{self.name}: {' '.join(command)}: status {result.returncode}\n{result.stderr}")
        return result.stdout

    def _isolated(self, folder: Path, command: Sequence[str]) -> list[str]:
        if self.root is None:
            return ["unshare", "--net", "env", "-C", str(folder), f"PYTHON={sys.executable}", *command]
        inside = f"/{folder.relative_to(self.root)}"
        return [
            "unshare", "--net", "--mount", "sh", "-c", ENTER_ROOT, str(self.root),
            "env", "-i", "-C", inside, *PLAIN_ENVIRONMENT, *command,
        ]  # fmt: skip


def this_computer() -> Site:
    """Where this Python runs."""
    return Site(platform.machine(), "{}.{}".format(*sys.version_info))


def arm64_site(root: Path) -> Site:
    """The arm64 Debian in `root`, which is made by make_root.sh."""
    python = (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    return Site("aarch64", python, root)


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
