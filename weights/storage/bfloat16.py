"""bfloat16, which NumPy does not have: a float32 without its last 16 bits."""

import numpy as np

DTYPE = np.dtype([("bfloat16", "<u2")])
"""What numbers in bfloat16 are views of a file as, until they are ``plain``."""


def plain(array: np.ndarray) -> np.ndarray:
    """The float32 numbers (exact) of bfloat16 numbers of ``DTYPE`` in either byte order; other arrays as they are."""
    if array.dtype.names != DTYPE.names:
        return array
    wide = array["bfloat16"].astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def rounded(numbers: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 numbers, as float32; halfway to the even one, as frameworks round. Any shape.

    Args:
        numbers: are rounded to float32 first where they are wider.
    """
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(numbers, np.float32)
    bits = single.view(np.uint32)
    up = bits + (0x7FFF + (bits >> 16 & 1))  # beyond the largest number this is infinity
    return np.where(np.isnan(single), single, (up & 0xFFFF0000).astype(np.uint32).view(np.float32))
