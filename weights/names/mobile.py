"""What other projects call the modules of MobileNets and EfficientNets: timm, torchvision, keras.applications."""

from collections.abc import Callable, Iterator, Mapping
from re import Match
from string import ascii_lowercase
from typing import Any

from weights.names.dialect import APPLICATIONS_DIALECT, Dialect, Paths, always
from weights.names.frameworks import KERAS
from weights.networks.mobile import MobileSpec, UnitSpec
from weights.networks.models import MODELS
from weights.networks.spec import EPS

_SE = r"stage.*\.se\.fc\d"
_PYTORCH = {"padding": always("symmetric"), "eps": lambda eps: eps if eps == EPS else 1e-5}
_TENSORFLOW = {"padding": always("same"), "eps": always(1e-3)}


def _published(name: str) -> MobileSpec:
    spec = MODELS[name]
    assert isinstance(spec, MobileSpec)
    return spec


def _parts(b: UnitSpec) -> Iterator[tuple[str, str]]:
    """The convolutions of a unit, each with its BatchNorm, in order."""
    convs = ("expand", "depthwise", "project") if b.expands else ("depthwise", "pointwise")
    return ((f"{b.name}.{conv}", f"{b.name}.bn{i}") for i, conv in enumerate(convs, 1))


# timm: https://github.com/huggingface/pytorch-image-models, _efficientnet_blocks.py


def _from_zero(match: Match[str]) -> str:
    """Their stages count from 0."""
    return f"blocks.{int(match[1]) - 1}.{match[2]}"


_TIMM_STAGES: Paths = (
    (r"stage(\d+)\.(\d+)\.depthwise", lambda m: f"{_from_zero(m)}.conv_dw"),
    (r"stage(\d+)\.(\d+)\.project", lambda m: f"{_from_zero(m)}.conv_pwl"),
    (r"stage(\d+)\.(\d+)\.(?:expand|pointwise)", lambda m: f"{_from_zero(m)}.conv_pw"),
    (r"stage(\d+)\.(\d+)\.(bn\d)", lambda m: f"{_from_zero(m)}.{m[3]}"),
    (r"stage(\d+)\.(\d+)\.se\.fc1", lambda m: f"{_from_zero(m)}.se.conv_reduce"),
    (r"stage(\d+)\.(\d+)\.se\.fc2", lambda m: f"{_from_zero(m)}.se.conv_expand"),
)
_TIMM_ENDS = {"stem.conv": "conv_stem", "stem.bn": "bn1", "fc": "classifier"}

TIMM = Dialect(
    "timm",
    "mobile",
    plain=True,
    modules={**_TIMM_ENDS, "top.conv": "conv_head", "top.bn": "bn2"},
    paths=_TIMM_STAGES,
    as_conv=_SE,
    several=True,
)
"""``mobilenetv1_100``, ``mobilenetv2_100``, ``efficientnet_b0``; ``tf_efficientnet_b0`` and others share the names."""


def _timm_v3(stages: int) -> Dialect:
    """The 1x1 convolution before the pooling is one more stage."""
    last = {"top.conv": f"blocks.{stages}.0.conv", "top.bn": f"blocks.{stages}.0.bn1", "hidden.fc": "conv_head"}
    paths = tuple((pattern.replace(r"\d+", f"[1-{stages}]", 1), template) for pattern, template in _TIMM_STAGES)
    return Dialect(
        "timm",
        "mobile",
        plain=True,
        modules={**_TIMM_ENDS, **last},
        paths=paths,
        as_conv=rf"{_SE}|hidden\.fc",
        several=True,
    )


TIMM_V3 = _timm_v3(5), _timm_v3(6)
"""``mobilenetv3_small_100``, ``mobilenetv3_large_100`` and their ``tf_...``."""

# torchvision: models/mobilenetv2.py, mobilenetv3.py, efficientnet.py

_FEATURES = {"stem.conv": "features.0.0", "stem.bn": "features.0.1"}

TORCHVISION_EFFICIENTNET = Dialect(
    "torchvision",
    "mobile",
    modules={**_FEATURES, "top.conv": "features.8.0", "top.bn": "features.8.1", "fc": "classifier.1"},
    paths=(
        (r"stage1\.(\d+)\.depthwise", r"features.1.\1.block.0.0"),
        (r"stage1\.(\d+)\.bn1", r"features.1.\1.block.0.1"),
        (r"stage1\.(\d+)\.se\.(fc\d)", r"features.1.\1.block.1.\2"),
        (r"stage1\.(\d+)\.pointwise", r"features.1.\1.block.2.0"),
        (r"stage1\.(\d+)\.bn2", r"features.1.\1.block.2.1"),
        (r"stage([2-7])\.(\d+)\.expand", r"features.\1.\2.block.0.0"),
        (r"stage([2-7])\.(\d+)\.bn1", r"features.\1.\2.block.0.1"),
        (r"stage([2-7])\.(\d+)\.depthwise", r"features.\1.\2.block.1.0"),
        (r"stage([2-7])\.(\d+)\.bn2", r"features.\1.\2.block.1.1"),
        (r"stage([2-7])\.(\d+)\.se\.(fc\d)", r"features.\1.\2.block.2.\3"),
        (r"stage([2-7])\.(\d+)\.project", r"features.\1.\2.block.3.0"),
        (r"stage([2-7])\.(\d+)\.bn3", r"features.\1.\2.block.3.1"),
    ),
    as_conv=_SE,
    tells=_PYTORCH,
)


def _torchvision_v2() -> Dialect:
    spec = _published("mobilenet-v2")
    names = {**_FEATURES, "fc": "classifier.1"}
    number = 0
    for number, b in enumerate(spec.blocks(), 1):
        *before, (project, bn) = _parts(b)
        for i, (conv, norm) in enumerate(before):
            names |= {conv: f"features.{number}.conv.{i}.0", norm: f"features.{number}.conv.{i}.1"}
        i = len(before)
        names |= {project: f"features.{number}.conv.{i}", bn: f"features.{number}.conv.{i + 1}"}
    names |= {"top.conv": f"features.{number + 1}.0", "top.bn": f"features.{number + 1}.1"}
    return Dialect("torchvision", "mobile", plain=True, modules=names, tells=_PYTORCH)


def _torchvision_v3(name: str) -> Dialect:
    names = {**_FEATURES, "hidden.fc": "classifier.0", "fc": "classifier.3"}
    number = 0
    for number, b in enumerate(_published(name).blocks(), 1):
        block, place = f"features.{number}.block", 0
        for conv, norm in _parts(b):
            names |= {conv: f"{block}.{place}.0", norm: f"{block}.{place}.1"}
            place += 1
            if b.se and conv.endswith(".depthwise"):
                names |= {f"{b.name}.se.{fc}": f"{block}.{place}.{fc}" for fc in ("fc1", "fc2")}
                place += 1
    names |= {"top.conv": f"features.{number + 1}.0", "top.bn": f"features.{number + 1}.1"}
    return Dialect(
        "torchvision", "mobile", plain=True, modules=names, as_conv=_SE, tells={**_PYTORCH, "eps": always(1e-3)}
    )


TORCHVISION_V2 = _torchvision_v2()
TORCHVISION_V3 = _torchvision_v3("mobilenet-v3-large"), _torchvision_v3("mobilenet-v3-small")

STATE_DICTS = TIMM, *TIMM_V3, TORCHVISION_EFFICIENTNET, TORCHVISION_V2, *TORCHVISION_V3
"""Those of the projects in PyTorch; of one name the first that knows all modules of a network is meant."""

# keras.applications: mobilenet.py, mobilenet_v2.py, mobilenet_v3.py, efficientnet.py


def _keras(
    modules: Mapping[str, str],
    as_conv: str = "",
    paths: Paths = (),
    tells: Mapping[str, Callable[[Any], Any]] = _TENSORFLOW,
    prepares: bool = False,
) -> Dialect:
    """Names of the variables, "block1a_dwconv/kernel"."""
    return Dialect(
        APPLICATIONS_DIALECT,
        "mobile",
        modules=modules,
        paths=paths,
        leaves=KERAS.leaves,
        axes=KERAS.axes,
        as_conv=as_conv or None,
        depthwise=r"stage.*\.depthwise",
        separator="/",
        tells=tells,
        plain=True,
        prepares=prepares,
    )


def _block(match: Match[str]) -> str:
    """Their units have letters."""
    return f"block{match[1]}{ascii_lowercase[int(match[2])]}"


KERAS_EFFICIENTNET = _keras(
    {"stem.conv": "stem_conv", "stem.bn": "stem_bn", "top.conv": "top_conv", "top.bn": "top_bn", "fc": "predictions"},
    as_conv=_SE,
    paths=(
        (r"stage(1)\.(1?\d)\.bn1", lambda m: f"{_block(m)}_bn"),
        (r"stage(1)\.(1?\d)\.bn2", lambda m: f"{_block(m)}_project_bn"),
        (r"stage(\d)\.(1?\d)\.expand", lambda m: f"{_block(m)}_expand_conv"),
        (r"stage(\d)\.(1?\d)\.bn1", lambda m: f"{_block(m)}_expand_bn"),
        (r"stage(\d)\.(1?\d)\.depthwise", lambda m: f"{_block(m)}_dwconv"),
        (r"stage(\d)\.(1?\d)\.bn2", lambda m: f"{_block(m)}_bn"),
        (r"stage(\d)\.(1?\d)\.se\.fc1", lambda m: f"{_block(m)}_se_reduce"),
        (r"stage(\d)\.(1?\d)\.se\.fc2", lambda m: f"{_block(m)}_se_expand"),
        (r"stage(\d)\.(1?\d)\.(?:project|pointwise)", lambda m: f"{_block(m)}_project_conv"),
        (r"stage(\d)\.(1?\d)\.bn3", lambda m: f"{_block(m)}_project_bn"),
    ),
    prepares=True,
)
"""``EfficientNetB0`` and its larger relatives."""


_KERAS_PARTS = {"expand": "expand", "depthwise": "depthwise", "project": "project", "pointwise": "project"}


def _keras_v1() -> Dialect:
    names = {"stem.conv": "conv1", "stem.bn": "conv1_bn", "fc": "conv_preds"}
    for i, b in enumerate(_published("mobilenet-v1").blocks(), 1):
        for kind, (conv, bn) in zip(("dw", "pw"), _parts(b), strict=True):
            names |= {conv: f"conv_{kind}_{i}", bn: f"conv_{kind}_{i}_bn"}
    return _keras(names, as_conv="fc", tells={**_TENSORFLOW, "padding": always("even")})


def _keras_v2() -> Dialect:
    names = {"stem.conv": "Conv1", "stem.bn": "bn_Conv1", "top.conv": "Conv_1", "top.bn": "Conv_1_bn"}
    for i, b in enumerate(_published("mobilenet-v2").blocks()):
        for conv, bn in _parts(b):
            name = f"{f'block_{i}' if i else 'expanded_conv'}_{_KERAS_PARTS[conv.rpartition('.')[2]]}"
            names |= {conv: name, bn: f"{name}_BN"}
    return _keras({**names, "fc": "predictions"})


def _keras_v3(model: str) -> Dialect:
    names = {"stem.conv": "conv", "stem.bn": "conv_bn", "top.conv": "conv_1", "top.bn": "conv_1_bn"}
    for i, b in enumerate(_published(model).blocks()):
        block = f"expanded_conv_{i}" if i else "expanded_conv"
        for conv, bn in _parts(b):
            name = f"{block}_{_KERAS_PARTS[conv.rpartition('.')[2]]}"
            names |= {conv: name, bn: f"{name}_bn"}
        if b.se:
            squeeze = f"{block}_squeeze_excite_conv"
            names |= {f"{b.name}.se.fc1": squeeze, f"{b.name}.se.fc2": f"{squeeze}_1"}
    return _keras({**names, "hidden.fc": "conv_2", "fc": "logits"}, as_conv=rf"{_SE}|hidden\.fc|fc")


KERAS_V1 = _keras_v1()
KERAS_V2 = _keras_v2()
KERAS_V3 = _keras_v3("mobilenet-v3-large"), _keras_v3("mobilenet-v3-small")
