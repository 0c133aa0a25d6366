"""The tables of the paper (arXiv 1709.01507v4) with our exact counts beside the published figures.

Published millions are the counts with biases, rounded up to 0.1 M; no other way of counting gives them all. The paper
says in section 6 that its ablations have fully connected layers without biases; those counts stand beside. Published
GFLOPs of SE-ResNet-50's variants are multiply-adds plus one multiplication for each value that a gate rescales, rounded
to the nearest. Errors are in %, single crop on ImageNet's validation set, top-1 and top-5; empty where unknown to us.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from weights.networks.cost import cost
from weights.networks.models import MODELS
from weights.networks.network import as_network
from weights.networks.operations import Scale
from weights.networks.se import SE
from weights.networks.sizes import shapes
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the paper prints in one row. None: the paper has no figure, or we know of none."""

    params: float | None = None  # millions
    gflops: float | None = None
    top1: float | None = None  # error in %
    top5: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network of a table, its exact counts, and what the paper prints."""

    table: str
    choice: str
    spec: Spec  # with biases, as the released networks
    learnable: int
    without_biases: int | None  # in the fully connected layers of the SE blocks; None without SE blocks
    macs: int  # convolutions and fully connected layers
    scaled: int  # values that gates rescale, one multiplication each
    published: Published
    notes: tuple[int, ...]  # numbers of NOTES

    @property
    def params_by_rule(self) -> float:
        """Millions as the paper rounds them: up to one decimal."""
        return ceil(self.learnable / 1e5) / 10

    @property
    def gflops_by_rule(self) -> float:
        """Billions with the gates' multiplications, rounded to the nearest hundredth."""
        return round((self.macs + self.scaled) / 1e9, 2)


NOTES = {
    1: "Published counts are not rounded to the nearest: 35.7, 30.7, 26.9, 26.4 and 25.8 M are each 0.1 M too high. "
    "Rounding up the counts with biases gives every figure; the paper's text says that the ablations have none.",
    2: "The article prints 2.26 as the top-1 error at reduction 8; the arXiv version has 22.26.",
    3: "The paper does not say where SE-Identity stands in a unit with a projection: here after it. Before it, the "
    "blocks have the channels of the unit's input (27,562,140 parameters).",
    4: "In the paper's figure the shortcut of SE-PRE starts before the SE block: read from the figure, not the text.",
    5: "No single rule gave all GFLOPs of the other baselines: the paper's are 0.01 to 0.02 above ours. "
    "The differences between a network and its SE counterpart agree within the rounding.",
    6: "Directly after the 3x3 convolution, or after its BatchNorm and ReLU: the paper does not say. Counts agree.",
}
"""What the paper leaves open or has wrong, by number."""

_RESNET = MODELS["se-resnet-50"]
_STANDARD = Published(params=28.1, gflops=3.87, top1=22.28, top5=6.03)
_PLAIN = Published(params=25.6, gflops=3.86, top1=23.30, top5=6.55)

_VARIANTS: tuple[tuple[str, str, SE | None, Published, tuple[int, ...]], ...] = (
    ("reduction", "2", SE(reduction=2), Published(params=45.7), ()),
    ("reduction", "4", SE(reduction=4), Published(params=35.7), (1,)),
    ("reduction", "8", SE(reduction=8), Published(params=30.7, top1=22.26), (1, 2)),
    ("reduction", "16", SE(), _STANDARD, ()),
    ("reduction", "32", SE(reduction=32), Published(params=26.9), (1,)),
    ("reduction", "no SE blocks", None, _PLAIN, ()),
    ("squeeze", "average", SE(), _STANDARD, ()),
    ("squeeze", "maximum", SE(squeeze="max"), Published(top1=22.57, top5=6.09), ()),
    ("squeeze", "none", SE(squeeze="none"), Published(params=28.1, gflops=4.27, top1=22.93, top5=6.39), ()),
    ("gate", "sigmoid", SE(), _STANDARD, ()),
    ("gate", "tanh", SE(gate="tanh"), Published(top1=23.00, top5=6.38), ()),
    ("gate", "relu", SE(gate="relu"), Published(top1=23.47, top5=6.98), ()),
    ("position", "standard", SE(), Published(top1=22.28, top5=6.03), ()),
    ("position", "pre", SE(position="pre"), Published(top1=22.23), (4,)),
    ("position", "post", SE(position="post"), Published(top1=22.78), ()),
    ("position", "identity", SE(position="identity"), Published(top1=22.20), (3,)),
    ("position", "after the 3x3", SE(position="3x3"), Published(params=25.8, gflops=3.86, top1=22.48), (1, 6)),
    ("stages", "2", SE(stages=(1,)), Published(params=25.6, gflops=3.86, top1=23.03), ()),
    ("stages", "3", SE(stages=(2,)), Published(params=25.7, gflops=3.86, top1=23.04), ()),
    ("stages", "4", SE(stages=(3,)), Published(params=26.4, gflops=3.86, top1=22.68), (1,)),
    ("stages", "all", SE(), _STANDARD, ()),
    ("stages", "none", None, _PLAIN, ()),
)
"""The ablations of SE-ResNet-50. The paper counts stages as the ResNet paper does: its stage 2 is our stage 1."""

_BASELINES: tuple[tuple[str, float, tuple[int, ...]], ...] = (
    ("resnet-50", 3.86, ()),
    ("se-resnet-50", 3.87, ()),
    ("resnet-101", 7.58, (5,)),
    ("se-resnet-101", 7.60, (5,)),
    ("resnet-152", 11.30, (5,)),
    ("se-resnet-152", 11.32, (5,)),
    ("resnext-50", 4.24, (5,)),
    ("se-resnext-50", 4.25, (5,)),
    ("resnext-101", 7.99, (5,)),
    ("se-resnext-101", 8.00, (5,)),
    ("bn-inception", 2.03, ()),
    ("se-bn-inception", 2.04, (5,)),
)
"""Table 2 of the paper: networks and published GFLOPs."""


def tables() -> Iterator[Row]:
    """Every row of the paper's tables whose network stands here, in the paper's order."""
    for name, gflops, notes in _BASELINES:
        yield _row("baselines", name, MODELS[name], Published(gflops=gflops), notes)
    for table, choice, se, published, notes in _VARIANTS:
        yield _row(table, choice, replace(_RESNET, se=se), published, notes)


def _row(table: str, choice: str, spec: Spec, published: Published, notes: tuple[int, ...]) -> Row:
    costs = cost(spec)
    bare = cost(replace(spec, se=replace(spec.se, bias=False))).learnable if spec.se else None
    sizes, nodes = shapes(spec), as_network(spec).nodes
    return Row(
        table=table,
        choice=choice,
        spec=spec,
        learnable=costs.learnable,
        without_biases=bare,
        macs=costs.macs,
        scaled=sum(prod(sizes[node.name]) for node in nodes if isinstance(node.op, Scale)),
        published=published,
        notes=notes,
    )
