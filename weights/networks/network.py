"""A network as a value: its nodes in topological order, whatever made them. Everything neutral takes one.

Parameters, sizes, cost, Caffe's definitions, ONNX and the reference read nodes; the frameworks' models never do. So the
nodes are an independent statement that the models are judged by.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from weights.networks.operations import Act, Activation, BatchNorm, Conv, Linear, Op

if TYPE_CHECKING:
    from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. Nodes stand in the order of the layers in the published prototxts."""

    name: str  # also the name of its output, the tap
    op: Op
    inputs: tuple[str, ...]  # names of earlier nodes, or "data"
    module: str  # the prefix of its parameters; the name, except that "logits" is computed by "fc"
    block: str = ""  # the SE block that it is part of, "stage1.0.se"


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes from the input "data" to the last one, which is the output. Records give the same object every time.

    Attributes:
        name: for people.
        nodes: in topological order.
        features: the nodes whose outputs are the feature maps, by falling size; empty where nobody says.
        spec: the record that the nodes were made from, or None for a network that is only its nodes.
        in_channels: of the image.
        size: height and width of the image, where the network takes no other; None: any that leave something.
    """

    name: str
    nodes: tuple[Node, ...]
    features: tuple[str, ...] = ()
    spec: "Spec | None" = None
    in_channels: int = 3
    size: tuple[int, int] | None = None

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    @property
    def classifier(self) -> Node | None:
        """The fully connected node at the end; None where the output is a map or pooled features."""
        return self.output if isinstance(self.output.op, Linear) else None

    @property
    def classes(self) -> int:
        """Outputs of the classifier, 0 without one."""
        return self.output.op.out if isinstance(self.output.op, Linear) else 0

    @cached_property
    def first_convolution(self) -> Node:
        """The convolution that reads the image.

        Raises:
            ValueError: there is none.
        """
        for node in self.nodes:
            if isinstance(node.op, Conv) and node.inputs == ("data",):
                return node
        raise ValueError(f"{self.name} has no convolution that reads the image")

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """For every node, and for "data", the nodes that read its output."""
        found: dict[str, list[Node]] = {"data": [], **{node.name: [] for node in self.nodes}}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}


class Builder:
    """Collects nodes: a value in, a value out, both by name. It knows of no family."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def __call__(self, name: str, op: Op, *inputs: str, module: str = "", block: str = "") -> str:
        """Appends a node and returns its name."""
        self.nodes.append(Node(name, op, inputs, module or name, block))
        return name

    def conv_bn(
        self,
        x: str,
        conv: str,
        op: Conv,
        eps: float,
        act: Activation | None = None,
        *,
        output: str = "",
    ) -> str:
        """A convolution, its BatchNorm and, if there is one, its activation.

        Args:
            x: the input.
            conv: the module of the convolution, "stem.conv1"; the others are "stem.bn1" and "stem.relu1".
            op: the convolution.
            eps: of the BatchNorm.
            act: the function of the activation.
            output: the name of the activation's node, where it is not "stem.relu1".
        """
        head, dot, leaf = conv.rpartition(".")
        x = self(conv, op, x)
        x = self(f"{head}{dot}{leaf.replace('conv', 'bn', 1)}", BatchNorm(eps), x)
        return self(output or f"{head}{dot}{leaf.replace('conv', 'relu', 1)}", Act(act), x) if act else x


def as_network(of: "Network | Spec") -> Network:
    """The network of a record; a network as it is."""
    return of if isinstance(of, Network) else of.network()


def graph(of: "Network | Spec") -> tuple[Node, ...]:
    """The nodes of a network, from input "data" to the output "logits" ("pool" without a classifier)."""
    return as_network(of).nodes


def feature_nodes(of: "Network | Spec") -> tuple[str, ...]:
    """The nodes whose outputs are the feature maps at strides 4, 8, 16, 32: the last ones of each stride."""
    return as_network(of).features
