"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507): a record of its choices, its nodes.

A variant is data: ``replace(spec, se=SE(gate="tanh"))``. The defaults are the published networks'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from weights.errors import InputError
from weights.networks.check import check_fields
from weights.networks.network import Builder
from weights.networks.operations import Act, GlobalPool, Linear, Scale

Squeeze = Literal["avg", "max", "none"]
"""Means or maxima of the channels; "none": no squeeze, the excitation works on every pixel of the map."""

Gate = Literal["sigmoid", "tanh", "relu", "hard-sigmoid"]

Inner = Literal["relu", "swish"]
"""The activation of the hidden layer; swish, x sigmoid(x), in EfficientNet."""

Rounding = Literal["down", "to 8"]
"""Of the hidden width: down to a whole number, or to a multiple of 8 as in MobileNetV3 (the nearest, at least 8, and up
where the nearest would lose more than a tenth)."""

Position = Literal["standard", "pre", "post", "identity", "identity-before", "3x3", "3x3-raw"]
"""Where the block stands in a residual unit (section 6.5 of the paper).

standard: at the end of the residual branch, before the sum; pre: before the first convolution of the branch; post:
after the sum and its ReLU; identity: on the shortcut, after its projection; identity-before: on the shortcut, before
its projection; 3x3: after the 3x3 convolution with its BatchNorm and ReLU; 3x3-raw: directly after the 3x3 convolution.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SE:
    """What can be chosen about the SE blocks of a network.

    Raises:
        InputError: when made, a choice that does not exist.
    """

    reduction: int = 16  # the hidden layer has channels / reduction units
    width: int | None = None  # units of the hidden layer, stated instead of a reduction
    rounding: Rounding = "down"  # of channels / reduction
    squeeze: Squeeze = "avg"
    gate: Gate = "sigmoid"
    inner: Inner = "relu"  # the activation of the hidden layer
    bias: bool = True  # of both fully connected layers; equations 2 and 3 of the paper have none
    position: Position = "standard"
    stages: tuple[int, ...] | None = None  # the stages that have blocks, counted from 1; None: all

    def __post_init__(self) -> None:
        check_fields(self, "SE")

    def hidden(self, channels: int) -> int:
        """Units of the hidden layer of a block on so many channels.

        Raises:
            InputError: none would be left.
        """
        if self.width is not None:
            return self.width
        match self.rounding:
            case "down":
                hidden = channels // self.reduction
            case "to 8":
                exact = channels / self.reduction
                hidden = max(8, int(exact + 4) // 8 * 8)
                hidden += 8 if hidden < 0.9 * exact else 0
            case _:
                assert_never(self.rounding)
        if hidden < 1:
            raise InputError(
                f"SE: reduction {self.reduction} leaves no hidden unit for {channels} channels; "
                "take a smaller reduction, or state the width of the hidden layer"
            )
        return hidden

    def of(self, channels: int, stage: int = 1) -> "Excitation | None":
        """The block for so many channels of a stage, every width resolved; None where the stage has none."""
        if self.stages is not None and stage not in self.stages:
            return None
        return self.excitation(channels, self.hidden(channels))

    def excitation(self, channels: int, hidden: int) -> "Excitation":
        """The block for so many channels with so many hidden units, whatever the reduction says."""
        return Excitation(
            channels=channels,
            hidden=hidden,
            squeeze=self.squeeze,
            gate=self.gate,
            inner=self.inner,
            bias=self.bias,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Excitation:
    """One SE block with every width resolved; all frameworks read these, none computes them."""

    channels: int
    hidden: int
    squeeze: Squeeze
    gate: Gate
    inner: Inner = "relu"
    bias: bool


SQUEEZES: Mapping[Squeeze, GlobalPool | None] = {"avg": GlobalPool("avg"), "max": GlobalPool("max"), "none": None}
GATES: Mapping[Gate, Act] = {
    "sigmoid": Act("sigmoid"),
    "tanh": Act("tanh"),
    "relu": Act("relu"),
    "hard-sigmoid": Act("hard-sigmoid"),
}


def excite(g: Builder, x: str, name: str, e: Excitation, output: str = "") -> str:
    """The nodes of an SE block: gate(W2 relu(W1 squeeze(x) + b1) + b2) times x, equations 2 to 4 of the paper.

    The node of the hidden layer's activation is called "relu", whichever it is.

    Args:
        g: takes the nodes.
        x: the map (N, C, H, W).
        name: of the block, "stage1.0.se".
        e: the block.
        output: the name of the last node, where it is not the block's.
    """
    squeeze = SQUEEZES[e.squeeze]
    s = g(f"{name}.pool", squeeze, x, block=name) if squeeze else x
    s = g(f"{name}.fc1", Linear(e.hidden, e.bias), s, block=name)
    s = g(f"{name}.relu", Act(e.inner), s, block=name)
    s = g(f"{name}.fc2", Linear(e.channels, e.bias), s, block=name)
    s = g(f"{name}.gate", GATES[e.gate], s, block=name)
    return g(output or name, Scale(), x, s, block=name)
