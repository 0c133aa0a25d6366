"""bfloat16, which NumPy does not have: a float32 without its last 16 bits."""

import numpy as np


def widened(halves: np.ndarray) -> np.ndarray:
    """The float32 numbers (exact) of bfloat16 numbers that are given as the uint16 of their bits; any shape."""
    return (halves.astype("<u4") << 16).view("<f4")


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
