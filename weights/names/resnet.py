"""What other projects call the modules of residual networks with SE blocks."""

from dataclasses import replace

from weights.names.dialect import Dialect

TIMM = Dialect(
    "timm",
    paths=(
        (r"stem\.(\w+)", r"layer0.\1"),
        (r"stage(\d+)\.(\d+)\.shortcut\.conv", r"layer\1.\2.downsample.0"),
        (r"stage(\d+)\.(\d+)\.shortcut\.bn", r"layer\1.\2.downsample.1"),
        (r"stage(\d+)\.(\d+)\.se\.(\w+)", r"layer\1.\2.se_module.\3"),
        (r"stage(\d+)\.(\d+)\.(\w+)", r"layer\1.\2.\3"),
        (r"fc", r"last_linear"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
    only_se=True,  # plain networks are other ones there
)
"""timm's ``legacy_seresnet*``, ``legacy_seresnext*`` and ``legacy_senet154``: the geometry is Caffe's, eps is 1e-5."""

CADENE = replace(TIMM, name="cadene")
"""``se_resnet*``, ``se_resnext*`` and ``senet154`` of Cadene's pretrainedmodels, which timm took over."""
