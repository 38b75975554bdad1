"""What a user installs: the wheel's exact file list, its metadata, and nothing heavier than promised."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cxrs_edge import __version__

ROOT = Path(__file__).parents[2]
DIST_INFO = f"cxrs_edge-{__version__}.dist-info"
FILES = Path(__file__).with_name("wheel-files.txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_exactly_these_files(wheel: Path) -> None:
    expected = FILES.read_text().splitlines()
    with zipfile.ZipFile(wheel) as archive:
        found = sorted(name.replace(DIST_INFO, "DIST-INFO") for name in archive.namelist())
    assert found == expected


def test_each_model_is_small_and_its_licence_is_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        models = [m for m in archive.infolist() if m.filename.endswith((".tflite", ".onnx"))]
        names = archive.namelist()
    assert len(models) == 2
    for model in models:
        assert model.file_size < 12_000_000
        folder = model.filename.rpartition("/")[0]
        assert {f"{folder}/LICENSE", f"{folder}/README.md"} <= set(names)


def test_the_metadata_names_licences_python_and_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{DIST_INFO}/METADATA"))
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-NC-SA-4.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "tflite", "onnx", "openvino", "dicom", "serve", "bench", "data", "explain", "export", "all", "fuzz", "dev",
    }  # fmt: skip
    always = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert sorted(r.split(">=")[0] for r in always) == ["click", "numpy", "pillow"]
