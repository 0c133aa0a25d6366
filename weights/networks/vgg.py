"""VGG (Simonyan and Zisserman, https://arxiv.org/abs/1409.1556), with BatchNorm and SE blocks, or without either."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt
from typing import ClassVar

from weights.networks.guess import block_at, common, se_record
from weights.networks.network import Builder, Network
from weights.networks.operations import Act, BatchNorm, Conv, Dropout, Flatten, Linear, Pool, Scale
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import Excitation, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """A 3x3 convolution and what belongs to it, with every width resolved; all frameworks read these."""

    name: str
    in_channels: int
    out_channels: int
    bias: bool
    batch_norm: bool
    se: Excitation | None
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VGGSpec(Spec):
    """Hyper-parameters of a VGG network: stages of 3x3 convolutions, each halved by a pooling, then matrices.

    An SE block stands after the non-linearity that follows each convolution (section 3.3 of the paper): its one
    position. The paper adds BatchNorm after each convolution and does not say whether the convolutions keep their
    biases: torchvision and timm do, so that is the default; pytorchcv does not.
    """

    family: ClassVar[str] = "vgg"
    # The first matrix reads every pixel of the last map, so the height and width of the image are those of its record.
    # Only sizes that no pooling halves to a fraction: there Caffe would round up, and everybody else down.
    size: int = 224
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)  # convolutions in each stage
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)  # per stage
    hidden: tuple[int, ...] = (4096, 4096)  # units of the fully connected layers before the classifier
    batch_norm: bool = True
    conv_bias: bool = True
    dropout: float = 0.5  # after each hidden layer; the original's

    @property
    def title(self) -> str:
        """The number counts the layers with weights."""
        return f"VGG-{sum(self.depths) + len(self.hidden) + 1}"

    @property
    def only_size(self) -> tuple[int, int]:
        """The record's."""
        return self.size, self.size

    @property
    def flat(self) -> int:
        """Values of the last map."""
        return self.widths[-1] * (self.size >> len(self.depths)) ** 2

    def check(self) -> None:
        """Lengths of the lists, the size, and that every SE block stands after its layer."""
        if len(self.widths) != len(self.depths):
            raise misfit(self, f"widths has {len(self.widths)} stages, depths has {len(self.depths)}")
        if sum(self.depths) > 10_000 or len(self.depths) > 20:
            raise misfit(self, f"{sum(self.depths)} convolutions, in {len(self.depths)} stages: too many")
        if self.size % 2 ** len(self.depths):
            multiple = 2 ** len(self.depths)
            raise misfit(self, f"size is {self.size}, which {len(self.depths)} halvings do not divide by {multiple}")
        if self.se and self.se.position != "standard":
            raise misfit(self, f"SE blocks stand after the activations: no other position, found {self.se.position}")
        check_stages(self, len(self.depths))

    @property
    def stages(self) -> tuple[tuple[LayerSpec, ...], ...]:
        """The layers of each stage."""
        blocks = iter(self.blocks())
        return tuple(tuple(next(blocks) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[LayerSpec]:
        """Every convolutional layer, in order, with its widths resolved."""
        channels = self.in_channels
        for stage, (depth, out) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for i in range(depth):
                yield LayerSpec(
                    name=f"stage{stage}.{i}",
                    in_channels=channels,
                    out_channels=out,
                    bias=self.conv_bias,
                    batch_norm=self.batch_norm,
                    se=self.se.of(out, stage) if self.se else None,
                    eps=self.eps,
                )
                channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stages and poolings; the feature maps are those before each pooling, from stride 4 on, and the last."""
        x, ends = "data", []
        for i, stage in enumerate(self.stages, 1):
            for block in stage:
                x = layer(g, x, block)
            ends.append(x)
            x = g(f"pool{i}", Pool("max", 2, 2), x)
        return *ends[2:], x

    def head(self, g: Builder, x: str) -> None:
        """The matrices, each hidden one with its ReLU; without a classifier the output is the last hidden layer's."""
        x = g("head.flatten", Flatten(), x)
        for i, out in enumerate(self.hidden, 1):
            x = g(f"head.fc{i}", Linear(out), x)
            x = g(f"head.relu{i}", Act("relu"), x)
            last = i == len(self.hidden)
            if self.dropout and (self.classes or not last):
                x = g("dropout" if last else f"head.dropout{i}", Dropout(self.dropout), x)
        if self.classes:
            g("logits", Linear(self.classes), x, module="fc")

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "VGGSpec | None":
        """Depths and widths by counting and measuring; the size by what the first matrix reads."""
        stages: list[list[tuple[int, ...]]] = []
        while stage := list(consecutive(shape, f"stage{len(stages) + 1}.{{}}.conv", 0)):
            stages.append(stage)
        hidden = list(consecutive(shape, "head.fc{}", 1, "linear"))
        if not stages or not hidden:
            return None
        fc = shape("fc", "linear")
        plain = cls(
            name=cls.family,
            size=isqrt(hidden[0][1] // stages[-1][0][0]) << len(stages),
            depths=tuple(map(len, stages)),
            widths=tuple(stage[0][0] for stage in stages),
            hidden=tuple(matrix[0] for matrix in hidden),
            batch_norm=shape("stage1.0.bn", "bn") is not None,
            conv_bias=shape("stage1.0.conv", "conv", "bias") is not None,
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stages[0][0][1],
        )
        found = [e for b in plain.blocks() if (e := excitation(shape, f"{b.name}.se"))]
        having = tuple(i for i in range(1, len(stages) + 1) if shape(f"stage{i}.0.se.fc1", "linear"))
        if not found:
            return plain
        se = se_record(found, "standard", having if len(having) < len(stages) else None)
        return replace(plain, name=f"se-{cls.family}", se=se)

    @classmethod
    def from_network(cls, network: Network) -> "VGGSpec | None":
        """Depths by counting the convolutions between poolings; None where no matrix reads a whole map."""
        return guess(network)


def layer(g: Builder, x: str, b: LayerSpec) -> str:
    """se(relu(bn(conv(x)))); the last node has the layer's name."""
    x = g(f"{b.name}.conv", Conv(b.out_channels, 3, 1, 1, bias=b.bias), x)
    x = g(f"{b.name}.bn", BatchNorm(b.eps), x) if b.batch_norm else x
    x = g(f"{b.name}.relu" if b.se else b.name, Act("relu"), x)
    return excite(g, x, f"{b.name}.se", b.se, output=b.name) if b.se else x


def guess(network: Network) -> VGGSpec | None:
    """The record that a network may have been made from; None without a matrix that reads a whole map."""
    flat = next((i for i, node in enumerate(network.nodes) if isinstance(node.op, Flatten)), None)
    if flat is None or not network.size:
        return None
    ops = [node.op for node in network.nodes]
    stages: list[list[Conv]] = [[]]
    having: list[int] = []
    blocks: list[Excitation] = []
    for node in network.nodes[:flat]:
        if isinstance(node.op, Pool):
            stages.append([])
        elif isinstance(node.op, Conv) and len(node.op.window) == 2 and node.op.window != (1, 1):
            stages[-1].append(node.op)
        elif isinstance(node.op, Scale) and (block := block_at(network, node)):
            blocks.append(block.excitation)
            having.append(len(stages))
    stages = [stage for stage in stages if stage]
    hidden = [op.out for op in ops[flat:] if isinstance(op, Linear)]
    hidden = hidden[:-1] if network.classes else hidden
    if not stages or not hidden:
        return None
    within = tuple(dict.fromkeys(having))
    shared = common(network)
    return VGGSpec(
        name="se-vgg" if blocks else "vgg",
        size=max(network.size),
        depths=tuple(map(len, stages)),
        widths=tuple(stage[0].out for stage in stages),
        hidden=tuple(hidden),
        batch_norm=any(isinstance(op, BatchNorm) for op in ops),
        conv_bias=stages[0][0].bias,
        se=se_record(blocks, "standard", within if len(within) < len(stages) else None) if blocks else None,
        dropout=next((op.rate for op in ops[flat:] if isinstance(op, Dropout)), 0.0),
        classes=network.classes,
        eps=shared["eps"],
        in_channels=network.in_channels,
    )


PUBLISHED = (
    VGGSpec(name="se-vgg-16-bn"),
    VGGSpec(name="vgg-16-bn", se=None),
    VGGSpec(name="vgg-16", batch_norm=False, se=None),
)
