"""What other projects call the modules of residual networks, which in timm and torchvision tells their geometry."""

from dataclasses import replace

from weights.names.dialect import Dialect, always, instead

TIMM = Dialect(
    "timm",
    "resnet",
    paths=(
        (r"stem\.(\w+)", r"layer0.\1"),
        (r"stage(\d+)\.(\d+)\.shortcut\.conv", r"layer\1.\2.downsample.0"),
        (r"stage(\d+)\.(\d+)\.shortcut\.bn", r"layer\1.\2.downsample.1"),
        (r"stage(\d+)\.(\d+)\.se\.(\w+)", r"layer\1.\2.se_module.\3"),
        (r"stage(\d+)\.(\d+)\.(\w+)", r"layer\1.\2.\3"),
        (r"fc", r"last_linear"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
    tells={"stem_pool": always("caffe"), "unit": instead({"basic": "basic-relu"})},
)
"""timm's ``legacy_seresnet*``, ``legacy_seresnext*`` and ``legacy_senet154``: the geometry is Caffe's, eps is 1e-5.

Basic units have a ReLU in front of their SE block, which those of He et al. have not.
"""

CADENE = replace(TIMM, name="cadene")
"""``se_resnet*``, ``se_resnext*`` and ``senet154`` of Cadene's pretrainedmodels, which timm took over."""

TIMM_RESNET = Dialect(
    "timm",
    "resnet",
    paths=(
        (r"stem\.(conv1|bn1)", r"\1"),
        (r"stage(\d+)\.(\d+)\.shortcut\.conv", r"layer\1.\2.downsample.0"),
        (r"stage(\d+)\.(\d+)\.shortcut\.bn", r"layer\1.\2.downsample.1"),
        (r"stage(\d+)\.(\d+)\.(.+)", r"layer\1.\2.\3"),
        (r"fc", r"fc"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
    plain=True,
    tells={
        "stem_pool": always("torchvision"),
        "unit": instead({"basic-relu": "basic"}),
        "stride_on_3x3": always(value=True),
    },
    first=7,
    anchor="layer1.0.conv1.weight",
)
"""timm's ``resnet*``, ``resnext*``, ``seresnet*`` and ``seresnext*``: the geometry is torchvision's.

Its networks of further designs that have the same tensors (means in place of strides, other stems) share the names; so
do everybody's ResNets for small images, whose first convolution is of 3x3.
"""

TORCHVISION = replace(TIMM_RESNET, name="torchvision", excited=False)
"""torchvision's ``resnet*`` and ``resnext*``, from which timm has its names; there are none with SE blocks."""

MOSKOMULE = replace(
    TIMM_RESNET,
    name="moskomule",
    paths=(
        (r"stage(\d+)\.(\d+)\.se\.fc1", r"layer\1.\2.se.fc.0"),
        (r"stage(\d+)\.(\d+)\.se\.fc2", r"layer\1.\2.se.fc.2"),
        *TIMM_RESNET.paths,
    ),
    as_conv=None,
    plain=False,
    several=True,  # of others who copied the block
)
"""``se_resnet*`` of https://github.com/moskomule/senet.pytorch: torchvision's ResNets with the SE block that is copied
most, two matrices in an ``nn.Sequential``; there they have no biases."""
