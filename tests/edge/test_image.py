"""`read_image` and `read_file` against references made with numpy, and against hostile files."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from image_bytes import encode, png, png_chunk, png_rows, tiff
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cxrs_edge.errors import ImageError
from cxrs_edge.image import MAX_BYTES, MAX_PIXELS, MIN_SIDE, GrayImage, read_file, read_image

HEIGHT, WIDTH = 120, 100
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
GRAY: NDArray[np.uint8] = ((3 * X + 2 * Y) % 256).astype(np.uint8)
DEEP: NDArray[np.uint16] = (X * 523 + Y * 101).astype(np.uint16)
"""16 bit values that differ in their lower bytes."""
SMOOTH: NDArray[np.uint8] = (127 + 120 * np.sin(X / 40) * np.cos(Y / 50)).astype(np.uint8)
"""What JPEG keeps to within a few levels."""

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1],
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a.T[::-1],
}
"""EXIF orientation -> stored pixels to upright ones (TIFF 6.0: what row 0 and column 0 stand for)."""


def read(data: bytes, at_least: int | None = None) -> GrayImage:
    return read_image(data, name="scan", at_least=at_least)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read(data)
    message = str(caught.value)
    assert message.startswith("scan: ")
    return message


def palette_image(colours: NDArray[np.uint8], **info: object) -> Image.Image:
    image = Image.fromarray(GRAY).copy()
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours.tobytes())
    image.info.update(info)
    return image


# -- pixel formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_gray_is_exact(file_format: str) -> None:
    image = read(encode(Image.fromarray(GRAY), file_format))
    np.testing.assert_array_equal(image.pixels, GRAY)
    assert image.pixels.dtype == np.uint8
    assert (image.format, image.size, image.notes, image.name) == (file_format, (WIDTH, HEIGHT), (), "scan")


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_bilevel_becomes_black_and_white(file_format: str) -> None:
    image = read(encode(Image.fromarray(GRAY > 100), file_format))
    np.testing.assert_array_equal(image.pixels, np.where(GRAY > 100, 255, 0))


@pytest.mark.parametrize(("depth", "factor"), [(1, 255), (2, 85), (4, 17)])
def test_few_bit_png_is_scaled_to_8(depth: int, factor: int) -> None:
    values = (GRAY % 2**depth)[:, :96].astype(np.uint8)
    bits = np.unpackbits(values[:, :, np.newaxis], axis=2)[:, :, 8 - depth :]
    packed = np.packbits(bits.reshape(HEIGHT, -1), axis=1)
    np.testing.assert_array_equal(read(png((96, HEIGHT), depth, 0, png_rows(packed))).pixels, values * factor)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_rgb_of_equal_channels_is_exact_gray(file_format: str) -> None:
    image = read(encode(Image.fromarray(np.dstack([GRAY] * 3)), file_format))
    np.testing.assert_array_equal(image.pixels, GRAY)
    assert image.notes == ()


def test_every_gray_level_survives_rgb() -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    image = read(encode(Image.fromarray(np.dstack([levels] * 3)), "PNG"))
    np.testing.assert_array_equal(image.pixels, levels)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_colour_is_turned_to_luma_and_noted(file_format: str) -> None:
    rgb = np.dstack([GRAY, GRAY[::-1], 255 - GRAY])
    image = read(encode(Image.fromarray(rgb), file_format))
    luma = rgb @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(image.pixels - luma).max() <= 1
    assert image.notes == ("colour image, turned to gray",)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_gray_palette_is_exact_in_any_order(file_format: str) -> None:
    image = read(encode(palette_image(np.arange(255, -1, -1, dtype=np.uint8).repeat(3)), file_format))
    np.testing.assert_array_equal(image.pixels, 255 - GRAY)
    assert image.notes == ()


def test_colour_palette_is_noted() -> None:
    colours = np.zeros((256, 3), np.uint8)
    colours[:, 0] = 200  # red: luma 0.299 * 200 = 59.8
    image = read(encode(palette_image(colours), "PNG"))
    assert np.unique(image.pixels).tolist() == [60]
    assert image.notes == ("colour image, turned to gray",)


def test_transparent_palette_entry_becomes_black() -> None:
    image = read(encode(palette_image(np.arange(256, dtype=np.uint8).repeat(3)), "PNG", transparency=77))
    np.testing.assert_array_equal(image.pixels, np.where(GRAY == 77, 0, GRAY))
    assert image.notes == ("transparent areas were set to black",)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("LA", "PNG"), ("LA", "TIFF"), ("PA", "TIFF"), ("RGBA", "PNG")]
)
def test_alpha_is_composed_over_black(mode: str, file_format: str) -> None:
    opaque = Image.fromarray(GRAY).convert(mode)
    image = read(encode(opaque, file_format))
    np.testing.assert_array_equal(image.pixels, GRAY)
    assert image.notes == ()

    half = np.full_like(GRAY, 255)
    half[: HEIGHT // 2] = 0
    opaque.putalpha(Image.fromarray(half))
    image = read(encode(opaque, file_format))
    np.testing.assert_array_equal(image.pixels, np.where(half == 0, 0, GRAY))
    assert image.notes == ("transparent areas were set to black",)


NEW_YCBCR_TIFF = pytest.param(
    "YCbCr", "TIFF", marks=pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="Pillow's bug")
)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("CMYK", "TIFF"), NEW_YCBCR_TIFF, ("CMYK", "JPEG"), ("YCbCr", "JPEG")]
)
def test_print_and_video_colour_is_read(mode: str, file_format: str) -> None:
    gray = Image.fromarray(SMOOTH).convert("RGB").convert(mode)
    image = read(encode(gray, file_format, **({"quality": 95} if file_format == "JPEG" else {})))
    assert np.abs(image.pixels.astype(int) - SMOOTH).max() <= 3
    assert image.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_is_exact_in_both_byte_orders(order: str) -> None:
    image = read(tiff(DEEP.astype(order + "u2"), order=order))
    assert image.pixels.dtype == np.dtype(np.uint16)
    assert image.pixels.dtype.isnative
    np.testing.assert_array_equal(image.pixels, DEEP)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bit_tiff_is_exact_when_compressed(mode: str, compression: str | None) -> None:
    raw = DEEP.astype("<u2" if mode == "I;16" else ">u2").tobytes()
    data = encode(Image.frombytes(mode, (WIDTH, HEIGHT), raw), "TIFF", compression=compression)
    np.testing.assert_array_equal(read(data).pixels, DEEP)


def test_16_bit_png_is_exact() -> None:
    image = read(png((WIDTH, HEIGHT), 16, 0, png_rows(DEEP.astype(">u2"))))
    np.testing.assert_array_equal(image.pixels, DEEP)
    assert image.pixels.dtype == np.uint16


def test_32_bit_integers_with_16_bit_values_are_taken() -> None:
    image = read(tiff(DEEP.astype("<i4"), sample_format=2))
    np.testing.assert_array_equal(image.pixels, DEEP)
    assert image.pixels.dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 65536, -(2**31), 2**31 - 1])
def test_32_bit_values_out_of_range_are_refused(value: int) -> None:
    pixels = DEEP.astype("<i4")
    pixels[5, 5] = value
    assert str(value) in refusal(tiff(pixels, sample_format=2))


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_floating_point_is_refused(kind: str) -> None:
    message = refusal(tiff(DEEP.astype(kind), sample_format=3))
    assert "floating-point" in message or "unusual TIFF" in message


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_png_with_more_than_gray_is_refused(colour: int) -> None:
    # Pillow would drop the lower byte: a 12 bit X-ray would come out black.
    channels = {2: 3, 4: 2, 6: 4}[colour]
    rows = png_rows(np.dstack([(DEEP // 16).astype(">u2")] * channels))
    assert "16 bit" in refusal(png((WIDTH, HEIGHT), 16, colour, rows))


def test_16_bit_colour_tiff_is_refused() -> None:
    assert "16 bit pixels in colour" in refusal(tiff(np.dstack([DEEP] * 3), photometric=2))


def test_white_is_zero_is_turned_round_or_refused() -> None:
    np.testing.assert_array_equal(read(tiff(GRAY, photometric=0)).pixels, 255 - GRAY)
    assert "0 is white" in refusal(tiff(DEEP, photometric=0))


def test_the_suffix_is_irrelevant(tmp_path: Path) -> None:
    path = tmp_path / "scan.jpg"
    path.write_bytes(encode(Image.fromarray(GRAY), "PNG"))
    assert read_image(read_file(path), name=str(path)).format == "PNG"


# -- orientation ----------------------------------------------------------------------------------


def oriented(file_format: str, orientation: int, pixels: NDArray[np.generic]) -> bytes:
    image = Image.fromarray(pixels)
    if file_format == "TIFF":
        return encode(image, "TIFF", tiffinfo={274: orientation})
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    return encode(image, file_format, exif=exif, **options)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [GRAY, DEEP], ids=["8bit", "16bit"])
def test_orientation_is_undone(file_format: str, orientation: int, pixels: NDArray[np.generic]) -> None:
    image = read(oriented(file_format, orientation, pixels))
    expected = UPRIGHT[orientation](pixels)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.size == expected.shape[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("at_least", [None, 30])
def test_orientation_of_a_jpeg_is_undone_also_when_reduced(orientation: int, at_least: int | None) -> None:
    image = read(oriented("JPEG", orientation, SMOOTH), at_least=at_least)
    expected = UPRIGHT[orientation](SMOOTH)
    assert image.size == expected.shape[::-1]
    shrunk = Image.fromarray(expected).resize(image.pixels.shape[::-1], Image.Resampling.BOX)
    assert np.abs(image.pixels.astype(int) - np.asarray(shrunk)).max() <= 4
    assert (image.pixels.shape == expected.shape) == (at_least is None)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_changes_nothing(orientation: int) -> None:
    np.testing.assert_array_equal(read(oriented("PNG", orientation, GRAY)).pixels, GRAY)


# -- reduced decoding -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    ("at_least", "scale"), [(None, 1), (1000, 1), (301, 1), (300, 2), (151, 2), (150, 4), (75, 8), (1, 8)]
)
def test_jpeg_is_reduced_when_enough_pixels_stay(
    mode: str, progressive: bool, at_least: int | None, scale: int
) -> None:
    big = Image.fromarray(SMOOTH).resize((801, 600), Image.Resampling.BICUBIC).convert(mode)
    data = encode(big, "JPEG", quality=95, progressive=progressive)
    full = read(data)
    image = read(data, at_least=at_least)
    assert image.pixels.shape == (-(-600 // scale), -(-801 // scale))
    assert image.size == full.size == (801, 600)
    assert full.pixels.shape == (600, 801)
    reference = np.asarray(
        Image.fromarray(full.pixels).resize(image.pixels.shape[::-1], Image.Resampling.BOX)
    )
    assert np.abs(image.pixels.astype(int) - reference).max() <= 4


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(64, 400),
    height=st.integers(64, 400),
    at_least=st.integers(1, 400),
)
def test_reduced_jpeg_never_falls_below_at_least(width: int, height: int, at_least: int) -> None:
    data = encode(Image.new("L", (width, height), 90), "JPEG")
    image = read(data, at_least=at_least)
    assert min(image.pixels.shape) >= min(at_least, width, height)
    assert image.size == (width, height)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_other_formats_are_never_reduced(file_format: str) -> None:
    np.testing.assert_array_equal(read(encode(Image.fromarray(GRAY), file_format), at_least=1).pixels, GRAY)


# -- the end of a JPEG ----------------------------------------------------------------------------


def gray_end(**options: object) -> bytes:
    """Noise that ends in the middle gray that libjpeg fills up with."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    pixels[160:] = 128
    return encode(Image.fromarray(pixels), "JPEG", **options)


@pytest.mark.parametrize("at_least", [None, 70])
def test_a_whole_jpeg_may_end_in_middle_gray(at_least: int | None) -> None:
    preview = encode(Image.fromarray(SMOOTH), "JPEG")
    for options in ({}, {"progressive": True}, {"exif": b"Exif\0\0" + preview}, {"restart_marker_blocks": 2}):
        assert read(gray_end(**options), at_least).pixels[-1, -1] == 128


@pytest.mark.parametrize("at_least", [None, 70])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_lost_a_block_is_refused(mode: str, at_least: int | None) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (400, 320, 3)).astype(np.uint8)
    data = encode(Image.fromarray(noise).convert(mode), "JPEG")
    start = data.index(b"\xff\xda") + 20
    for place in np.linspace(start, len(data) - 3000, 20).astype(int):
        with pytest.raises(ImageError, match="damaged image"):
            read(data[:place] + data[place + 2048 :], at_least)


# -- several frames, other files ------------------------------------------------------------------


def test_mpo_is_read_as_the_jpeg_it_begins_with() -> None:
    first, preview = Image.fromarray(SMOOTH), Image.new("L", (64, 64))
    data = encode(first, "MPO", save_all=True, append_images=[preview], quality=95)
    image = read(data)
    assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
    assert np.abs(image.pixels.astype(int) - SMOOTH).max() <= 4
    assert read(data, at_least=50).pixels.shape == (HEIGHT // 2, WIDTH // 2)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_several_frames_are_refused(file_format: str) -> None:
    pages = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    data = encode(pages[0], file_format, save_all=True, append_images=pages[1:])
    assert "frames or pages" in refusal(data)


def test_a_tiff_of_a_million_directories_is_refused_at_once() -> None:
    data = bytearray(tiff(GRAY))
    end_of_directory = 8 + 2 + 10 * 12
    chain = b"".join(struct.pack("<HI", 0, len(data) + 6 * (i + 1)) for i in range(1_000_000))
    data[end_of_directory : end_of_directory + 4] = struct.pack("<I", len(data))
    started = time.perf_counter()
    assert "frames or pages" in refusal(bytes(data) + chain)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (encode(Image.fromarray(GRAY), "GIF"), "a GIF"),
        (encode(Image.fromarray(GRAY), "WEBP"), "a WebP"),
        (encode(Image.fromarray(GRAY), "PDF"), "a PDF"),
        (encode(Image.fromarray(GRAY), "PPM"), "not an image"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"an ordinary text file\n" * 30, "not an image"),
        (bytes(1000), "not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a damaged PNG"),
        (b"x", "not an image"),
        (b"", "empty file"),
    ],
)
def test_other_files_are_named(data: bytes, what: str) -> None:
    message = refusal(data)
    assert what in message
    assert "PNG, JPEG, TIFF, BMP or DICOM" in message


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 200), (200, MIN_SIDE - 1)])
def test_too_small_is_refused(size: tuple[int, int]) -> None:
    assert f"{size[0]} x {size[1]} pixels" in refusal(encode(Image.new("L", size), "PNG"))


def test_smallest_size_is_read() -> None:
    assert read(encode(Image.new("L", (MIN_SIDE, MIN_SIDE)), "PNG")).size == (MIN_SIDE, MIN_SIDE)


@pytest.mark.parametrize("size", [(0, 0), (0, 100), (100, 0)])
def test_zero_size_is_refused(size: tuple[int, int]) -> None:
    refusal(png(size, 8, 0, b""))


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1)])
def test_header_bomb_is_refused_without_decoding(size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    started = time.perf_counter()
    refusal(png(size, 8, 0, bytes(1000)))
    assert time.perf_counter() - started < 1


def test_text_chunk_bomb_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000)))
    assert "damaged" in refusal(png((WIDTH, HEIGHT), 8, 0, png_rows(GRAY), bomb))


def test_too_many_bytes_are_refused() -> None:
    assert "100 MB" in refusal(bytes(MAX_BYTES + 1))


def test_files_that_are_not_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(ImageError, match="not a regular file"):
            read_file(path)


@pytest.mark.parametrize("name", ["missing.png", "nul\0.png", "x" * 5000])
def test_paths_that_lead_nowhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="can't be read"):
        read_file(tmp_path / name)


def test_empty_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ImageError, match="empty"):
        read_file(tmp_path / "empty")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match="100 MB"):
        read_file(tmp_path / "huge")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.touch(mode=0o000)
    with pytest.raises(ImageError, match="Permission denied"):
        read_file(path)


def test_read_file_returns_the_bytes_for_text_and_path(tmp_path: Path) -> None:
    path = tmp_path / "scan.bin"
    path.write_bytes(b"\x00\xff\n")
    assert read_file(path) == read_file(str(path)) == b"\x00\xff\n"


# -- damaged files --------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).integers(0, 256, (80, 72)).astype(np.uint8)
SAMPLES = {
    "png": encode(Image.fromarray(NOISE), "PNG"),
    "png16": png((72, 80), 16, 0, png_rows(NOISE.astype(">u2") * 257)),
    "png palette": encode(Image.fromarray(NOISE).convert("P"), "PNG", transparency=9),
    "jpeg": encode(Image.fromarray(NOISE), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "jpeg colour": oriented("JPEG", 6, np.dstack([NOISE, NOISE[::-1], 255 - NOISE])),
    "jpeg progressive": encode(Image.fromarray(NOISE), "JPEG", progressive=True),
    "mpo": encode(Image.fromarray(NOISE), "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    "tiff": tiff(NOISE),
    "tiff16": tiff(NOISE.astype(np.uint16)),
    "tiff lzw": encode(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"),
    "tiff deflate": encode(Image.fromarray(NOISE), "TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": encode(Image.fromarray(NOISE), "TIFF", compression="jpeg"),
    "bmp": encode(Image.fromarray(NOISE), "BMP"),
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("at_least", [None, 8])
def test_a_truncated_file_is_never_taken_for_whole(kind: str, at_least: int | None) -> None:
    data = SAMPLES[kind]
    whole = read(data, at_least).pixels
    refused = 0
    for percent in range(1, 100):
        cut = data[: len(data) * percent // 100]
        try:
            pixels = read(cut, at_least).pixels
        except ImageError:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, whole, err_msg=f"cut at {percent} %")
    assert refused >= (45 if kind == "mpo" else 90)


@settings(max_examples=200, deadline=None)
@given(
    prefix=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM"]),
    rest=st.binary(),
)
@example(prefix=b"\x89PNG\r\n\x1a\n", rest=png_chunk(b"IHDR", b""))
def test_random_bytes_are_refused(prefix: bytes, rest: bytes) -> None:
    with pytest.raises(ImageError):
        read(prefix + rest)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_valid_file_is_read_whole(kind: str) -> None:
    assert sorted(read(SAMPLES[kind]).pixels.shape) == sorted(read(SAMPLES[kind]).size)


def test_damaged_pixels_of_a_png_are_noticed_by_their_checksum() -> None:
    data = bytearray(SAMPLES["png"])
    data[len(data) // 2] ^= 1
    assert "damaged" in refusal(bytes(data))


# -- what the process sees ------------------------------------------------------------------------


def noisy_png() -> bytes:
    """A PNG that Pillow warns about: an animation chunk that says there are no frames."""
    return png((WIDTH, HEIGHT), 8, 0, png_rows(GRAY), png_chunk(b"acTL", struct.pack(">II", 0, 0)))


def test_the_noisy_png_does_warn() -> None:
    with pytest.warns(UserWarning, match="APNG"), Image.open(io.BytesIO(noisy_png())) as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)


def test_no_warning_and_no_output_leaks(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read(noisy_png()).notes == ()
        for kind, data in SAMPLES.items():
            assert read(data).name == "scan"
            if kind.startswith("tiff "):
                continue  # libtiff complains about damaged compressed data on stderr, past Python and Pillow
            for cut in range(0, len(data), max(1, len(data) // 20)):
                with suppress(ImageError):
                    read(data[:cut] + bytes(8) + data[cut:], at_least=16)
    assert caught == []
    assert capfd.readouterr() == ("", "")


def test_warning_filters_are_as_before_after_reading_in_several_threads() -> None:
    before = list(warnings.filters)
    data = noisy_png()
    images: list[GrayImage] = []

    def work() -> None:
        images.extend(read(data) for _ in range(40))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    assert len(images) == 160
    for image in images:
        np.testing.assert_array_equal(image.pixels, GRAY)
