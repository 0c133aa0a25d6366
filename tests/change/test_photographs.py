"""Photographs of every kind become the same pixels: upright, RGB, 8 bits; what cannot be is one clear error."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weights import CAFFE, InputError
from weights.images import prepare
from weights.images.decode import opened

EXACT = replace(CAFFE, channels="rgb", mean=(0.0, 0.0, 0.0), resize=24, crop=24)  # of 24x24 pixels each as it is
SHAPE = (24, 24, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def prepared(image: bytes | Path | Image.Image) -> np.ndarray:
    """The pixels that a network sees, (24, 24, 3)."""
    return prepare(image, EXACT)[0].transpose(1, 2, 0)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {})])
def test_formats_without_loss_give_every_pixel(kind: str, options: dict):
    np.testing.assert_array_equal(prepared(saved(Image.fromarray(PIXELS), kind, **options)), PIXELS)


def test_jpeg_gives_what_pillow_decodes():
    data = saved(Image.fromarray(PIXELS), "JPEG", quality=95)
    np.testing.assert_array_equal(prepared(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palettes_are_their_colours(mode: str):
    image = Image.fromarray(PIXELS).convert(mode)
    np.testing.assert_array_equal(prepared(saved(image, "PNG")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_photographs_stand_upright(orientation: int, kind: str):
    # What EXIF calls the first row and column of the stored picture, in NumPy's words.
    lying: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),  # a camera turned clockwise by a quarter stored it turned the other way
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(np.ascontiguousarray(lying[orientation](PIXELS)))
    np.testing.assert_array_equal(prepared(saved(image, kind, exif=exif, **options)), PIXELS)


def test_orientation_is_heeded_before_the_short_side_is_found(tmp_path: Path):
    exif = Image.Exif()
    exif[274] = 6
    tall = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 31, 3), np.uint8))
    tall.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    np.testing.assert_array_equal(prepared(tmp_path / "lying.png"), prepared(tall))


def test_damaged_exif_leaves_the_picture_as_it_is():
    data = saved(Image.fromarray(PIXELS), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(prepared(data), PIXELS)


def on_white(alpha: np.ndarray) -> np.ndarray:
    return PIXELS * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_lies_on_white(kind: str):
    alpha = np.random.default_rng(2).integers(0, 256, (24, 24, 1), np.uint8)
    alpha[:4], alpha[4:8] = 0, 255
    image = Image.fromarray(np.concatenate([PIXELS, alpha], 2))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = prepared(saved(image, kind, **options))
    assert abs(found - on_white(alpha)).max() <= 0.51  # one rounding to 8 bits
    assert (found[:4] == 255).all()


def test_grey_with_alpha_lies_on_white():
    image = Image.fromarray(PIXELS).convert("LA")
    image.putalpha(64)
    grey = np.asarray(image)[..., :1].repeat(3, 2).astype(float)
    assert abs(prepared(saved(image, "PNG")) - (grey * 64 / 255 + 255 * 191 / 255)).max() <= 0.51


def test_transparent_colour_of_a_palette_is_white():
    image = Image.fromarray(PIXELS).convert("P")
    index = image.getpixel((0, 0))
    found = prepared(saved(image, "PNG", transparency=index))
    hidden = np.asarray(image) == index
    assert (found[hidden] == 255).all()
    np.testing.assert_array_equal(found[~hidden], np.asarray(image.convert("RGB"))[~hidden])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_sixteen_bits_the_upper_eight_are_taken(kind: str):
    wide = np.random.default_rng(3).integers(0, 65536, (24, 24), np.uint16)
    found = prepared(saved(Image.fromarray(wide), kind))
    np.testing.assert_array_equal(found, np.repeat((wide // 256)[..., None], 3, 2))


def png_of_sixteen_bits(pixels: np.ndarray) -> bytes:
    """A PNG file in colours of 16 bits, which Pillow does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_sixteen_bits_are_cut_as_grey_is():
    wide = np.random.default_rng(4).integers(0, 65536, SHAPE, np.uint16)
    np.testing.assert_array_equal(prepared(png_of_sixteen_bits(wide)), wide // 256)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_that_are_no_colours_are_refused(mode: str):
    with pytest.raises(InputError, match=f"the image: has pixels of mode '{mode}'; convert it to 8 bits"):
        prepared(saved(Image.new(mode, (24, 24)), "TIFF"))


def cmyk(pixels: np.ndarray) -> np.ndarray:
    c, k = pixels[..., :3].astype(float), pixels[..., 3:].astype(float)
    return (255 - c) * (255 - k) / 255


def test_cmyk_becomes_rgb_without_a_profile():
    inks = np.random.default_rng(5).integers(0, 256, (24, 24, 4), np.uint8)
    found = prepared(saved(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert abs(found - cmyk(inks)).max() <= 1  # rounded to 8 bits twice


@pytest.mark.parametrize("note", [True, False])
def test_cmyk_in_jpeg_is_taken_for_inverted_as_adobe_writes_it(note: bool):
    inks = np.full((24, 24, 4), (200, 30, 90, 20), np.uint8)
    data = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=95, subsampling=0)
    place = data.find(b"\xff\xee")  # the note that Adobe puts into its files
    assert data[place + 4 : place + 9] == b"Adobe"
    if not note:
        data = data[:place] + data[place + 16 :]
    assert abs(prepared(data) - cmyk(inks)).max() <= 4  # of one colour, JPEG keeps nearly all


def test_one_pixel_fills_the_input():
    x = prepare(Image.new("RGB", (1, 1), (10, 20, 30)), CAFFE)
    assert x.shape == (1, 3, 224, 224)
    np.testing.assert_array_equal(x[0, :, 0, 0], [30 - 104, 20 - 117, 10 - 123])
    assert (x == x[..., :1, :1]).all()


def test_more_pixels_than_are_allowed_are_refused_before_they_are_decoded():
    data = saved(Image.new("L", (300, 200)), "PNG")
    assert opened(data, max_pixels=60_000).size == (300, 200)
    with pytest.raises(
        InputError, match="the image: has 200x300 pixels of PNG in L, more than the 59,999 that are read"
    ):
        opened(data[:200], max_pixels=59_999)


def test_transparency_and_cmyk_may_have_half_as_many_pixels():
    for image, kind in ((Image.new("LA", (300, 200)), "PNG"), (Image.new("CMYK", (300, 200)), "TIFF")):
        with pytest.raises(InputError, match="more than the 50,000 that are read"):
            opened(saved(image, kind), max_pixels=100_000)


def test_frameworks_are_given_the_same_numbers():
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    x = prepare(Image.fromarray(PIXELS), CAFFE).astype(np.float32)
    hwc = x.transpose(0, 2, 3, 1)
    assert torch.from_numpy(x).numpy().tobytes() == x.tobytes()
    assert np.asarray(jnp.asarray(hwc)).transpose(0, 3, 1, 2).tobytes() == x.tobytes()
    assert tf.constant(hwc).numpy().transpose(0, 3, 1, 2).tobytes() == x.tobytes()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"GIF89a"])
def test_bytes_that_are_no_image_are_one_clear_error(data: bytes):
    with pytest.raises(InputError, match="the image: is not an image that can be read"):
        opened(data)
