"""Makes golden.npz beside it from the outputs of the original Caffe for SE variants, under canonical names.

    python tests/data/variants/make.py FOLDER

FOLDER has <net>/net.caffemodel and golden.npz, as its README describes them. Kept are the logits and, of every layer
that is a node and of every gradient, the first samples and the largest size: "<net>/<tag>/taps_name", "_idx", "_val",
"_max", and the same for "grads".
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights.caffe import file as caffe_file
from weights.caffe.recognise import Match, recognise
from weights.networks.operations import BatchNorm

sys.path.insert(0, str(Path(__file__).parents[2]))
from caffe_variants import INPUTS, VARIANTS

SAMPLES = 2


def main(folder: Path) -> None:
    kept: dict[str, np.ndarray] = {}
    for name in VARIANTS:
        match = recognise(caffe_file.load(folder / name / "net.caffemodel"))
        tap = {layers[-1].name: node for node, layers in match.layers.items()}  # of an Axpy the sum
        of = parameter(match)
        with np.load(folder / name / "golden.npz") as golden:
            for tag in INPUTS:
                kept[f"{name}/{tag}/logits"] = golden[f"{tag}/logits"]
                kept |= samples(golden, f"{tag}/tops", tap, f"{name}/{tag}/taps")
            tag = next(iter(INPUTS))
            kept[f"{name}/{tag}/top_diff"] = golden[f"{tag}/top_diff"]
            kept |= samples(golden, f"{tag}/grads", of, f"{name}/{tag}/grads")
    np.savez_compressed(Path(__file__).parent / "golden.npz", **kept)  # type: ignore[arg-type]  # its stub has no arrays


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
