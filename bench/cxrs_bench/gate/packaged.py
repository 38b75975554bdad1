"""Pictures that packages ship inside their wheels, none of them a chest X-ray. What isn't installed is left out."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.uint8]

PHOTOGRAPH, TEXTURE, TEXT = "photograph", "texture", "text page (scanned)"
DRAWING, MEDICAL = "drawing", "other medical image"
SKIMAGE = {
    PHOTOGRAPH: "astronaut camera chelsea clock_motion coffee coins horse hubble_deep_field moon motorcycle_left "
    "rocket",
    TEXTURE: "brick grass gravel",
    TEXT: "page text",
    DRAWING: "chessboard_GRAY chessboard_RGB color logo phantom",
    MEDICAL: "cell ihc microaneurysms retina",
}
"""Kind -> names in the folder ``data`` of scikit-image."""
FILES = {
    "sklearn": {PHOTOGRAPH: "datasets/images/china.jpg datasets/images/flower.jpg"},
    "matplotlib": {
        PHOTOGRAPH: "mpl-data/sample_data/grace_hopper.jpg",
        DRAWING: "mpl-data/sample_data/Minduka_Present_Blue_Pack.png mpl-data/sample_data/logo2.png",
    },
}
ARRAYS = {"pywt": "aero ascent"}
"""PyWavelets' ``data/NAME.npz``, photographs."""
DICOM = (
    "693_J2KI CT_small MR_small examples_jpeg2k examples_overlay examples_palette examples_rgb_color "
    "examples_ybr_color"
)
"""CT, MR, ultrasound and nuclear images among pydicom's test files."""
PACKAGES = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "pywt": "PyWavelets",
    "pydicom": "pydicom",
}
SMALLEST = 256
"""Pixels of the shorter side: smaller pictures are enlarged, or the gate would reject them for their size."""


@dataclass(frozen=True, eq=False)
class Picture:
    """`package:name`, its kind, and its gray pixels."""

    name: str
    kind: str
    plane: Plane


def missing_packages() -> list[str]:
    """Names under which pip installs what isn't there."""
    return [name for module, name in PACKAGES.items() if not _folder(module)]


def packaged_pictures() -> Iterator[Picture]:
    """Every picture of the packages that are installed."""
    for kind, path in _image_files():
        yield Picture(path.name, kind, _enlarged(Image.open(path).convert("RGB").convert("L")))
    for package, names in ARRAYS.items():
        for root in _folder(package):
            for name in names.split():
                with np.load(root / "data" / f"{name}.npz") as file:
                    yield Picture(name, PHOTOGRAPH, _enlarged(_scaled(file["data"])))
    yield from _head_slice()
    yield from _faces_and_digits()
    yield from _dicom()


def _image_files() -> Iterator[tuple[str, Path]]:
    for root in _folder("skimage"):
        for kind, names in SKIMAGE.items():
            for name in names.split():
                yield from ((kind, path) for path in (root / "data").glob(f"{name}.*"))
    for package, kinds in FILES.items():
        for root in _folder(package):
            yield from ((kind, root / name) for kind, names in kinds.items() for name in names.split())


def _head_slice() -> Iterator[Picture]:
    for root in _folder("matplotlib"):
        data = gzip.decompress((root / "mpl-data/sample_data/s1045.ima.gz").read_bytes())
        yield Picture("s1045.ima", MEDICAL, _enlarged(_scaled(np.frombuffer(data, "<u2").reshape(256, 256))))


def _faces_and_digits() -> Iterator[Picture]:
    for root in _folder("skimage"):
        faces = np.load(root / "data" / "lfw_subset.npy")
        # Its second half are windows without a face.
        kinds = np.where(np.arange(len(faces)) < 100, "face", "window of a photograph")
        for number, (kind, face) in enumerate(zip(kinds, faces, strict=True)):
            yield Picture(f"lfw_subset {number}", str(kind), _enlarged(_scaled(face)))
    for root in _folder("sklearn"):
        digits = np.loadtxt(root / "datasets/data/digits.csv.gz", delimiter=",", max_rows=100)
        for number, digit in enumerate(digits):
            yield Picture(f"digit {number}", "digit", _enlarged(_scaled(digit[:64].reshape(8, 8))))


def _dicom() -> Iterator[Picture]:
    for root in _folder("pydicom"):
        from pydicom import dcmread

        for name in DICOM.split():
            file = dcmread(root / "data/test_files" / f"{name}.dcm")
            pixels = np.asarray(file.pixel_array)
            if int(file.get("NumberOfFrames") or 1) > 1:
                pixels = pixels[0]
            plane = pixels.mean(-1) if pixels.ndim == 3 else pixels
            yield Picture(f"{name}.dcm", MEDICAL, _enlarged(_scaled(plane)))


def _folder(package: str) -> list[Path]:
    """Where a package is installed, without importing it; empty if it isn't."""
    spec = find_spec(package)
    return [Path(str(spec.origin)).parent] if spec is not None and spec.origin else []


def _scaled(values: NDArray[np.generic]) -> Image.Image:
    """The range of the values becomes black to white."""
    numbers = np.asarray(values, np.float64)
    span = max(float(np.ptp(numbers)), 1e-9)
    return Image.fromarray(np.rint(255 * (numbers - numbers.min()) / span).astype(np.uint8))


def _enlarged(image: Image.Image) -> Plane:
    scale = max(1.0, SMALLEST / min(image.size))
    size = round(image.width * scale), round(image.height * scale)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC) if scale > 1 else image)
