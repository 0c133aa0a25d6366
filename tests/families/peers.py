"""What other people's implementations compute with seeded weights: golden data, and the weights under canonical names.

Weights are drawn under the names that the other project uses, which are those of its dialect here; so the names are
proven too. ``tests/data/peers/make.py`` says how the numbers were taken.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from weights import Params, Spec, schema
from weights.names.dialect import Dialect
from weights.networks.network import Node
from weights.networks.parameters import Param

DATA = Path(__file__).parents[1] / "data" / "peers"


@dataclass(frozen=True)
class Peer:
    """A network of another project.

    Attributes:
        name: of the golden file.
        spec: what it is here.
        dialect: what the project calls its parameters.
        owns: whether a parameter of ours is one of theirs; of the others the value is neutral.
        raw: whether the network takes the pixels themselves, 0..255.
    """

    name: str
    spec: Spec
    dialect: Dialect
    owns: Callable[[Param], bool] = bool
    raw: bool = False

    @cached_property
    def golden(self) -> dict[str, np.ndarray]:
        """By the keys of ``make.py``."""
        with np.load(DATA / f"{self.name}.npz") as file:
            return dict(file)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The tags of the inputs: "96x96"."""
        return tuple(str(tag) for tag in self.golden["tags"])

    def params(self) -> Params:
        """The seeded weights, float64 with the digits of float32."""
        seed, gain = int(self.golden["weights_seed"]), float(self.golden["gain"])
        depthwise = {p.name for p in schema(self.spec) if p.kind == "conv" and p.shape[1:2] == (1,)}
        found = Params()
        for p in schema(self.spec):
            if not self.owns(p):
                found[p.name] = np.full(p.shape, float(p.leaf in ("weight", "running_var")))
                continue
            shape = self.dialect.shape(p)
            rng = np.random.default_rng([seed, zlib.crc32(self.dialect.key(p).encode())])
            if p.leaf == "weight" and p.kind in ("conv", "linear"):
                convolution = len(shape) == 4
                fan_in = np.prod(p.shape[2:] if p.name in depthwise else p.shape[1:])
                value = rng.standard_normal(shape) * np.sqrt((gain if convolution else 1.0) / int(fan_in))
            elif p.leaf in ("weight", "running_var"):
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.standard_normal(shape) * (0.1 if p.kind == "bn" else 0.5)
            found[p.name] = self.dialect.decode(p, value.astype(np.float32).astype(np.float64))
        return found

    def image(self, tag: str) -> np.ndarray:
        """The input (N, 3, H, W), R G B: patches of one colour with noise on top, scaled to -1..1."""
        height, width = map(int, tag.split("x"))
        n, rng = int(self.golden[f"{tag}/n"]), np.random.default_rng(int(self.golden[f"{tag}/input_seed"]))
        coarse = rng.integers(0, 192, (n, -(-height // 8), -(-width // 8), 3))
        patches = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        pixels = (patches + rng.integers(0, 64, (n, height, width, 3))).astype(np.float64).transpose(0, 3, 1, 2)
        return pixels if self.raw else pixels / 127.5 - 1

    def errors(
        self, found: Mapping[str, np.ndarray], tag: str, names: Mapping[str, str] | None = None
    ) -> dict[str, float]:
        """The errors of the logits and of every tap that both have, relative to the tap's largest value.

        Args:
            found: our outputs by node.
            tag: of the input.
            names: our node -> their tap, beside those of the convolutions and BatchNorms, which the dialect names.
        """
        taps = {str(name): row for row, name in enumerate(self.golden[f"{tag}/taps_name"])}
        output = self.spec.network().output.name
        theirs = {node.name: self.dialect.module(node.module) for node in _with_parameters(self.spec)} | dict(
            names or {}
        )
        logits = self.golden[f"{tag}/logits"]
        off = {output: float(np.abs(found[output] - logits).max() / np.abs(logits).max())}
        for node, tap in theirs.items():
            if node in found and node != output and tap in taps:
                row = taps[tap]
                at = self.golden[f"{tag}/taps_idx"][row]
                error = np.abs(found[node].ravel()[at] - self.golden[f"{tag}/taps_val"][row])
                off[node] = float(error.max() / self.golden[f"{tag}/taps_max"][row])
        return off


def _with_parameters(spec: Spec) -> Iterable[Node]:
    return (node for node in spec.network().nodes if node.op.kind)
