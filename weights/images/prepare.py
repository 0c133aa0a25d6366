"""From an image to a network's input, and networks rewritten for another kind of input."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from weights.errors import InputError
from weights.params import Params, Preprocessing, info_of
from weights.storage.whole import reading

if TYPE_CHECKING:
    from PIL.Image import Image

Convention = Literal["rgb01", "bgr255"]
_CONVENTIONS = {"rgb01": ("rgb", 1.0), "bgr255": ("bgr", 255.0)}
_FIRST = "stem.conv1.weight"


def prepare(
    image: "str | Path | Image", preprocessing: Preprocessing, size: tuple[int, int] | None = None
) -> np.ndarray:
    """An image as the input of a network.

    The short side is resized to ``preprocessing.resize`` with Pillow's bilinear filter, which averages over the source
    pixels when it shrinks (as torchvision's Resize does on images); the long side keeps the proportion, rounded down.
    Then the centre is cropped.

    Args:
        image: a file, or an image already opened.
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


def rewrite(params: Mapping[str, np.ndarray], to: Convention) -> Params:
    """The same network for another kind of input: the first convolution takes over channel order, range and std.

    With x the old input and y the new one, x = y * ratio, channel by channel, so that the kernel times the ratio does
    the same. The mean cannot be taken over: it would become a bias, and at the border, where the padding is zero in
    either convention, another one. So the new mean is the old one in the new range: (123, 117, 104) / 255 in RGB for
    the released networks, and no other is exact (torchvision's is not).

    The new kernel is computed in float64 and stays so unless the dtype of the other kernels holds it exactly: float32
    times 255 needs 32 bits. ``info.history`` says what was done, and whether it was exact.

    Raises:
        InputError: the present preprocessing is not known, or there is no such convention.
    """
    info = info_of(params)
    if to not in _CONVENTIONS:
        raise InputError(f"--input {to!r}: expected one of {', '.join(_CONVENTIONS)}")
    old = info.preprocessing
    if old is None:
        raise InputError(f"--input {to}: what the network expects now is not known; state its preprocessing")
    channels, scale = _CONVENTIONS[to]
    step = -1 if channels != old.channels else 1
    first, second, third = (m * scale / old.range for m in old.mean[::step])
    new = replace(old, channels=channels, range=scale, mean=(first, second, third), std=(1.0, 1.0, 1.0))
    if new == old:
        return Params(params, info)
    ratios = [Fraction(old.range) / Fraction(scale) / Fraction(std) for std in old.std]
    kernel = params[_FIRST].astype(np.float64)  # (O, 3, K, K)
    scaled, exact = np.empty_like(kernel), True
    for c, ratio in enumerate(ratios):
        scaled[:, c] = _times(kernel[:, c], ratio)
        exact = exact and _exact(kernel[:, c], ratio, scaled[:, c])
    scaled = np.ascontiguousarray(scaled[:, ::step])
    others = {a.dtype for name, a in params.items() if a.ndim == 4 and name != _FIRST} - {np.dtype(np.float64)}
    narrow = scaled.astype(min(others, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64)))
    kept = narrow if np.array_equal(narrow, scaled) else scaled
    done = (
        f"first convolution rewritten from {old.channels.upper()} 0..{old.range:g} to {channels.upper()} 0..{scale:g}, "
        + ("exact" if exact else "rounded to float64")
        + f", kept as {kept.dtype}"
    )
    return Params({**params, _FIRST: kept}, replace(info, preprocessing=new, history=(*info.history, done)))


def _times(values: np.ndarray, ratio: Fraction) -> np.ndarray:
    """One rounding where the ratio is a whole number or the inverse of one."""
    return values / float(1 / ratio) if ratio < 1 else values * float(ratio)


def _exact(values: np.ndarray, ratio: Fraction, scaled: np.ndarray) -> bool:
    """Whether no bit was lost. 24 bits times 29 bits fit into float64's 53."""
    if ratio < 1:
        values, ratio, scaled = scaled, 1 / ratio, values
    fits = ratio.denominator == 1 and ratio.numerator < 2**29
    return fits and np.array_equal(values.astype(np.float32), values) and np.array_equal(values * float(ratio), scaled)
