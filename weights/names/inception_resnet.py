"""What other projects call the modules of Inception-ResNet-v2. None of them has SE blocks."""

from collections.abc import Iterator
from dataclasses import replace

from weights.names.dialect import APPLICATIONS_DIALECT, Dialect
from weights.names.frameworks import KERAS
from weights.networks.inception_resnet import PUBLISHED, ConvSpec, ModuleSpec, UnitSpec

_BLOCKS = tuple(next(spec for spec in PUBLISHED if not spec.se).blocks())
_STEM = ("1a", "2a", "2b", "3b", "4a")
_MODULES = ("mixed_5b", "mixed_6a", "mixed_7a")
_UNITS = ("repeat", "repeat_1", "repeat_2")


def _place(name: str) -> tuple[int, int]:
    """Stage, from 1, and number in it of a unit."""
    stage, _, i = name.removeprefix("stage").partition(".")
    return int(stage), int(i)


def _timm() -> Iterator[tuple[str, str]]:
    """Without the leaves "conv" and "bn"."""
    stem = iter(_STEM)
    last = [block.name for block in _BLOCKS if isinstance(block, UnitSpec)][-1]
    for block in _BLOCKS:
        match block:
            case ConvSpec(name="end"):
                yield block.name, "conv2d_7b"
            case ConvSpec():
                yield block.name, f"conv2d_{next(stem)}"
            case ModuleSpec() | UnitSpec():
                if isinstance(block, UnitSpec):
                    stage, i = _place(block.name)
                    path = "block8" if block.name == last else f"{_UNITS[stage - 1]}.{i}"
                else:
                    path = _MODULES[int(block.name[-1]) - 1]
                    if block.project:
                        yield block.project.name, f"{path}.branch{len(block.branches)}.1"
                for b, branch in enumerate(block.branches):
                    for i, layer in enumerate(branch):
                        yield layer.name, f"{path}.branch{b}" + (f".{i}" if len(branch) > 1 else "")
            case _:
                pass  # a pooling has no parameters


def _pytorchcv() -> Iterator[tuple[str, str]]:
    """Without the leaves "conv" and "bn"."""
    for block in _BLOCKS:
        match block:
            case ConvSpec(name="end"):
                yield block.name, "features.final_conv"
            case ConvSpec():
                yield block.name, f"features.init_block.conv{block.name.removeprefix('stem')}"
            case ModuleSpec() | UnitSpec():
                if isinstance(block, UnitSpec):
                    path = _pytorchcv_unit(block)
                elif block.project:
                    path = "features.init_block.block"
                    yield block.project.name, f"{path}.branches.branch{len(block.branches) + 1}.conv"
                else:
                    path = f"features.stage{block.name[-1]}.unit1"
                for b, branch in enumerate(block.branches, 1):
                    # In the modules of stride 2 a convolution alone is in a list too.
                    listed = len(branch) > 1 or (isinstance(block, ModuleSpec) and block.stride > 1)
                    for i, layer in enumerate(branch, 1):
                        yield layer.name, f"{path}.branches.branch{b}." + (f"conv_list.conv{i}" if listed else "conv")
            case _:
                pass


def _pytorchcv_unit(block: UnitSpec) -> str:
    """The first unit of the later stages is the module of stride 2."""
    stage, i = _place(block.name)
    return f"features.stage{stage}.unit{i + (1 if stage == 1 else 2)}"


def _leaves(names: Iterator[tuple[str, str]], unit: dict[str, str], fc: str) -> dict[str, str]:
    """The names of all modules, from those of the convolutions with BatchNorm, of the units and of the classifier."""
    found = {f"{name}.{leaf}": f"{path}.{leaf}" for name, path in names for leaf in ("conv", "bn")}
    return found | unit | {"fc": fc}


_TIMM = dict(_timm())

TIMM = Dialect(
    "timm",
    "inception-resnet",
    excited=False,
    plain=True,
    modules=_leaves(
        _timm(),
        {
            f"{block.name}.conv": f"{_TIMM[f'{block.name}.branch0.0'].removesuffix('.branch0')}.conv2d"
            for block in _BLOCKS
            if isinstance(block, UnitSpec)
        },
        "classif",
    ),
)
"""``inception_resnet_v2``; Cadene's ``inceptionresnetv2`` calls the classifier "last_linear"."""

PYTORCHCV = Dialect(
    "pytorchcv",
    "inception-resnet",
    excited=False,
    plain=True,
    modules=_leaves(
        _pytorchcv(),
        {f"{block.name}.conv": f"{_pytorchcv_unit(block)}.conv" for block in _BLOCKS if isinstance(block, UnitSpec)},
        "output.fc",
    ),
)
"""``inceptionresnetv2``."""


def _keras() -> Iterator[tuple[str, str]]:
    """Layers without names are counted in the order in which they are made."""
    units = ("block35", "block17", "block8")
    made: list[ConvSpec] = []
    for block in _BLOCKS:
        match block:
            case ConvSpec(name="end"):
                yield "end.conv", "conv_7b"
                yield "end.bn", "conv_7b_bn"
            case ConvSpec():
                made.append(block)
            case ModuleSpec():
                made += [layer for branch in block.branches for layer in branch]
                made += [block.project] if block.project else []
            case UnitSpec():
                made += [layer for branch in block.branches for layer in branch]
                stage, i = _place(block.name)
                yield f"{block.name}.conv", f"{units[stage - 1]}_{i + 1}_conv"
            case _:
                pass
    for i, layer in enumerate(made):
        number = f"_{i}" if i else ""
        yield f"{layer.name}.conv", f"conv2d{number}"
        yield f"{layer.name}.bn", f"batch_normalization{number}"
    yield "fc", "predictions"


KERAS_APPLICATIONS = replace(
    KERAS,
    name=APPLICATIONS_DIALECT,
    family="inception-resnet",
    excited=False,
    plain=True,
    separator="/",
    modules=dict(_keras()),
    scaled=False,
)
"""``InceptionResNetV2``, in a session that made no layers before. Its BatchNorms have no gamma."""
