"""Run the commands of docs/raspberry-pi.md, so that they don't rot: `sh laptop` blocks here, `sh pi` blocks in arm64.

What stands in the arm64 root for the board has no network and is no root user, as the document says. A ``text``
block after a command is what it prints, with ``...`` for what differs from run to run. `sh board` blocks need the
board's own hardware, network or administrator; they are counted, not run.
"""

from __future__ import annotations

import argparse
import doctest
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arm64_sites import CPUS_OF_RELEASE, Site, SiteError, end_when_told
from run import ROOT, make_root

DOCUMENT = ROOT / "docs" / "raspberry-pi.md"
TAGS = ("sh laptop", "sh pi", "sh board", "text")
BLOCK = re.compile(r"^```(?P<tag>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
END = "\x1e"
"""Printed after each block; ASCII's record separator."""
USER = 1000


class DocumentError(Exception):
    """A command of the document fails, or prints something else."""


@dataclass(frozen=True)
class Block:
    """Commands of the document.

    Attributes
    ----------
    tag : of `TAGS`.
    commands : shell, as printed.
    prints : what the document says that they print, if it does.
    """

    tag: str
    commands: str
    prints: str | None = None


def read_blocks(text: str) -> list[Block]:
    """The commands of a Markdown text, in order. Raises `DocumentError` for a block of no known kind."""
    found: list[Block] = []
    end_of_last = -1
    for match in BLOCK.finditer(text):
        tag = match["tag"]
        if tag not in TAGS:
            raise DocumentError(f"a block is marked {tag!r}; expected one of {', '.join(TAGS)}")
        if tag != "text":
            found.append(Block(tag, match["text"]))
        elif found and not text[end_of_last : match.start()].strip():
            found[-1] = Block(found[-1].tag, found[-1].commands, match["text"])
        end_of_last = match.end()
    return found


def differs(block: Block, printed: str) -> bool:
    """Whether the document says something else."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return block.prints is not None and not doctest.OutputChecker().check_output(block.prints, printed, flags)


def run_on_laptop(blocks: list[Block]) -> None:
    """Run in the working copy; raises `DocumentError`."""
    for block in blocks:
        result = subprocess.run(["sh", "-eu", "-c", block.commands], cwd=ROOT, check=False, stdout=sys.stderr)
        if result.returncode:
            raise DocumentError(f"on the laptop: status {result.returncode}:\n{block.commands}")


def run_on_site(site: Site, home: Path, blocks: list[Block]) -> None:
    """Run as one session of a plain user whose home is `home`; raises `DocumentError`."""
    script = "".join(f"{block.commands}printf '{END}'\n" for block in blocks)
    (home / "session.sh").write_text(f"set -eu\n{script}")
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
    login = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
    cpu = site.cpus[-1] if site.cpus else None
    inside = home if site.root is None else Path("/") / home.relative_to(site.root)
    try:
        said = site.run(home, *login, "env", f"HOME={inside}", "sh", "session.sh", cpu=cpu)
    except SiteError as error:
        raise DocumentError(f"{error}\nin the session of {DOCUMENT.name}") from error
    for block, printed in zip(blocks, said.split(END), strict=False):
        if differs(block, printed):
            raise DocumentError(f"{block.commands}prints\n{printed}and the document says\n{block.prints}")


def bundles(python: str) -> Iterator[Path]:
    """What the laptop made for an arm64 board."""
    yield from (ROOT / "dist" / "offline").glob(f"cxrs-edge-*-linux-aarch64-py{python}.tar.gz")


def main() -> int:
    """Run what can be run; 0 if all of it does what the document says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--release", choices=CPUS_OF_RELEASE, default="bookworm", help="of Debian")
    release = parser.parse_args().release
    end_when_told()
    try:
        blocks = read_blocks(DOCUMENT.read_text())
        of_tag = {tag: [block for block in blocks if block.tag == tag] for tag in TAGS}
        site = make_root(release)
        run_on_laptop(of_tag["sh laptop"])
        assert site.root is not None
        with tempfile.TemporaryDirectory(dir=site.root / "tmp") as home:
            for bundle in bundles(site.python):
                os.link(bundle, Path(home) / bundle.name)
            run_on_site(site, Path(home), of_tag["sh pi"])
    except (DocumentError, SiteError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # It has said why.
    counts = ", ".join(f"{len(of_tag[tag])} {tag}" for tag in TAGS[:3])
    sys.stdout.write(f"{DOCUMENT.name}: {counts} blocks; all but those of the board were run\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
