"""Takes from the outputs of other people's implementations what the tests keep.

    python tests/data/peers/make.py FOLDER NAME...

FOLDER has <name>.npz, as its README describes them. Kept are "weights_seed" and "gain" of the weights and, for every
input, whose "tags" are listed, "<tag>/n", "<tag>/input_seed", "<tag>/logits" and of every tap a few samples:
"<tag>/taps_name", "_idx", "_val", and "_max", its largest absolute value.
"""

import sys
from pathlib import Path

import numpy as np

SAMPLES = 2


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        with np.load(folder / f"{name}.npz") as golden:
            tags = [key.removesuffix("/n") for key in golden.files if key.endswith("/n")]
            kept = {key: golden[key] for key in ("weights_seed", "gain")} | {"tags": np.array(tags)}
            for tag in tags:
                kept |= {f"{tag}/{key}": golden[f"{tag}/{key}"] for key in ("n", "input_seed", "logits", "taps_name")}
                kept |= {f"{tag}/taps_{key}": golden[f"{tag}/taps_{key}"][:, :SAMPLES] for key in ("idx", "val")}
                kept[f"{tag}/taps_max"] = golden[f"{tag}/taps_stat"][:, 2]
        np.savez_compressed(Path(__file__).parent / f"{name}.npz", **kept)  # type: ignore[arg-type]  # its stub has no arrays


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
