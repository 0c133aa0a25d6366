"""From an image to the input of a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weights.errors import InputError
from weights.networks.spec import Spec
from weights.params import Preprocessing
from weights.storage.whole import reading

if TYPE_CHECKING:
    from PIL.Image import Image


def takes_photographs(spec: Spec, photo: str | Path) -> None:
    """Checks that a network takes images of three channels.

    Raises:
        InputError: it takes another number.
    """
    if spec.in_channels != 3:
        raise InputError(f"{photo}: is an image of 3 channels, and {spec.name} takes {spec.in_channels}")


def prepare(
    image: "str | Path | Image", preprocessing: Preprocessing, size: tuple[int, int] | None = None
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

    Returns:
        (1, 3, H, W), float64, channels, range, mean and std as the preprocessing states.

    Raises:
        InputError: the file is no image, a damaged one, or one of more than 8 bits.
    """
    height, width = size or (preprocessing.crop, preprocessing.crop)
    if min(height, width) < 1:
        raise InputError(f"cannot crop an image to {height}x{width}")
    rgb = _open(image)
    margin = preprocessing.resize / preprocessing.crop
    if height * rgb.width >= width * rgb.height:  # the height decides
        tall = round(height * margin)
        wide = max(width, rgb.width * tall // rgb.height)
    else:
        wide = round(width * margin)
        tall = max(height, rgb.height * wide // rgb.width)
    if wide * tall > 2**28:
        raise InputError(f"cannot resize a {rgb.height}x{rgb.width} image to {tall}x{wide}: the proportions are absurd")
    if (wide, tall) != rgb.size:
        rgb = rgb.resize((wide, tall), resample=2)  # PIL.Image.Resampling.BILINEAR
    top, left = round((tall - height) / 2), round((wide - width) / 2)
    pixels = np.asarray(rgb, np.float64)[top : top + height, left : left + width]
    if preprocessing.channels == "bgr":
        pixels = pixels[..., ::-1]
    values = (pixels * preprocessing.range / 255 - preprocessing.mean) / preprocessing.std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _open(image: "str | Path | Image") -> "Image":
    """An image as 8-bit RGB."""
    from PIL import Image

    name = image if isinstance(image, str | Path) else "the image"
    if isinstance(image, Image.Image):
        return _rgb(image, name)
    with reading(image) as file:
        try:
            return _rgb(Image.open(file), name)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            if isinstance(error, InputError):
                raise
            said = "" if isinstance(error, Image.UnidentifiedImageError) else f": {error}"
            raise InputError(f"{name}: is not an image that can be read{said}") from error


def _rgb(image: "Image", name: "str | Path") -> "Image":
    if image.mode[:1] in "IF":
        raise InputError(f"{name}: has pixels of mode {image.mode!r}; convert it to 8 bits for each channel first")
    return image.convert("RGB")
