"""What every engine must do, the same for all: an engine added to the registry is tested by that alone.

Each package that may run an engine is tested on its own. `make test-tflite-runtime` runs these tests for
tflite-runtime, which needs an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import ALL_OUTPUTS, FULL

from cxrs_edge.engines import Engine
from cxrs_edge.engines.preference import by_preference
from cxrs_edge.engines.registry import ENGINES, EngineEntry, open_package, package_version
from cxrs_edge.engines.threads import count_cores
from cxrs_edge.errors import EngineError, ModelError
from cxrs_edge.grade import grade
from cxrs_edge.grader import bundled_path
from cxrs_edge.model_file import Kind, read_model_file, with_card

SIZE = 32
# In favour of LiteRT, which comes first in the order of preference.
pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf\.lite\.Interpreter is deprecated")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

INPUTS = {
    "tflite": [
        {"input_type": "uint8"},
        {"input_type": "uint8", "input_scale": None},
        {"input_type": "float32"},
        {"input_type": "int8", "input_zero": -128},
    ],
    "onnx": [{"input_type": "uint8"}, {"input_type": "float32"}],
}
"""What the graphs of each kind of file may take."""

BAD_TENSORS = {
    "tflite": [
        ({"input_type": "int8", "input_scale": None}, "tensor image: int8 of scale 0; expected"),
        ({"signature": False}, "0 signatures; expected one"),
    ],
    "onnx": [
        ({"input_type": "int8"}, "tensor image: "),
        ({"output_type": "float64"}, "tensor probabilities: "),
    ],
}

POOLS = {"tflite_runtime": 2}
"""Pools of threads that take turns, for XNNPACK's layers and for the others; each has the calling thread in it."""

WRITES = {"tensorflow": {".keras", ".cache", ".config"}, "openvino": {".cache"}}
"""Settings and lists of fonts that Keras and Matplotlib, which TensorFlow imports, put into the home folder; and our
cache of compiled models."""

UNVERIFIED = ("tflite_runtime", "tensorflow")
"""Packages that may crash, and every test with them, on a file whose structure is broken."""

GARBAGE: dict[Kind, bytes] = {
    "tflite": b"\x1c\x00\x00\x00TFL3" + b"\xff" * 400,
    # A graph of one node, of a kind that nobody knows, with one output.
    "onnx": b"\x3a\x10\x0a\x09\x12\x01y\x22\x04junk\x62\x03\x0a\x01y",
}


EACH_PACKAGE = [replace(entry, packages=(package,)) for entry in ENGINES for package in entry.packages]


@pytest.fixture(params=EACH_PACKAGE, ids=lambda entry: entry.packages[0])
def entry(request: pytest.FixtureRequest) -> EngineEntry:
    """Each engine on each package that may run it; a package that isn't installed is skipped, and says so."""
    found: EngineEntry = request.param
    if found.package() is None:
        pytest.skip(f"engine {found.name}: {found.packages[0]} is not installed")
    return found


def opened(entry: EngineEntry, path: Path, threads: int | None = None) -> Engine:
    return open_package(read_model_file(path), entry, entry.require_package(), threads or count_cores())


def some_pixels(size: int = SIZE, channels: int = 3, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 200, (1, size, size, channels), dtype=np.uint8)


def test_every_package_has_its_place_in_the_order_of_preference():
    packages = {package for entry in ENGINES for package in entry.packages}
    for machine in ("x86_64", "aarch64"):
        for vnni in (True, False):
            assert set(by_preference(machine, packages, vnni=vnni)) == packages


def test_it_says_what_it_is(entry, write_model):
    engine = opened(entry, write_model(entry.kind), threads=1)
    assert engine.name == entry.name
    assert engine.version == package_version(str(entry.package()))
    assert engine.threads == 1


def test_each_input_type_sees_the_same_pixels(entry, write_model, expected_level2):
    for graph in INPUTS[entry.kind]:
        engine = opened(entry, write_model(entry.kind, graph))
        for seed in range(3):
            pixels = some_pixels(seed=seed)
            probabilities = engine.infer(pixels)["probabilities"]
            level2 = expected_level2(pixels)
            assert probabilities.dtype == np.float32
            np.testing.assert_allclose(probabilities, [[1 - level2, level2]], atol=1e-5)


def test_float32_is_computed_as_float32(entry, write_model, expected_level2):
    # bfloat16 rounds to 8 bits, so it would be off by up to 0.001 here.
    engine = opened(entry, write_model(entry.kind, {"input_type": "float32", "slope": 0.7}))
    for seed in range(20):
        pixels = some_pixels(seed=seed) // (1 + seed)
        expected = expected_level2(pixels, slope=0.7)
        assert engine.infer(pixels)["probabilities"][0, 1] == pytest.approx(expected, abs=1e-6)


def test_one_channel(entry, write_model, expected_level2):
    engine = opened(entry, write_model(entry.kind, {"channels": 1}, {"channels": 1}))
    pixels = some_pixels(channels=1)
    found = engine.infer(pixels)["probabilities"][0, 1]
    assert found == pytest.approx(expected_level2(pixels), abs=1e-5)


def test_only_what_the_card_names_is_returned(entry, write_model):
    assert set(opened(entry, write_model(entry.kind)).infer(some_pixels())) == {"probabilities"}


def uneven_pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Four squares of which each has another mean, so that a turned or flipped evidence shows."""
    pixels = some_pixels(size=64)
    pixels[:, :32] //= 2
    pixels[:, :, :32] //= 3
    return pixels


def test_every_output_is_what_its_formula_says(entry, write_model, expected_outputs):
    found = opened(entry, write_model(entry.kind, **FULL)).infer(uneven_pixels())
    expected = expected_outputs(uneven_pixels())
    assert set(found) == set(expected) == set(ALL_OUTPUTS)
    for name, values in expected.items():
        assert (found[name].dtype, found[name].shape) == (np.float32, values.shape)
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    level1, level2 = found["probabilities"][0]
    assert found["evidence"].sum() == pytest.approx(np.log(level2 / level1), abs=1e-4)


def test_each_integer_output_has_its_own_scale(entry, write_model, expected_outputs):
    if entry.kind != "tflite":
        pytest.skip("ONNX files are quantized between the layers, never at their outputs")
    graph = FULL["graph"] | {"output_type": "int8", "output_zero": -128}
    found = opened(entry, write_model("tflite", graph, FULL["card"])).infer(uneven_pixels())
    for name, values in expected_outputs(uneven_pixels()).items():
        assert found[name].dtype == np.float32
        # Half a step of extents, the coarsest, and what the arithmetic before it adds.
        np.testing.assert_allclose(found[name], values, atol=0.016)


def test_outputs_stay_as_they_were_given(entry, write_model):
    engine = opened(entry, write_model(entry.kind, **FULL))
    first = engine.infer(uneven_pixels())
    kept = {name: values.copy() for name, values in first.items()}
    engine.infer(np.zeros_like(uneven_pixels()))
    for name, values in kept.items():
        np.testing.assert_array_equal(first[name], values)


def test_what_the_card_leaves_out_is_not_returned(entry, write_model):
    card = {"size": 64, "outputs": {"extents": "the extents", "probabilities": "of both levels"}}
    found = opened(entry, write_model(entry.kind, FULL["graph"], card)).infer(uneven_pixels())
    assert set(found) == {"extents", "probabilities"}


@pytest.mark.parametrize(
    ("graph", "field"),
    [
        ({"zone_slopes": (1.0,) * 5}, "outputs.zones: got 1 x 6, but the graph gives 1 x 5"),
        ({"extent_slopes": (1.0,)}, "outputs.extents: got 1 x 2, but the graph gives 1 x 1"),
        ({"cell": 16}, "outputs.evidence: got 1 x 2 x 2, but the graph gives 1 x 4 x 4"),
    ],
)
def test_an_output_of_another_shape_is_refused(entry, write_model, graph, field):
    path = write_model(entry.kind, FULL["graph"] | graph, FULL["card"])
    with pytest.raises(ModelError) as caught:
        opened(entry, path)
    assert str(caught.value) == f"{path}: card field {field}; export the model again"


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            {"zone_slopes": (1.0, 1.0, np.nan, 1.0, 1.0, 1.0)},
            "zones: got nan, expected 1 x 6 numbers from 0 to 1",
        ),
        ({"extent_slopes": (1.0, 99.0)}, "extents: got 38.8"),
        ({"extent_slopes": (-np.inf, 1.0)}, "extents: got -inf, expected 1 x 2 numbers from 0 to 8"),
    ],
)
def test_an_output_that_is_none_gives_no_grade(entry, write_model, graph, message):
    file = read_model_file(write_model(entry.kind, FULL["graph"] | graph, FULL["card"]))
    outputs = open_package(file, entry, entry.require_package(), 1).infer(
        np.full((1, 64, 64, 3), 100, np.uint8)
    )
    with pytest.raises(EngineError) as caught:
        grade(outputs, file.card)
    assert str(caught.value).startswith(f"model tiny: output {message}")


@pytest.mark.parametrize(
    ("card", "graph", "field"),
    [
        ({"size": 64}, {}, "input.size: got 64, but the graph takes 1 x 32 x 32 x 3"),
        ({"channels": 1}, {}, "input.channels: got 1, but the graph takes 1 x 32 x 32 x 3"),
        (
            {"outputs": {"probabilities": "p", "zones": "z"}},
            {},
            "outputs: got zones, but the graph has the outputs probabilities",
        ),
        ({}, {"output_name": "scores"}, "outputs: got probabilities, but the graph has the outputs scores"),
        ({}, {"classes": 3}, "outputs.probabilities: got 1 x 2, but the graph gives 1 x 3"),
    ],
)
def test_a_card_that_disagrees_with_the_graph_is_refused(entry, write_model, card, graph, field):
    path = write_model(entry.kind, graph, card)
    with pytest.raises(ModelError) as caught:
        opened(entry, path)
    assert str(caught.value) == f"{path}: card field {field}; export the model again"


def test_tensors_that_it_cannot_feed_or_read_are_refused(entry, write_model):
    for graph, message in BAD_TENSORS[entry.kind]:
        path = write_model(entry.kind, graph)
        with pytest.raises(ModelError) as caught:
            opened(entry, path)
        assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "pixels",
    [some_pixels(size=16), some_pixels(channels=1), some_pixels().astype(np.float32)],
    ids=["size", "channels", "dtype"],
)
def test_pixels_that_the_card_does_not_name_are_refused(entry, write_model, pixels):
    engine = opened(entry, write_model(entry.kind))
    with pytest.raises(EngineError, match="expected uint8, 1 x 32 x 32 x 3; make them with"):
        engine.infer(pixels)


def test_garbage_with_a_right_hash_is_an_engine_error_and_nothing_is_printed(
    entry, write_model, tmp_path, capfd
):
    if entry.require_package() in UNVERIFIED:
        pytest.skip(f"{entry.packages[0]} reads flatbuffers unverified: it may crash (docs/engines.md)")
    card = read_model_file(write_model(entry.kind)).card
    path = tmp_path / f"garbage.{entry.kind}"
    path.write_bytes(with_card(GARBAGE[entry.kind], card, entry.kind))
    with pytest.raises(EngineError) as caught:
        opened(entry, path)
    assert str(caught.value).startswith(f"{path}: can't be loaded: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


def test_a_file_that_vanished_after_its_check_is_an_engine_error(entry, write_model):
    path = write_model(entry.kind)
    file = read_model_file(path)
    path.unlink()
    with pytest.raises(EngineError) as caught:
        open_package(file, entry, entry.require_package(), 1)
    assert str(caught.value).startswith(f"{path}: can't be loaded: ")


def test_answers_are_repeatable_and_stay_as_they_were_given(entry):
    spec = read_model_file(bundled_path(entry.kind)).card.input
    pixels = [some_pixels(spec.size, spec.channels, seed) for seed in range(2)]
    engine = opened(entry, bundled_path(entry.kind), threads=1)
    first = engine.infer(pixels[0])["probabilities"]
    kept = first.copy()
    engine.infer(pixels[1])
    np.testing.assert_array_equal(first, kept)
    again = opened(entry, bundled_path(entry.kind), threads=1)
    for _ in range(2):
        np.testing.assert_array_equal(again.infer(pixels[0])["probabilities"], kept)
    assert kept.sum() == pytest.approx(1, abs=0.02)


def test_two_threads_may_use_it_in_turn(entry, write_model, expected_level2):
    engine = opened(entry, write_model(entry.kind))
    found: dict[int, float] = {}

    def infer(seed: int) -> None:
        found[seed] = engine.infer(some_pixels(seed=seed))["probabilities"][0, 1]

    for seed in range(6):
        worker = threading.Thread(target=infer, args=(seed,)) if seed % 2 else None
        if worker is None:
            infer(seed)
        else:
            worker.start()
            worker.join()
    expected = {seed: pytest.approx(expected_level2(some_pixels(seed=seed)), abs=1e-5) for seed in range(6)}
    assert found == expected


COUNT_BUSY_THREADS = """
import json, os, sys
from pathlib import Path
import numpy as np
from cxrs_edge.engines.registry import choose_engine, open_package
from cxrs_edge.model_file import read_model_file

def busy_ns():
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}

model, name, package, threads = sys.argv[1:]
file = read_model_file(model)
engine = open_package(file, choose_engine(name), package, int(threads))
pixels = np.zeros((1, 480, 480, file.card.input.channels), np.uint8)
engine.infer(pixels)
before = busy_ns()
for _ in range(10):
    engine.infer(pixels)
spent = {task: ns - before.get(task, 0) for task, ns in busy_ns().items()}
print(json.dumps([engine.threads, sum(ns > 0.01 * max(spent.values()) for ns in spent.values())]))
"""


@linux
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_compute_as_were_asked_for(entry, threads):
    if len(os.sched_getaffinity(0)) < threads:
        pytest.skip("one core only")
    arguments = [str(bundled_path(entry.kind)), entry.name, entry.require_package(), str(threads)]
    command = [sys.executable, "-c", COUNT_BUSY_THREADS, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    reported, busy = json.loads(run.stdout)
    assert reported == threads
    # Where threads steal work from each other, a busy machine may leave one of them idle.
    pools = POOLS.get(entry.require_package(), 1)
    assert 1 <= busy <= 1 + pools * (threads - 1)


OPEN_AND_DELETE = """
import gc, json, os, sys, weakref
from pathlib import Path

import numpy as np

from cxrs_edge.engines.registry import choose_engine, open_package
from cxrs_edge.model_file import read_model_file

model, name, package = sys.argv[1:]
pixels = np.zeros((1, 480, 480, read_model_file(model).card.input.channels), np.uint8)
resident = []
for _ in range(10):
    engine = open_package(read_model_file(model), choose_engine(name), package, 1)
    engine.infer(pixels)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
assert model not in Path("/proc/self/maps").read_text()
assert model not in {str(link.resolve()) for link in Path("/proc/self/fd").iterdir()}
print(json.dumps(resident))
"""


@linux
def test_a_deleted_engine_lets_go_of_the_file_and_its_memory(entry):
    # In a process of its own: what other tests left in the heap moves more than a model weighs.
    path = bundled_path(entry.kind)
    command = [sys.executable, "-c", OPEN_AND_DELETE, str(path), entry.name, entry.require_package()]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    resident = json.loads(run.stdout.splitlines()[-1])
    # Allocators keep what the first few needed, and one opening in a few dozen stands out by several models' sizes;
    # a leak adds a model's size each time, here at least five.
    assert min(resident[-3:]) - resident[2] < 3 * path.stat().st_size


WATCH_SOCKETS = """
import sys
model, name, package = sys.argv[1:]
# TensorFlow brings urllib3, which binds ::1 to see whether there is IPv6, and calls nobody.
allowed = {"socket.__new__", "socket.bind"} if package == "tensorflow" else set()

def refuse(event, _):
    if event.startswith("socket.") and event not in allowed:
        sys.exit(f"network: {event}")

sys.addaudithook(refuse)
import numpy as np
from cxrs_edge.engines.registry import choose_engine, open_package
from cxrs_edge.model_file import read_model_file
file = read_model_file(model)
engine = open_package(file, choose_engine(name), package, 1)
engine.infer(np.zeros((1, 480, 480, file.card.input.channels), np.uint8))
"""


@linux
def test_it_reports_to_nobody_and_writes_no_file_but_its_cache(entry, tmp_path):
    # Without the parent's environment: engines keep still where they see that a test runs them.
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": os.defpath}
    arguments = [str(bundled_path(entry.kind)), entry.name, entry.require_package()]
    run = subprocess.run(
        [sys.executable, "-B", "-c", WATCH_SOCKETS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    assert "network" not in run.stderr
    assert {path.name for path in tmp_path.iterdir()} <= WRITES.get(entry.require_package(), set())
    if entry.require_package() == "openvino":
        assert [path.name for path in tmp_path.glob(".cache/*")] == ["cxrs-edge"]
