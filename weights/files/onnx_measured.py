"""What ONNX Runtime computes of models in the making: ranges of values, and how far two models agree."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weights.errors import InputError
from weights.files.onnx_options import onnxruntime_module
from weights.images import prepare
from weights.networks.network import Network
from weights.networks.sizes import check_size, usual_size
from weights.params import Preprocessing
from weights.storage import json_text

if TYPE_CHECKING:
    import onnx_ir as ir

AGREEMENT = "senet.agreement"
"""The key of the metadata under which a comparison is kept."""

WIDE = "senet.float32_nodes"
"""The key of the metadata under which stands which nodes stay float32, and why."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_KEPT = 4  # every so manieth image is for the comparison, not for the ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far the outputs of two models are apart, over some images.

    Attributes:
        images: how many; 0: no photographs, one image of noise.
        largest: the largest difference, of the largest output.
        mean: the mean difference, of the mean output; of absolute values both.
        same: of the images, how many have the same largest output.
    """

    images: int
    largest: float
    mean: float
    same: int

    @classmethod
    def of(cls, strings: Mapping[str, str]) -> "Agreement":
        """The one that a file's metadata hold.

        Raises:
            InputError: they are damaged.
        """
        try:
            return cls(**json_text.parse(strings[AGREEMENT], constants=True))
        except (InputError, KeyError, TypeError) as error:
            raise InputError(f"its metadata is damaged: {AGREEMENT}: {error}") from None

    def encoded(self) -> dict[str, str]:
        """As an entry of the metadata."""
        return {AGREEMENT: json.dumps({key: _short(value) for key, value in asdict(self).items()})}

    def __str__(self) -> str:
        """In one line."""
        apart = f"outputs at most {self.largest:.2g} apart (of the largest), {self.mean:.2g} in the mean"
        if not self.images:
            return f"{apart}, on one image of noise"
        return f"{apart}; the same class for {self.same} of {self.images} photographs that were kept for this"


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.3g}")


def kept_wide(strings: Mapping[str, str]) -> dict[str, str]:
    """The nodes that stay float32, with the reason, by a file's metadata.

    Raises:
        InputError: they are damaged.
    """
    found = json_text.parse(strings.get(WIDE, "{}"))
    if not isinstance(found, dict):
        raise InputError(f"its metadata is damaged: {WIDE} is no object")
    return found


class Session:
    """A model in ONNX Runtime, on the processor."""

    def __init__(self, made: "ir.Model"):
        import onnx_ir as ir

        runtime = onnxruntime_module()
        settings = runtime.SessionOptions()
        settings.log_severity_level = 3
        data = ir.to_proto(made).SerializeToString()
        self._session: Any = runtime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        """All outputs, by name."""
        return dict(zip(self._names, self._session.run(None, {"data": image}), strict=True))

    def last(self, image: np.ndarray) -> np.ndarray:
        """The last output."""
        return self(image)[self._names[-1]]


def agreement(one: Session, other: Session, images: Sequence[np.ndarray], photographs: bool) -> Agreement:
    """How far the last outputs of two models are apart, of that of ``one``."""
    pairs = [(one.last(image).ravel(), other.last(image).ravel()) for image in images]
    a, b = (np.stack(side).astype(np.float64) for side in zip(*pairs, strict=True))
    return Agreement(
        images=len(images) if photographs else 0,
        largest=float(np.abs(a - b).max() / np.abs(a).max()),
        mean=float(np.abs(a - b).mean() / np.abs(a).mean()),
        same=int((a.argmax(1) == b.argmax(1)).sum()),
    )


def files(images: Sequence[str | PathLike[str]]) -> tuple[Path, ...]:
    """Files of photographs: those named, and those in folders that are named.

    Raises:
        InputError: a folder has none.
    """
    found: list[Path] = []
    for path in map(Path, images):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: has no photographs; those read end in {', '.join(_SUFFIXES)}")
        found += inside
    return tuple(dict.fromkeys(found))


def inputs(
    network: Network,
    preprocessing: Preprocessing | None,
    images: Sequence[str | PathLike[str]],
    size: tuple[int, int] | None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What to measure with, and what to compare with, each (1, C, H, W), float32.

    Of photographs a quarter is for the comparison, at least one; without any, both are the same noise.

    Raises:
        InputError: of photographs that the network does not take, of one alone, or if nobody knows how to prepare them.
    """
    if not images:
        return (noise := [_noise(network, preprocessing, size)]), noise
    paths = files(images)
    if preprocessing is None:
        raise InputError(f"how images are prepared for {network.name} is not known; state it (--preprocessing)")
    if network.in_channels != 3:
        raise InputError(
            f"{network.name} takes {network.in_channels} channels, a photograph has 3; leave out the images"
        )
    if len(paths) == 1:
        raise InputError(f"{paths[0]}: is one photograph; two are needed, one to measure and one to compare with")
    at = size or (preprocessing.crop, preprocessing.crop)
    check_size(network, *at)
    arrays = [prepare(path, preprocessing, at).astype(np.float32) for path in paths]
    kept = [i for i in range(len(arrays)) if i % _KEPT == 1]
    return [a for i, a in enumerate(arrays) if i not in kept], [arrays[i] for i in kept]


def _noise(network: Network, preprocessing: Preprocessing | None, size: tuple[int, int] | None) -> np.ndarray:
    """Pixels of any value, prepared as photographs are; where nobody knows how, minus Caffe's usual mean."""
    shape = (1, network.in_channels, *(size or usual_size(network)))
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float64)
    if preprocessing is None or network.in_channels != 3:
        return (pixels - 128).astype(np.float32)
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (preprocessing.mean, preprocessing.std))
    return ((pixels * preprocessing.range / 255 - mean) / std).astype(np.float32)
