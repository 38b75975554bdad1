"""Valid files to begin with, small and of every kind that the readers tell apart."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from cxrs_edge.card import Conformal, DecisionRule, ModelCard
from cxrs_edge.model_file import with_card
from cxrs_edge.prepare import InputSpec

WIDTH, HEIGHT = 80, 72
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
GRAY = Image.fromarray(((3 * X + 2 * Y) % 256).astype(np.uint8))
DEEP = Image.fromarray((X * 523 + Y * 101).astype(np.uint16))
COLOUR = Image.fromarray(np.dstack([X * 3, Y * 3, X + Y]).astype(np.uint8))
CARD = ModelCard(
    name="seed",
    version="1",
    network="none",
    precision="int8",
    input=InputSpec(),
    outputs={"probabilities": "of both levels", "zones": "of opacity in each"},
    labels=("level1", "level2"),
    licence="CC0-1.0",
    intended_use="tests",
    base_bytes=1,
    sha256="0" * 64,
    decision=DecisionRule(0.3, Conformal(error_rate=0.1, level1=0.4, level2=0.35), "out of fold"),
    training={"seed": 1, "split": {"train": [1, 2.5, None, True]}},
)
TFLITE = b"\x1c\0\0\0TFL3" + bytes(range(64))
ONNX = b"\x08\x08\x12\x04none\x3a\x10\x0a\x08\x0a\x01x\x12\x01y\x22\x00\x12\x04tiny"


def make_seeds() -> Mapping[str, Mapping[str, bytes]]:
    """Target -> name -> bytes."""
    return {
        "png": _pngs(),
        "jpeg": _jpegs(),
        "tiff": _tiffs(),
        "bmp": {mode: encode(COLOUR.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")},
        "card": {
            "compact": CARD.to_json().encode(),
            "indented": json.dumps(json.loads(CARD.to_json()), indent=1).encode(),
            "short": b'{"schema": "cxrs-edge/card/1"}',
        },
        "model": {
            "tflite": with_card(TFLITE, CARD, "tflite"),
            "onnx": with_card(ONNX, CARD, "onnx"),
            "twice": with_card(with_card(ONNX, CARD, "onnx"), replace(CARD, version="2"), "onnx"),
        },
    }


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    exif[305] = "a program"
    exif.get_ifd(34665)[36867] = "2026:01:01 00:00:00"
    return exif


def _pngs() -> dict[str, bytes]:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "plain")
    texts.add_text("Packed", "packed " * 20, zip=True)
    texts.add_itxt("Author", "ärztin", lang="de", zip=True)
    palette = COLOUR.convert("P")
    modes = {mode: encode(COLOUR.convert(mode), "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA")}
    return modes | {
        "deep": encode(DEEP, "PNG"),
        "palette": encode(palette, "PNG", transparency=3, bits=8),
        "small palette": encode(COLOUR.quantize(4), "PNG", bits=2),
        "texts": encode(GRAY, "PNG", pnginfo=texts, icc_profile=bytes(range(200)), dpi=(300, 300)),
        "exif": encode(GRAY, "PNG", exif=_exif(6)),
        "animated": encode(GRAY, "PNG", save_all=True, append_images=[GRAY.rotate(180)]),
    }


def _jpegs() -> dict[str, bytes]:
    return {
        "gray": encode(GRAY, "JPEG"),
        "colour": encode(COLOUR, "JPEG", exif=_exif(8), icc_profile=bytes(range(200))),
        "444": encode(COLOUR, "JPEG", subsampling=0, comment=b"a comment"),
        "progressive": encode(COLOUR, "JPEG", progressive=True),
        "restarts": encode(GRAY, "JPEG", restart_marker_blocks=3),
        "cmyk": encode(COLOUR.convert("CMYK"), "JPEG"),
        "large": encode(GRAY.resize((400, 360)), "JPEG", quality=20),
        "mpo": encode(GRAY, "MPO", save_all=True, append_images=[GRAY], exif=_exif(3)),
    }


def _tiffs() -> dict[str, bytes]:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274], tags[270] = 6, "an image"
    modes = ("1", "L", "LA", "P", "I", "F", "RGB", "RGBA", "CMYK", "LAB")
    packed = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    return {
        **{mode: encode(COLOUR.convert(mode), "TIFF") for mode in modes},
        **{compression: encode(GRAY, "TIFF", compression=compression) for compression in packed},
        "deep": encode(DEEP, "TIFF"),
        "deep lzw": encode(DEEP, "TIFF", compression="tiff_lzw"),
        "turned": encode(GRAY, "TIFF", tiffinfo=tags),
        "big": encode(GRAY, "TIFF", big_tiff=True),
        "strips": encode(GRAY, "TIFF", compression="tiff_lzw", strip_size=800),
        "pages": encode(GRAY, "TIFF", save_all=True, append_images=[GRAY]),
        "fax": encode(GRAY.convert("1"), "TIFF", compression="group4"),
    }
