"""What native code says on stderr comes through, but for one line."""

from __future__ import annotations

import os
import tempfile

import pytest

from cxrs_edge.native_stderr import GREETING, STDERR, without_greeting


def test_only_the_greeting_is_left_out(capfd):
    with without_greeting():
        os.write(STDERR, b"a warning\n" + GREETING)
        os.write(STDERR, b"an error\n")
    os.write(STDERR, b"later\n")
    assert capfd.readouterr().err == "a warning\nan error\nlater\n"


def test_an_error_inside_loses_nothing(capfd):
    def fail():
        os.write(STDERR, b"why\n")
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), without_greeting():
        fail()
    assert capfd.readouterr().err == "why\n"


def test_no_file_stays_open(capfd):
    del capfd  # only so that the descriptor belongs to this test
    before = os.dup(STDERR)
    os.close(before)
    with without_greeting():
        pass
    after = os.dup(STDERR)
    os.close(after)
    assert after == before


def test_without_a_temporary_file_everything_stays_as_it_is(capfd, monkeypatch):
    def no_space():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_space)
    with without_greeting():
        os.write(STDERR, GREETING)
    assert capfd.readouterr().err == GREETING.decode()
