"""What pytorchcv calls the modules of pre-activation residual networks."""

from weights.names.dialect import Dialect


def _later(stage: int, unit: int, module: str, template: str) -> tuple[str, str]:
    """Here stages count from 1 and units from 0, there both from 1."""
    return rf"stage{stage}\.{unit}\.{module}", f"features.stage{stage}.unit{unit + 1}.{template}"


_UNITS = tuple(
    _later(stage, unit, module, template)
    for stage in (1, 2, 3)
    for unit in range(18)
    for module, template in (
        (r"(conv|bn)(\d)", r"body.conv\2.\1"),
        (r"se\.fc(\d)", r"se.conv\1"),
        (r"shortcut", "identity_conv"),
    )
)

PYTORCHCV = Dialect(
    "pytorchcv",
    paths=(
        ("stem", "features.init_block"),
        *_UNITS,
        ("bn", "features.post_activ.bn"),
        ("fc", "output"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
)
"""``preresnet*_cifar`` and ``wrn*_cifar`` of up to 18 units in a stage, with SE blocks as of ``SEPreResUnit``."""
