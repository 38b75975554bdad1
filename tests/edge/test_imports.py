"""Importing stays light: what each step loads is read off a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

REPORT = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
NOT_PACKAGES = {"cxrs_edge", "numpy", "PIL", "click"}
"""All that the runtime may load besides the standard library and one engine."""


def third_party(program: str, *arguments: str) -> set[str]:
    """Packages outside the standard library that a program has loaded at its end.

    What an empty program loads (the environment's own .pth files) doesn't count.
    """
    return _loaded(program, *arguments) - _loaded("")


def _loaded(program: str, *arguments: str) -> set[str]:
    command = [sys.executable, "-c", f"{program}\n{REPORT}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1])) - set(sys.stdlib_module_names)


RUN_PREDICT = """
import sys
from cxrs_edge.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code in (None, 0), end.code
"""


def test_importing_the_package_loads_nothing_else():
    assert third_party("import cxrs_edge") == {"cxrs_edge"}


def test_the_public_names_load_no_engine():
    assert third_party("from cxrs_edge import Grader, Grade, CxrsError, __version__") == {
        "cxrs_edge",
        "numpy",
        "PIL",
    }


def test_help_loads_no_numpy_and_no_command():
    assert third_party(RUN_PREDICT, "--help") == {"cxrs_edge", "click"}


def test_info_loads_no_engine():
    assert third_party(RUN_PREDICT, "info") == {"cxrs_edge", "click", "numpy", "PIL"}


ENGINES = pytest.mark.parametrize(
    ("engine", "package"),
    [("tflite", "ai_edge_litert"), ("onnx", "onnxruntime"), ("openvino", "openvino")],
)


@ENGINES
def test_predict_loads_the_one_engine_it_needs(draw_xray, engine, package):
    pytest.importorskip(package)
    loaded = third_party(RUN_PREDICT, "predict", str(draw_xray()), "--engine", engine)
    assert {"cxrs_edge", "numpy", package} <= loaded
    assert loaded - NOT_PACKAGES - {package} == set()


SLOW = {"importlib.metadata", "PIL.TiffImagePlugin", "openvino.tools.ovc.convert", "pydicom"}
"""Each takes as long to import as an X-ray to decode, and none is needed to grade a JPEG."""


@ENGINES
def test_grading_a_jpeg_imports_nothing_slow(draw_xray, engine, package):
    pytest.importorskip(package)
    report = f"import sys; print(sorted({SLOW!r} & set(sys.modules)))"
    command = [sys.executable, "-c", f"{RUN_PREDICT}\n{report}", "predict", str(draw_xray("scan.jpg"))]
    run = subprocess.run([*command, "--engine", engine], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_every_public_name_is_there():
    import cxrs_edge

    assert cxrs_edge.__all__ == ["CxrsError", "Grade", "Grader", "__version__"]
    for name in cxrs_edge.__all__:
        assert getattr(cxrs_edge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'grader_of'"):
        _ = cxrs_edge.grader_of
