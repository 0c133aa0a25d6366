"""What other projects call the modules of ShuffleNet V1."""

from re import Match

from weights.names.dialect import Dialect, always

_LAYERS = {"1": "compress_{}1", "2": "dw_{}2", "3": "expand_{}3"}


def _layer(match: Match[str]) -> str:
    """Units are counted from 1, and layers have the names of what they do."""
    stage, i, kind, number = match.groups()
    return f"features.stage{stage}.unit{int(i) + 1}.{_LAYERS[number].format(kind)}"


PYTORCHCV = Dialect(
    "pytorchcv",
    "shufflenet",
    paths=(
        (r"stem\.(\w+)", r"features.init_block.\1"),
        (r"stage(\d+)\.(\d+)\.(conv|bn)([123])", _layer),
        (r"fc", r"output"),
    ),
    excited=False,
    plain=True,
    tells={"stem_pool": always("torchvision"), "concatenation": always("branch-first")},
)
"""pytorchcv's ``shufflenet_g*_w*``: without SE blocks, eps is 1e-5."""
