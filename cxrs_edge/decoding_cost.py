"""What decoding an image takes in memory, computed from its header before any of it is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from cxrs_edge.errors import ImageError

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

MAX_DECODING_BYTES = 200_000_000
"""64 megapixels in 16 bit gray, 50 in colour; docs/limits.md has what a whole process takes."""
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""As Pillow holds them; 4 in all other modes, with two or three channels as well."""
COEFFICIENT_BYTES = 2


def as_tiff(image: Image.Image) -> TiffImageFile | None:
    """The image if it is a TIFF, told without importing Pillow's reader of TIFFs, which most runs don't need."""
    return cast("TiffImageFile", image) if image.format == "TIFF" else None


def check_cost(image: Image.Image, whole: tuple[int, int], name: str) -> None:
    """Refuse an opened but not yet loaded image whose decoder would take too much; raises `ImageError`.

    `whole` is the size in the header, since the image may be set to be decoded at a reduced scale.
    """
    cost = _pixel_bytes(image, *image.size)
    if isinstance(image, JpegImageFile):
        cost += _coefficient_bytes(image, whole)
    elif (tiff := as_tiff(image)) is not None:
        # To turn it upright takes it twice.
        turned = tiff.tag_v2.get(ExifTags.Base.Orientation, 1) != 1
        cost += turned * cost + _block_bytes(tiff)
    if cost > MAX_DECODING_BYTES:
        limit = f"{cost / 1e6:.0f} MB to decode; expected at most {MAX_DECODING_BYTES // 1_000_000}"
        raise ImageError(
            f"{name}: {whole[0]} x {whole[1]} pixels of this kind take {limit}; export it smaller, or as gray"
        )


def _pixel_bytes(image: Image.Image, width: int, height: int) -> int:
    return width * height * PIXEL_BYTES.get(image.mode, 4)


def _coefficient_bytes(image: JpegImageFile, whole: tuple[int, int]) -> int:
    """What a progressive JPEG, or one with a scan for each colour, is gathered in."""
    sampling = [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer]
    densest = max(h for h, _ in sampling) * max(v for _, v in sampling)
    samples = whole[0] * whole[1] * sum(h * v for h, v in sampling) / densest
    return int(COEFFICIENT_BYTES * samples)


def _block_bytes(image: TiffImageFile) -> int:
    """The strip or tile that a decompressor unpacks at once."""
    if not image.use_load_libtiff:
        return 0
    tags, known = image.tag_v2, ExifTags.Base
    width, height = tags[known.ImageWidth], tags[known.ImageLength]
    height = min(height, tags.get(known.RowsPerStrip, height))
    width, height = tags.get(known.TileWidth, width), tags.get(known.TileLength, height)
    return _pixel_bytes(image, width, height)
