"""From a file to its pixels: upright, in RGB, 8 bits for each channel."""

import re
import struct
import warnings
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from weights import limits
from weights.errors import InputError, about
from weights.storage.contents import Window, contents

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats of photographs. Of moving ones the first picture is taken."""

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Those of files that are taken for photographs in a folder, in small letters."""

_ORIENTATION = 274  # the tag of EXIF: where the first row and column are, seen upright
_TRANSPOSED = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # to Pillow's Transpose, which makes it upright
_PLAIN = re.compile(rb"P[123]\s")
_COMMENTS = 100  # in a plain PPM
_BIG_TIFF = 43  # the number in the place of 42
_BYTES_OF_TIFF = (1, 2, 6, 7)  # types whose values stay bytes
_ALONE = Lock()  # which warnings are shown is the same for all threads


def opened(image: "str | Path | bytes | Image", max_pixels: int | None = None) -> "Image":
    """An image as 8-bit RGB, turned upright as its EXIF data say.

    What is transparent lies on white. CMYK becomes RGB without a colour profile, (255 - C) (255 - K) / 255. Of 16 bits
    the upper 8 are taken.

    Args:
        image: a file, the bytes of one, or an image already opened.
        max_pixels: that a file may have, ``limits.PIXELS`` if not stated; half as many where decoding takes twice the
            memory: of CMYK, WebP, grey with alpha and a transparent colour.

    Raises:
        InputError: it is no image of ``FORMATS``, a damaged one, one of more than 16 bits or of more pixels.
    """
    from PIL import Image

    if isinstance(image, Image.Image):
        with about("the image"):
            return _upright(_rgb(image), _orientation(image))
    name = "the image" if isinstance(image, bytes) else image
    data = memoryview(image) if isinstance(image, bytes) else contents(image)
    try:
        _check_form(data)
        with _ALONE, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower, or was stated
            found = Image.open(cast(IO[bytes], Window(data, pieces=limits.PIECES)), formats=FORMATS)
        _check_size(found, data, max_pixels or limits.PIXELS)
        rgb, orientation = _rgb(found), _orientation(found)
        if rgb is not found:
            found.close()  # lets its pixels go: there are others in their place
        return _upright(rgb, orientation)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: is not an image that can be read; those read are {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow raises errors of many types for damage
        raise InputError(f"{name}: is not an image that can be read: {str(error)[:200]}") from error


def _check_form(data: memoryview) -> None:
    """Refuses what Pillow would take apart in Python, number by number, before it does."""
    if _PLAIN.match(data):
        if len(data) > limits.PLAIN_PIXELS or bytes(data).count(b"#") > _COMMENTS:
            raise InputError(
                f"has its pixels as words, more than {limits.PLAIN_PIXELS:,} bytes of them or {_COMMENTS} comments; "
                "save it in a binary format"
            )
    else:
        _check_lists(data)


def _check_lists(tiff: memoryview) -> None:
    """Refuses the first directory of a TIFF file, or of EXIF data, where a field has too many numbers."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    with suppress(struct.error):  # whose end is missing is for Pillow to say
        if order is None:
            return
        big = struct.unpack_from(f"{order}H", tiff, 2)[0] == _BIG_TIFF
        (at,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", tiff, 8 if big else 4)
        (entries,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", tiff, at)
        if entries > limits.LIST:
            raise InputError(f"has {entries:,} fields of TIFF, at most {limits.LIST:,} are read")
        layout = struct.Struct(f"{order}HHQQ" if big else f"{order}HHII")
        for i in range(entries):
            tag, kind, count, _ = layout.unpack_from(tiff, at + (8 if big else 2) + i * layout.size)
            if kind not in _BYTES_OF_TIFF and count > limits.LIST:
                raise InputError(f"has {count:,} numbers in the field {tag} of TIFF, at most {limits.LIST:,} are read")


def _check_size(image: "Image", data: memoryview, most: int) -> None:
    """Refuses what would take too much memory or time, before a pixel is decoded."""
    double = image.mode in ("CMYK", "LA", "PA") or image.format == "WEBP" or "transparency" in image.info
    pixels = image.width * image.height * (2 if double else 1)
    if pixels > most:
        most //= 1 + double
        raise InputError(
            f"has {image.height}x{image.width} pixels of {image.format} in {image.mode}, more than the {most:,} that "
            "are read; make it smaller, or state --max-pixels"
        )
    if image.format in ("JPEG", "MPO"):
        scans = sum(1 for _ in islice(re.finditer(b"\xff\xda", data), limits.SCANS + 1))
        if scans > limits.SCANS:
            raise InputError(f"is a JPEG of more than {limits.SCANS} passes over the image; encoders write ten")


def _rgb(image: "Image") -> "Image":
    """The same pixels in RGB; an image that is RGB already is returned as it is, for a copy would cost its memory."""
    from PIL import Image

    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode[:1] in "IF":
        raise InputError(f"has pixels of mode {image.mode!r}; convert it to 8 bits for each channel first")
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: "Image") -> int:
    """What EXIF says about an image that is loaded; 1 if nothing. TIFF files are upright by then, and say so."""
    # What is damaged beside the pixels does not spoil them.
    with suppress(Exception), _ALONE, warnings.catch_warnings(action="ignore"):
        _check_lists(memoryview(image.info.get("exif", b"").removeprefix(b"Exif\0\0")))
        return image.getexif().get(_ORIENTATION, 1)
    return 1


def _upright(image: "Image", orientation: int) -> "Image":
    from PIL.Image import Transpose

    return image.transpose(Transpose(_TRANSPOSED[orientation])) if orientation in _TRANSPOSED else image
