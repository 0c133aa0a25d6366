"""Another kind of input for the same network: the first convolution takes over channel order, range and std."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np

from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec
from weights.params import Params, info_of

Convention = Literal["rgb01", "bgr255"]
_CONVENTIONS = {"rgb01": ("rgb", 1.0), "bgr255": ("bgr", 255.0)}


def rewrite(of: Network | Spec, params: Mapping[str, np.ndarray], to: Convention) -> Params:
    """The same network for another kind of input: the first convolution takes over channel order, range and std.

    With x the old input and y the new one, x = y * ratio, channel by channel, so that the kernel times the ratio does
    the same. The mean cannot be taken over: it would become a bias, and at the border, where the padding is zero in
    either convention, another one. So the new mean is the old one in the new range: (123, 117, 104) / 255 in RGB for
    the released networks, and no other is exact (torchvision's is not).

    The new kernel is computed in float64 and stays so unless the dtype of the other kernels holds it exactly: float32
    times 255 needs 32 bits. ``info.history`` says what was done, and whether it was exact.

    Args:
        of: the network, which says where its first convolution is.
        params: its parameters, by canonical name.
        to: "rgb01" (RGB 0..1) or "bgr255" (BGR 0..255, as Caffe's).

    Raises:
        InputError: the present preprocessing is not known, or there is no such convention.
    """
    info, first = info_of(params), f"{as_network(of).first_convolution.module}.weight"
    if to not in _CONVENTIONS:
        raise InputError(f"--input {to!r}: expected one of {', '.join(_CONVENTIONS)}")
    if as_network(of).in_channels != 3:
        raise InputError(f"--input {to}: the network takes images of {as_network(of).in_channels} channels, expected 3")
    old = info.preprocessing
    if old is None:
        raise InputError(f"--input {to}: what the network expects now is not known; state its preprocessing")
    channels, scale = _CONVENTIONS[to]
    step = -1 if channels != old.channels else 1
    m1, m2, m3 = (m * scale / old.range for m in old.mean[::step])
    new = replace(old, channels=channels, range=scale, mean=(m1, m2, m3), std=(1.0, 1.0, 1.0))
    if new == old:
        return Params(params, info)
    ratios = [Fraction(old.range) / Fraction(scale) / Fraction(std) for std in old.std]
    kernel = params[first].astype(np.float64)  # (O, 3, K, K)
    scaled, exact = np.empty_like(kernel), True
    for c, ratio in enumerate(ratios):
        scaled[:, c] = _times(kernel[:, c], ratio)
        exact = exact and _exact(kernel[:, c], ratio, scaled[:, c])
    scaled = np.ascontiguousarray(scaled[:, ::step])
    others = {a.dtype for name, a in params.items() if a.ndim == 4 and name != first} - {np.dtype(np.float64)}
    narrow = scaled.astype(min(others, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float64)))
    kept = narrow if np.array_equal(narrow, scaled) else scaled
    done = (
        f"first convolution rewritten from {old.channels.upper()} 0..{old.range:g} to {channels.upper()} 0..{scale:g}, "
        + ("exact" if exact else "rounded to float64")
        + f", kept as {kept.dtype}"
    )
    return Params({**params, first: kept}, replace(info, preprocessing=new, history=(*info.history, done)))


def _times(values: np.ndarray, ratio: Fraction) -> np.ndarray:
    """One rounding where the ratio is a whole number or the inverse of one."""
    return values / float(1 / ratio) if ratio < 1 else values * float(ratio)


def _exact(values: np.ndarray, ratio: Fraction, scaled: np.ndarray) -> bool:
    """Whether no bit was lost. 24 bits times 29 bits fit into float64's 53."""
    if ratio < 1:
        values, ratio, scaled = scaled, 1 / ratio, values
    fits = ratio.denominator == 1 and ratio.numerator < 2**29
    return fits and np.array_equal(values.astype(np.float32), values) and np.array_equal(values * float(ratio), scaled)
