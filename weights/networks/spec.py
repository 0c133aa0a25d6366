"""What the records of all families have in common. A variant is ``dataclasses.replace(spec, classes=10)``."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np

from weights.errors import InputError
from weights.networks.check import check_fields
from weights.networks.network import Builder, Network
from weights.networks.operations import Dropout, GlobalPool, Kind, Linear, Shape
from weights.networks.se import SE

EPS = float(np.float32(1e-5))
"""BatchNorm's epsilon. Caffe's is a protobuf float: 9.9999997473787516e-06, also in double precision."""


class Block(Protocol):
    """A part of a network that is built as a whole: a residual unit, an Inception module."""

    @property
    def name(self) -> str:
        """Of its module and of its last node."""
        ...


class ShapeOf(Protocol):
    """The tensors of a file, asked for by canonical names."""

    def __call__(self, module: str, kind: Kind, leaf: str = "weight") -> Shape | None:
        """The canonical shape of a parameter, None where the file has none such."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Hyper-parameters of a network: a frozen, hashable record, checked when it is made.

    Every family extends it with fields of its own, and states ``blocks`` and ``body``; and ``head``, where its
    classifier is another.

    Raises:
        InputError: when made, by a constructor or by ``dataclasses.replace``, of values that no network can have.
    """

    family: ClassVar[str]  # its name in files
    unshown: ClassVar[tuple[str, ...]] = ()  # fields that no node shows, nor any file but ours: how it is trained
    side: ClassVar[int] = 224  # height and width of the images that its networks were published for
    name: str
    se: SE | None = SE()  # None: no SE blocks
    dropout: float = 0.0  # before the classifier
    classes: int = 1000  # 0: no classifier, the output is the pooled features (N, C)
    eps: float = EPS  # of every BatchNorm
    in_channels: int = 3  # of the image

    def __post_init__(self) -> None:
        check_fields(self, self.name)
        self.check()
        try:
            for _ in self.blocks():  # resolves every width
                pass
        except InputError as error:
            raise misfit(self, str(error)) from None

    @property
    def title(self) -> str:
        """What people call networks of this kind, apart from the SE blocks."""
        return self.family

    @property
    def only_size(self) -> tuple[int, int] | None:
        """Height and width of the image, where the network takes no other."""
        return None

    def check(self) -> None:
        """What no annotation says, and the blocks do not say when they are resolved, which they are afterwards.

        Raises:
            InputError: fields that do not fit together.
        """

    def blocks(self) -> Iterator[Block]:
        """Every block, in order, with its widths resolved; none unless the family has some."""
        return iter(())

    def body(self, g: Builder) -> tuple[str, ...]:
        """Builds all nodes before the last pooling; the nodes of the feature maps, the last of which is pooled."""
        raise NotImplementedError

    def head(self, g: Builder, x: str) -> None:
        """Builds the nodes from the last map on: pooling, dropout, classifier."""
        x = g("pool", GlobalPool("avg"), x)
        if self.dropout and self.classes:
            x = g("dropout", Dropout(self.dropout), x)
        if self.classes:
            g("logits", Linear(self.classes), x, module="fc")

    def without_chance(self) -> "Spec":
        """The same network, in whose training nothing is random."""
        return replace(self, dropout=0.0)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "Spec | None":
        """A guess at the record whose parameters have these shapes; None where they are of another family.

        What shapes do not tell is as in the published networks.

        Raises:
            InputError: no network can have these shapes.
        """
        del shape
        return None

    @classmethod
    def from_network(cls, network: Network) -> "Spec | None":
        """A guess at the record that these nodes were made from, whatever their names; None of another family.

        A guess is not checked: compare ``network()`` of the guess with these nodes.

        Raises:
            InputError: no record can have these hyper-parameters.
        """
        del network
        return None

    def network(self) -> Network:
        """The network of this record.

        Raises:
            InputError: an SE block would have no hidden unit.
        """
        return _network(self)


def field_names(spec: Spec) -> tuple[str, ...]:
    """The fields of a record in the order in which people and files list them: its name, its family's, the common."""
    common = [f.name for f in fields(Spec) if f.name != "name"]
    own = [f.name for f in fields(spec) if f.name not in ("name", *common)]
    return "name", *own, *common


@lru_cache(maxsize=128)
def _network(spec: Spec) -> Network:
    g = Builder()
    features = spec.body(g)
    spec.head(g, features[-1])
    return Network(spec.name, tuple(g.nodes), features, spec, spec.in_channels, spec.only_size)


def check_stages(spec: Spec, stages: int) -> None:
    """Whether a network has the stages that are said to have SE blocks.

    Raises:
        InputError: it has fewer.
    """
    if spec.se and spec.se.stages and max(spec.se.stages) > stages:
        raise misfit(spec, f"SE blocks in stage {max(spec.se.stages)} of {stages}")


def misfit(spec: Spec, message: str) -> InputError:
    """The error of fields that do not fit together."""
    return InputError(f"{spec.name}: {message}")
