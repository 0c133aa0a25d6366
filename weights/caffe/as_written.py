"""What Caffe adds to a definition when it writes a network: Split layers, phases, which blobs are not learned."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from weights.caffe.net import Layer


def as_written(definition: Iterable[Layer]) -> list[Layer]:
    """The layers as Caffe's Net<Dtype>::ToProto writes them after reading a definition in the TEST phase.

    Every blob with several readers gets a Split layer, whose tops they read; every layer states its phase; BatchNorm
    layers state that their three blobs are not learned.
    """
    plain = list(definition)
    maker: dict[str, tuple[int, int]] = {}  # blob -> the last layer that wrote it, and which top
    reads: list[list[tuple[int, int]]] = []
    readers: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(plain):
        reads.append([maker[blob] for blob in layer.bottoms])
        readers.update(reads[-1])
        maker |= {blob: (i, j) for j, blob in enumerate(layer.tops)}
    written, seen = [], Counter()
    for i, layer in enumerate(plain):
        bottoms = []
        for blob, made in zip(layer.bottoms, reads[i], strict=True):
            if readers[made] > 1:
                bottoms.append(f"{_split(blob, plain[made[0]].name, made[1])}_{seen[made]}")
                seen[made] += 1
            else:
                bottoms.append(blob)
        frozen = {"param": [{"lr_mult": 0.0}] * 3} if layer.type == "BatchNorm" else {}
        settings = frozen | {"phase": "TEST"} | dict(layer.settings)
        written.append(replace(layer, bottoms=tuple(bottoms), settings=settings))
        for j, blob in enumerate(layer.tops):
            if readers[i, j] > 1:
                name = _split(blob, layer.name, j)
                tops = tuple(f"{name}_{k}" for k in range(readers[i, j]))
                written.append(Layer(name, "Split", (blob,), tops, {"phase": "TEST"}, ()))
    return written


def _split(blob: str, layer: str, top: int) -> str:
    return f"{blob}_{layer}_{top}_split"
