"""From an image to the input of a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weights.errors import InputError
from weights.images.decode import opened
from weights.networks.spec import Spec
from weights.params import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

_STRIP = 64  # times as long as wide: no photograph


def takes_photographs(spec: Spec, photo: str | Path) -> None:
    """Checks that a network takes images of three channels.

    Raises:
        InputError: it takes another number.
    """
    if spec.in_channels != 3:
        raise InputError(f"{photo}: is an image of 3 channels, and {spec.name} takes {spec.in_channels}")


def prepare(
    image: "str | Path | bytes | Image",
    preprocessing: Preprocessing,
    size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """An image as the input of a network: the same numbers for every framework, by the steps of docs/preprocessing.md.

    The image becomes upright RGB of 8 bits, by ``weights.images.decode.opened``. The short side is resized to
    ``preprocessing.resize`` with Pillow's bilinear filter, which averages over the source pixels when it shrinks (as
    torchvision's Resize does on images); the long side keeps the proportion, rounded down. Then the centre is cropped.

    Args:
        image: a file, the bytes of one, or an image already opened.
        preprocessing: what the network expects.
        size: (height, width) to crop instead of the square that preprocessing states; the resizing then leaves the
            same margin around it.
        max_pixels: that a file may have, as of ``opened``.

    Returns:
        (1, 3, H, W), float64, channels, range, mean and std as the preprocessing states.

    Raises:
        InputError: the image cannot be opened, or is a strip.
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
