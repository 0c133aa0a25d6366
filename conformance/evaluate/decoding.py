"""Photographs prepared in threads while a framework computes, a bounded number of them ahead."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from weights.errors import InputError
from weights.images import prepare
from weights.params import Preprocessing

_AHEAD = 2  # batches


def decoded(
    batches: Iterable[Sequence[Path | bytes]], preprocessing: Preprocessing, max_pixels: int | None = None
) -> Generator[list[np.ndarray | InputError]]:
    """Prepares photographs, batch after batch; the next ones are in the making while the caller is at one.

    Pillow lets other threads run while it decodes and resizes, so that every core is used.

    Args:
        batches: files, or the bytes of some.
        preprocessing, max_pixels: as of ``weights.images.prepare``.

    Yields:
        For each batch, in its order, (C, H, W) in float32, or the error of a photograph that cannot be prepared.
    """

    def one(photo: Path | bytes) -> np.ndarray | InputError:
        try:
            return prepare(photo, preprocessing, max_pixels=max_pixels)[0].astype(np.float32)
        except InputError as error:
            return error

    left = iter(batches)
    ahead: deque[list[Future[np.ndarray | InputError]]] = deque()
    pool = ThreadPoolExecutor(_cores())
    try:
        while True:
            while len(ahead) <= _AHEAD and (batch := next(left, None)) is not None:
                ahead.append([pool.submit(one, photo) for photo in batch])
            if not ahead:
                return
            yield [future.result() for future in ahead.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
