"""docs/raspberry-pi.md: the parts that need no emulator. `make test-arm64` runs its commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from run_docs import DOCUMENT, Block, DocumentError, differs, read_blocks, run_on_laptop

TEXT = """\
```sh pi
uname -m
```

```text
aarch64
```

Words.

```text
a table
```

```sh board
vcgencmd measure_temp
```
"""


def test_what_a_command_prints_stands_right_after_it() -> None:
    assert read_blocks(TEXT) == [
        Block("sh pi", "uname -m\n", "aarch64\n"),
        Block("sh board", "vcgencmd measure_temp\n"),
    ]


def test_a_block_that_nobody_would_run_is_an_error() -> None:
    with pytest.raises(DocumentError, match="marked 'bash'; expected one of sh laptop, sh pi"):
        read_blocks("```bash\nrm -r x\n```\n")


@pytest.mark.parametrize(
    ("printed", "wrong"),
    [("ok  tflite 2.3.0: 12.5 ms\n", False), ("ok tflite 2.3.0: 12.5 s\n", True), ("", True)],
)
def test_only_dots_stand_for_anything(printed: str, wrong: bool) -> None:
    assert differs(Block("sh pi", "x\n", "ok tflite ...: ... ms\n"), printed) is wrong


def test_a_command_that_fails_is_an_error() -> None:
    run_on_laptop([Block("sh laptop", "true\n")])
    with pytest.raises(DocumentError, match="status 1:\nfalse"):
        run_on_laptop([Block("sh laptop", "false\ntrue\n")])


def test_every_command_of_the_document_is_shell_and_all_but_those_of_the_hardware_are_run() -> None:
    blocks = read_blocks(DOCUMENT.read_text())
    script = "".join(block.commands for block in blocks)
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    on_board = [line for block in blocks if block.tag == "sh board" for line in block.commands.splitlines()]
    assert {line.split()[0] for line in on_board} == {"scp", "vcgencmd"}


def test_the_links_of_the_document_lead_somewhere() -> None:
    targets = {part.partition(")")[0].partition("#")[0] for part in DOCUMENT.read_text().split("](")[1:]}
    local = {target for target in targets if target and not target.startswith("http")}
    assert [target for target in local if not (Path(DOCUMENT).parent / target).exists()] == []
