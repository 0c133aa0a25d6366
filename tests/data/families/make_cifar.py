"""Makes <net>.npz beside it from the outputs of the original Caffe for small CIFAR networks, under canonical names.

    python tests/data/families/make_cifar.py FOLDER

FOLDER has <net>/net.caffemodel, net.prototxt and golden.npz, as its README describes them. Kept are "prototxt" and, by
tag of the input, "<tag>/logits" and of every layer that is a node a few samples and the largest size:
"<tag>/taps_name", "_idx", "_val", "_max"; of the first input "<tag>/top_diff" and the gradients, the same for "grads".
The weights are drawn by the tests; here they are held against those of the file.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights import read
from weights.caffe import file as caffe_file
from weights.caffe.recognise import Match, recognise
from weights.networks.operations import BatchNorm, Shift

sys.path.insert(0, str(Path(__file__).parents[2]))
from families.cifar import CAFFES, INPUTS, params

SAMPLES = 2


def main(folder: Path) -> None:
    for name in CAFFES:
        source = folder / name / "net.caffemodel"
        _, held = read(source)
        drawn = params(name)
        if held.keys() != drawn.keys() or not all(np.array_equal(held[key], drawn[key]) for key in held):
            raise SystemExit(f"{source}: other weights than the tests draw")
        match = recognise(caffe_file.load(source))
        definition = (folder / name / "net.prototxt").read_bytes()
        kept: dict[str, np.ndarray] = {"prototxt": np.frombuffer(definition, np.uint8)}
        first = next(iter(INPUTS))
        with np.load(folder / name / "golden.npz") as golden:
            for tag in INPUTS:
                kept[f"{tag}/logits"] = golden[f"{tag}/logits"]
                kept |= samples(golden, f"{tag}/tops", taps(match), f"{tag}/taps")
            kept[f"{first}/top_diff"] = golden[f"{first}/top_diff"]
            kept |= samples(golden, f"{first}/grads", parameter(match), f"{first}/grads")
        np.savez_compressed(Path(__file__).parent / f"{name}.npz", **kept)  # type: ignore[arg-type]  # its stub has no arrays


def samples(
    golden: Mapping[str, np.ndarray], source: str, names: Mapping[str, str], target: str
) -> dict[str, np.ndarray]:
    """The rows of a table that have a canonical name."""
    found = [names.get(str(name), "") for name in golden[f"{source}_name"]]
    rows = [i for i, name in enumerate(found) if name]
    return {
        f"{target}_name": np.array([found[i] for i in rows]),
        f"{target}_idx": golden[f"{source}_idx"][rows, :SAMPLES],
        f"{target}_val": golden[f"{source}_val"][rows, :SAMPLES],
        f"{target}_max": golden[f"{source}_stat"][rows, 2],
    }


def taps(match: Match) -> dict[str, str]:
    """The layers whose tops are nodes' outputs; a Crop's is that of the convolution before it, which moves the map."""
    found: dict[str, str] = {}
    for node in match.network.nodes:
        (moved,) = match.network.readers[node.name] if isinstance(node.op, Shift) else (node,)
        found.setdefault(match.layers[node.name][-1].name, moved.name)
        if moved is not node:
            found[match.layers[moved.name][-1].name] = ""
    return found | {layers[-1].name: node for node, layers in match.layers.items() if layers[-1].type == "Axpy"}


def parameter(match: Match) -> dict[str, str]:
    """Caffe's blobs that have gradients, by canonical name."""
    found = {"data": "data"}
    for node in match.network.nodes:
        layer = match.layers[node.name][-1]
        if not isinstance(node.op, BatchNorm) or layer.type == "Scale":
            found |= {f"{layer.name}|{i}": f"{node.module}.{leaf}" for i, leaf in enumerate(("weight", "bias"))}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
