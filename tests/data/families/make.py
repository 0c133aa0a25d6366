"""Takes from the small nets of the original Caffe what the tests of the families keep: one file for each net.

    python tests/data/families/make.py FOLDER NAME...

FOLDER has <name>/net.caffemodel and golden.npz, as its README describes them. Kept are the bytes of the
"caffemodel", the "tags" of the inputs and, for every tag, the input ("data"), the logits and, of every
layer that is a node, the first samples and the largest size: "<tag>/taps_name", "_idx", "_val", "_max". Of the
first tag also "top_diff", the gradient of the logits, and "grads" in the manner of the taps.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights.caffe import file as caffe_file
from weights.caffe.recognise import Match, recognise
from weights.networks.operations import BatchNorm

HERE = Path(__file__).parent
SAMPLES = 2
Arrays = dict[str, np.ndarray]


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        file = folder / name / "net.caffemodel"
        match = recognise(caffe_file.load(file))
        tap = {layers[-1].name: node for node, layers in match.layers.items() if layers}
        of = parameters(match)
        kept: Arrays = {"caffemodel": np.frombuffer(file.read_bytes(), np.uint8)}
        with np.load(folder / name / "golden.npz") as golden:
            tags = [key.removesuffix("/logits") for key in golden.files if key.endswith("/logits")]
            kept["tags"] = np.array(tags)
            for tag in tags:
                kept[f"{tag}/data"] = golden[f"data_{tag}"].astype(np.int16)
                kept[f"{tag}/logits"] = golden[f"{tag}/logits"]
                kept |= samples(golden, f"{tag}/tops", tap, f"{tag}/taps")
            kept[f"{tags[0]}/top_diff"] = golden[f"{tags[0]}/top_diff"]
            kept |= samples(golden, f"{tags[0]}/grads", of, f"{tags[0]}/grads")
        np.savez_compressed(HERE / f"{name}.npz", **kept)  # type: ignore[arg-type]  # its stub has no arrays


def samples(golden: Mapping[str, np.ndarray], source: str, names: Mapping[str, str], target: str) -> Arrays:
    """The rows of a table that have a canonical name."""
    found = [names.get(str(name), "") for name in golden[f"{source}_name"]]
    rows = [i for i, name in enumerate(found) if name]
    return {
        f"{target}_name": np.array([found[i] for i in rows]),
        f"{target}_idx": golden[f"{source}_idx"][rows, :SAMPLES],
        f"{target}_val": golden[f"{source}_val"][rows, :SAMPLES],
        f"{target}_max": golden[f"{source}_stat"][rows, 2],
    }


def parameters(match: Match) -> dict[str, str]:
    """The canonical names of Caffe's blobs that have gradients, by layer and number."""
    found = {"data": "data"}
    for node in match.network.nodes:
        layer = match.layers[node.name][-1]
        if node.op.kind and (not isinstance(node.op, BatchNorm) or layer.type == "Scale"):
            found |= {f"{layer.name}|{i}": f"{node.module}.{leaf}" for i, leaf in enumerate(("weight", "bias"))}
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
