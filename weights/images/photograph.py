"""From an image to the input of a network."""

import re
import warnings
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from weights import limits
from weights.errors import InputError, about
from weights.networks.spec import Spec
from weights.params import Preprocessing
from weights.storage.contents import Window, contents

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats of photographs. Of moving ones the first picture is taken."""

_STRIP = 64  # times as long as wide: no photograph


def takes_photographs(spec: Spec, photo: str | Path) -> None:
    """Checks that a network takes images of three channels.

    Raises:
        InputError: it takes another number.
    """
    if spec.in_channels != 3:
        raise InputError(f"{photo}: is an image of 3 channels, and {spec.name} takes {spec.in_channels}")


def prepare(
    image: "str | Path | Image",
    preprocessing: Preprocessing,
    size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """An image as the input of a network.

    The short side is resized to ``preprocessing.resize`` with Pillow's bilinear filter, which averages over the source
    pixels when it shrinks (as torchvision's Resize does on images); the long side keeps the proportion, rounded down.
    Then the centre is cropped.

    Args:
        image: a file, or an image already opened.
        preprocessing: what the network expects.
        size: (height, width) to crop instead of the square that preprocessing states; the resizing then leaves the
            same margin around it.
        max_pixels: that a file may have, ``limits.PIXELS`` if not stated; of CMYK and WebP half as many.

    Returns:
        (1, 3, H, W), float64, channels, range, mean and std as the preprocessing states.

    Raises:
        InputError: the file is no image of ``FORMATS``, a damaged one, one of more than 8 bits or of more pixels, or a
            strip.
    """
    height, width = size or (preprocessing.crop, preprocessing.crop)
    if min(height, width) < 1:
        raise InputError(f"cannot crop an image to {height}x{width}")
    rgb = opened(image, max_pixels)
    margin = preprocessing.resize / preprocessing.crop
    if height * rgb.width >= width * rgb.height:  # the height decides
        tall = round(height * margin)
        wide = max(width, rgb.width * tall // rgb.height)
    else:
        wide = round(width * margin)
        tall = max(height, rgb.height * wide // rgb.width)
    if max(wide, tall) > _STRIP * min(wide, tall):
        name = image if isinstance(image, str | Path) else "the image"
        raise InputError(
            f"{name}: cannot resize {rgb.height}x{rgb.width} pixels to {tall}x{wide}: the proportions are absurd"
        )
    if (wide, tall) != rgb.size:
        rgb = rgb.resize((wide, tall), resample=2)  # PIL.Image.Resampling.BILINEAR
    top, left = round((tall - height) / 2), round((wide - width) / 2)
    pixels = np.asarray(rgb.crop((left, top, left + width, top + height)), np.float64)
    if preprocessing.channels == "bgr":
        pixels = pixels[..., ::-1]
    values = (pixels * preprocessing.range / 255 - preprocessing.mean) / preprocessing.std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def opened(image: "str | Path | Image", max_pixels: int | None = None) -> "Image":
    """An image as 8-bit RGB; for the rest as ``prepare``."""
    from PIL import Image

    if isinstance(image, Image.Image):
        with about("the image"):
            return _rgb(image)
    data = contents(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower, or was stated
            found = Image.open(cast(IO[bytes], Window(data)), formats=FORMATS)
        _check_size(found, data, max_pixels or limits.PIXELS)
        return _rgb(found)
    except InputError as error:
        raise InputError(f"{image}: {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{image}: is not an image that can be read; those read are {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow raises errors of many types for damage
        raise InputError(f"{image}: is not an image that can be read: {str(error)[:200]}") from error


def _check_size(image: "Image", data: memoryview, most: int) -> None:
    """Refuses what would take too much memory or time, before a pixel is decoded."""
    double = image.mode == "CMYK" or image.format == "WEBP"  # decoders need twice the memory
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
    if image.mode[:1] in "IF":
        raise InputError(f"has pixels of mode {image.mode!r}; convert it to 8 bits for each channel first")
    if image.mode == "RGB":
        image.load()
        return image  # as it is: converting it to what it is would copy it
    return image.convert("RGB")
