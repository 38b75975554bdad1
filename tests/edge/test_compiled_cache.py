"""A kept compiled model: found again, and never believed where anything about it is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_edge.engines import openvino as openvino_engine
from cxrs_edge.engines.compiled_cache import KEPT, CompiledCache
from cxrs_edge.engines.preference import cpu_identity
from cxrs_edge.engines.registry import open_engine
from cxrs_edge.model_file import read_model_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners of files")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def kept(home):
    return sorted(path for path in home.rglob("*") if path.is_file())


def test_what_is_written_is_read(home):
    CompiledCache("engine", "key").write(b"compiled")
    assert CompiledCache("engine", "key").read() == b"compiled"
    assert CompiledCache("engine", "other").read() is None
    assert CompiledCache("other", "key").read() is None
    (path,) = kept(home)
    assert path == home / "cxrs-edge" / "engine" / hashlib.sha256(b"key").hexdigest()
    assert path.read_bytes() == hashlib.sha256(b"keycompiled").digest() + b"compiled"


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_no_damage_is_believed(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("damaged")
        patch.setenv("XDG_CACHE_HOME", str(home))
        cache = CompiledCache("engine", "key")
        cache.write(b"compiled model")
        (path,) = kept(home)
        whole = path.read_bytes()
        position = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytes([whole[position] ^ data.draw(st.integers(1, 255))])
        damages = [
            whole[:position],
            whole[:position] + flipped + whole[position + 1 :],
            whole + data.draw(st.binary(min_size=1, max_size=40)),
        ]
        path.write_bytes(data.draw(st.sampled_from(damages)))
        assert cache.read() is None


def test_another_keys_content_is_not_believed(home):
    CompiledCache("engine", "key").write(b"compiled")
    CompiledCache("engine", "other").write(b"something else")
    first, second = kept(home)
    second.write_bytes(first.read_bytes())
    contents = [CompiledCache("engine", key).read() for key in ("key", "other")]
    assert sorted(contents, key=str) in ([None, b"compiled"], [None, b"something else"], [b"compiled", None])
    assert None in contents


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_is_not_believed(home, mode):
    cache = CompiledCache("engine", "key")
    cache.write(b"compiled")
    kept(home)[0].chmod(mode)
    assert cache.read() is None


def test_a_pipe_in_its_place_is_not_waited_for(home):
    cache = CompiledCache("engine", "key")
    cache.write(b"content")
    (path,) = home.glob("cxrs-edge/engine/*")
    path.unlink()
    os.mkfifo(path)
    assert cache.read() is None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_what_is_another_users_is_not_believed(home):
    cache = CompiledCache("engine", "key")
    cache.write(b"compiled")
    os.chown(kept(home)[0], 12345, 12345)
    assert cache.read() is None


def test_only_the_newest_are_kept(home):
    for number in range(KEPT + 3):
        CompiledCache("engine", f"key {number}").write(b"compiled")
        os.utime(home / "cxrs-edge/engine" / hashlib.sha256(b"key %d" % number).hexdigest(), (number, number))
    assert len(kept(home)) == KEPT
    assert CompiledCache("engine", f"key {KEPT + 2}").read() == b"compiled"
    assert CompiledCache("engine", "key 0").read() is None


def test_a_place_that_can_not_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = CompiledCache("engine", "key")
    cache.write(b"compiled")
    assert cache.read() is None


def test_a_relative_folder_is_ignored_as_the_specification_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    CompiledCache("engine", "key").write(b"compiled")
    assert not (tmp_path / "relative").exists()
    assert (tmp_path / "home/.cache/cxrs-edge/engine").is_dir()


def test_cpus_differ_by_what_they_can_do(tmp_path):
    texts = {}
    for name, flags in {"old": "avx2", "new": "avx2 avx512_vnni"}.items():
        (tmp_path / name).write_text(f"model name\t: A\nflags\t\t: {flags}\n\nmodel name\t: A\n")
        texts[name] = cpu_identity(tmp_path / name)
    assert texts["old"] != texts["new"]
    assert cpu_identity(tmp_path / "none") == cpu_identity(tmp_path / "none")


@pytest.fixture
def tiny(write_model):
    pytest.importorskip("openvino")
    return write_model("onnx")


def answers(path):
    file = read_model_file(path)
    spec = file.card.input
    pixels = np.random.default_rng(0).integers(0, 256, (1, spec.size, spec.size, spec.channels), np.uint8)
    return open_engine(file, "openvino", 1).infer(pixels)["probabilities"]


def test_openvino_answers_the_same_from_its_cache(home, tiny, monkeypatch):
    first = answers(tiny)
    (path,) = kept(home)
    before = path.stat().st_mtime_ns
    # From the cache alone: reading the model again would fail.
    monkeypatch.setattr(openvino_engine, "_compile", None)
    np.testing.assert_array_equal(answers(tiny), first)
    assert path.stat().st_mtime_ns == before


def test_openvino_compiles_anew_what_is_damaged_or_not_its_own(home, tiny):
    first = answers(tiny)
    (path,) = kept(home)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    np.testing.assert_array_equal(answers(tiny), first)
    assert path.read_bytes() != whole[:-1] + bytes([whole[-1] ^ 1])
    # Right digest, and no compiled model behind it.
    file = read_model_file(tiny)
    import openvino

    settings = {**openvino_engine.SETTINGS, "INFERENCE_NUM_THREADS": 1}
    CompiledCache("openvino", openvino_engine._key(openvino, file, settings)).write(b"garbage")
    np.testing.assert_array_equal(answers(tiny), first)


def test_predict_grades_the_same_with_a_cache(home, draw_chest):
    pytest.importorskip("openvino")
    command = [sys.executable, "-m", "cxrs_edge", "predict", str(draw_chest()), "--engine", "openvino"]
    runs = [
        subprocess.run([*command, "--format", "csv"], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    (path,) = kept(home)
    assert path.stat().st_mode & 0o022 == 0
    grades = [run.stdout.splitlines()[1].split(",")[:6] for run in runs]
    assert grades[0] == grades[1]
