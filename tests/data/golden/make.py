"""Makes the files beside it from the outputs of the original Caffe: the same numbers under canonical names.

    python tests/data/golden/make.py FOLDER

FOLDER has tiny/<net>/golden.npz and golden_train.npz and full/<net>.npz, as its README describes them. Kept are the
layers that are nodes of the graph; "/taps_name", "_idx", "_val", "_stat" (mean, mean abs, max abs, l2 norm), whole tops
as "/tap/<node>", gradients in the same two forms, inputs (or their seeds), and BatchNorm's blobs after a training step.
"""

import sys
from pathlib import Path

import numpy as np

from conformance.cases import TINY
from weights import MODELS, Spec
from weights.caffe.layers import layer_of, layers

FULL = {"se-resnet-50": "SE-ResNet-50", "se-resnext-50": "SE-ResNeXt-50"}


def main(folder: Path) -> None:
    here = Path(__file__).parent
    for name, spec in TINY.items():
        source = folder / "tiny" / name / "golden.npz"
        if source.exists():
            save(here / f"{name}.npz", spec, source)
        if (source := source.with_name("golden_train.npz")).exists():
            save(here / f"{name}.train.npz", spec, source)
    for name, published in FULL.items():
        save(here / f"{name}.npz", MODELS[name], folder / "full" / f"{published}.npz")


def save(target: Path, spec: Spec, source: Path) -> None:
    node = {layer: name for name, layer in layer_of(spec).items()}
    parameter, statistic = names(spec)
    kept: dict[str, np.ndarray] = {}
    with np.load(source) as golden:
        for key, value in golden.items():
            tag, _, rest = key.partition("/")
            kind, _, layer = rest.partition("/")
            if kind == "top" and layer in node:
                kept[f"{tag}/tap/{node[layer]}"] = value
            elif kind == "grad":
                kept[f"{tag}/grad/{parameter[layer.rsplit('/', 1)[0], int(layer[-1])] if '/' in layer else layer}"] = (
                    value
                )
            elif kind == "bn_after":
                kept[f"{tag}/bn_after/{statistic[layer.rsplit('/', 1)[0]]}/{layer[-1]}"] = value
            elif kind == "tops_name":
                rows = [i for i, name in enumerate(value) if name in node]
                kept[f"{tag}/taps_name"] = np.array([node[value[i]] for i in rows])
                for column in ("idx", "val", "stat"):
                    kept[f"{tag}/taps_{column}"] = golden[f"{tag}/tops_{column}"][rows]
            elif kind == "grads_name":
                found = [canonical(name, parameter) for name in value]
                rows = [i for i, name in enumerate(found) if name]  # BatchNorm's own blobs have none
                kept[f"{tag}/grads_name"] = np.array([found[i] for i in rows])
                for column in ("idx", "val", "stat"):
                    kept[f"{tag}/grads_{column}"] = golden[f"{tag}/grads_{column}"][rows]
            elif not kind.startswith(("tops", "grads", "top", "prob")) or kind == "top_diff":
                kept[key] = value
    np.savez_compressed(target, **kept)  # type: ignore[arg-type]


def names(spec: Spec) -> tuple[dict[tuple[str, int], str], dict[str, str]]:
    """Caffe's blobs that have gradients, and its BatchNorm layers, by canonical name."""
    parameter: dict[tuple[str, int], str] = {}
    statistic: dict[str, str] = {}
    for definition in layers(spec):
        layer, at = definition.layer, definition.node
        if at and layer.type == "BatchNorm":
            statistic[layer.name] = at.module
        elif at:
            parameter |= {(layer.name, i): f"{at.module}.{leaf}" for i, leaf in enumerate(("weight", "bias"))}
    return parameter, statistic


def canonical(name: str, parameter: dict[tuple[str, int], str]) -> str:
    layer, _, i = name.partition("|")
    return parameter.get((layer, int(i)), "") if i else name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
