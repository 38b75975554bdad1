"""The offline bundle: complete for the other computer, and an installer that says why it won't install."""

from __future__ import annotations

import email
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import make_bundle
import pytest
from make_bundle import BundleError, Target, missing_requirements, requirements_of
from packaging.requirements import Requirement

BOARD = Target("aarch64", "3.11")
HERE = Target(platform.machine(), "{}.{}".format(*sys.version_info))

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in make_bundle.BITS, reason="install.sh is for Linux"
)


def metadata(*requirements: str, name: str = "thing", version: str = "1.0", extra: str = "tflite") -> Message:
    about = f"Name: {name}\nVersion: {version}\nRequires-Python: >=3.11\nProvides-Extra: {extra}"
    lines = [f"Metadata-Version: 2.1\n{about}"]
    return email.message_from_string("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requirements)]))


def write_wheel(folder: Path, name: str, version: str, *requirements: str, extra: str = "tflite") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        data = metadata(*requirements, name=name, version=version, extra=extra)
        archive.writestr(f"{info}/METADATA", data.as_string())
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


class TestRequirements:
    def test_markers_are_those_of_the_target(self) -> None:
        data = metadata(
            "click>=8",
            'litert; platform_machine != "armv7l" and extra == "tflite"',
            'tflite-runtime; platform_machine == "armv7l" and extra == "tflite"',
            'backport; python_version < "3.12"',
            'colours; sys_platform == "win32"',
        )
        assert [str(r) for r in requirements_of(data, BOARD, ["tflite"])] == [
            "click>=8",
            "litert",
            "backport",
        ]
        small_board = Target("armv7l", "3.13")
        assert [str(r) for r in requirements_of(data, small_board, ["tflite"])] == [
            "click>=8",
            "tflite-runtime",
        ]
        assert [str(r) for r in requirements_of(data, small_board)] == ["click>=8"]

    def test_an_unknown_extra_is_named(self) -> None:
        with pytest.raises(BundleError, match=r"thing: has no extra onxx; it has \['tflite'\]"):
            requirements_of(metadata(), BOARD, ["onxx"])

    def test_what_no_wheel_satisfies_is_missing(self, tmp_path: Path) -> None:
        wheels = [
            write_wheel(tmp_path, "Some_Thing", "1.0", "deep>=2", 'elsewhere; platform_machine == "x86_64"'),
            write_wheel(tmp_path, "deep", "1.9"),
        ]
        wanted = [Requirement("some-thing"), Requirement("absent")]
        assert missing_requirements(wheels, BOARD, wanted) == ["absent", "deep>=2"]
        assert missing_requirements(wheels, Target("x86_64", "3.11"), []) == ["deep>=2", "elsewhere"]

    def test_the_newest_platform_is_preferred_and_all_older_ones_are_taken(self) -> None:
        platforms = BOARD.platforms()
        assert platforms[0] == "manylinux_2_36_aarch64"
        assert platforms[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]


class TestBundle:
    @pytest.fixture
    def index(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of empty wheels that pip takes for its index."""
        folder = tmp_path / "index"
        for name in ("pip", "click", "numpy", "pillow", "onnxruntime"):
            write_wheel(folder, name, "99.0")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        return folder

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> Path:
        onnx = 'onnxruntime>=1.20; extra == "onnx"'
        return write_wheel(tmp_path, "cxrs_edge", "0.1", "click", "numpy", "pillow", onnx, extra="onnx")

    def test_the_archive_holds_the_wheels_of_the_engine_and_checksums_of_all(
        self, index: Path, wheel: Path, tmp_path: Path
    ) -> None:
        assert index.is_dir()
        archive = make_bundle.make_bundle(tmp_path / "out", wheel, BOARD, ["onnx"])
        assert archive.name == "cxrs-edge-onnx-linux-aarch64-py3.11.tar.gz"
        with tarfile.open(archive) as tar:
            entries = tar.getmembers()
            tar.extractall(tmp_path, filter="data")
        folder = tmp_path / "cxrs-edge-onnx-linux-aarch64-py3.11"
        files = sorted(e.name.removeprefix(f"{folder.name}/") for e in entries if e.isfile())
        wheels = [name.split("-")[0] for name in files if name.startswith("wheels/")]
        assert [name for name in files if not name.startswith("wheels/")] == [
            "SHA256SUMS", "install.sh", "phantom.png", "requirements.txt", "target",
        ]  # fmt: skip
        assert wheels == [
            f"wheels/{name}" for name in ("click", "cxrs_edge", "numpy", "onnxruntime", "pillow", "pip")
        ]
        assert {(e.uid, e.gid, e.mtime, e.uname) for e in entries} == {(0, 0, 0, "root")}
        sums = (folder / "SHA256SUMS").read_text().splitlines()
        assert [line.split("  ")[1] for line in sums] == [name for name in files if name != "SHA256SUMS"]
        assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, check=False).returncode == 0

    def test_a_wheel_that_pip_does_not_find_is_an_error(
        self, index: Path, wheel: Path, tmp_path: Path
    ) -> None:
        (index / "onnxruntime-99.0-py3-none-any.whl").unlink()
        with pytest.raises(BundleError, match="no wheels for aarch64 with Python"):
            make_bundle.make_bundle(tmp_path / "out", wheel, BOARD, ["onnx"])
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_python_that_is_too_old_for_cxrs_edge_is_an_error(self, wheel: Path, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"cxrs_edge: needs Python >=3.11, not 3.9: PYTHON_VERSION"):
            make_bundle.make_bundle(tmp_path / "out", wheel, Target("aarch64", "3.9"), ["onnx"])


@linux_only
class TestInstaller:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        """As for this computer, but with no wheel that could be installed."""
        folder = tmp_path / "bundle"
        write_wheel(folder / "wheels", "thing", "1.0")
        shutil.copy(make_bundle.INSTALLER, folder)
        self.target(folder, HERE)
        return folder

    def target(self, folder: Path, target: Target, bits: str = "") -> None:
        settings = make_bundle.target_settings(target)
        (folder / "target").write_text(f"{settings}{bits}")
        (folder / "SHA256SUMS").unlink(missing_ok=True)
        (folder / "SHA256SUMS").write_text("".join(f"{line}\n" for line in make_bundle.checksums(folder)))

    def refusal(self, folder: Path, venv: str = "venv") -> str:
        """What install.sh says; it must fail and leave nothing behind."""
        before = sorted(folder.parent.rglob("*"))
        result = subprocess.run(
            ["sh", folder / "install.sh", folder.parent / venv],
            env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(folder)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 1
        assert result.stdout == ""
        assert sorted(folder.parent.rglob("*")) == before
        return result.stderr

    def test_another_machine(self, bundle: Path) -> None:
        other = "aarch64" if HERE.machine != "aarch64" else "x86_64"
        self.target(bundle, Target(other, HERE.python))
        assert self.refusal(bundle) == (
            f"install.sh: this computer is {HERE.machine}, the wheels are for {other}; "
            f"make a bundle with PLATFORM=linux_{HERE.machine}\n"
        )

    def test_another_python(self, bundle: Path) -> None:
        self.target(bundle, Target(HERE.machine, "3.10"))
        said = self.refusal(bundle)
        assert f"is Python {HERE.python}, the wheels are for 3.10; make a bundle with PYTHON_VERSION=" in said

    def test_a_python_of_another_word_length(self, bundle: Path) -> None:
        self.target(bundle, HERE, bits="bits=16\n")
        assert "bit program, the wheels are for 16 bit" in self.refusal(bundle)

    def test_a_damaged_and_a_missing_file(self, bundle: Path) -> None:
        wheel = bundle / "wheels" / "thing-1.0-py3-none-any.whl"
        wheel.write_bytes(wheel.read_bytes()[:-1])
        assert f"damaged or missing: wheels/{wheel.name} (checksums differ)" in self.refusal(bundle)
        wheel.unlink()
        assert f"damaged or missing: wheels/{wheel.name} (checksums differ)" in self.refusal(bundle)
        (bundle / "SHA256SUMS").unlink()
        assert "SHA256SUMS is missing" in self.refusal(bundle)

    def test_a_folder_that_is_something_else(self, bundle: Path) -> None:
        (bundle.parent / "documents").mkdir()
        assert "documents is there and isn't a virtual environment" in self.refusal(bundle, "documents")
