"""The fast path of a model, for inference. Compare se_torch/fast_path.py and se_jax/fast_path.py.

It runs the nodes of the network, not the layers, as one graph of TensorFlow whose weights are constants.
"""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import keras
import numpy as np
from keras import layers, ops

from se_tf.layers import (
    ACTIVATIONS,
    AppendZeros,
    AvgPool,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPool,
    Shift,
    Shuffle,
    Times,
)
from se_tf.network import Network
from se_tf.params import checkpoint
from weights import InputError, Spec
from weights.change.fast_path import Precision, Preparation, expect, folded
from weights.change.folding import Folded
from weights.names.frameworks import KERAS
from weights.networks import operations as op
from weights.networks.network import Network as Nodes
from weights.networks.network import Node
from weights.networks.parameters import schema


class Fast:
    """A network for inference, called as the model that it was made of: images (N, H, W, 3) to logits (N, classes).

    Any number and size of images; the output has the dtype that the model had.

    Attributes:
        spec: the record of the network.
        info: what the parameters expect and where they come from.
        done: what was done to the model; also what ``repr`` prints.
    """

    def __init__(self, spec: Spec, found: Folded, done: Preparation, dtype: str) -> None:
        import tensorflow as tf  # which Keras does without on its other backends

        def forward(images: Any) -> Any:
            return _forward(network, arrays, images, done.precision, dtype)

        self.spec, self.info, self.done = spec, found.params.info, done
        network = found.network
        arrays = {p.name: KERAS.encode(p, found.params[p.name]) for p in schema(network)}
        height, width = network.size or (None, None)
        images = tf.TensorSpec((None, height, width, network.in_channels), done.precision)
        self._forward = tf.function(forward, autograph=False).get_concrete_function(images)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        if training:
            raise InputError("the fast path is for inference: call the model itself with training=True")
        return self._forward(ops.convert_to_tensor(x, self.done.precision))

    def __repr__(self) -> str:
        return f"Fast({self.done})"


def fast(model: Network, precision: Precision = "float32") -> Fast:
    """The fast path of a model: the same outputs, to rounding, sooner.

    BatchNorms are folded into convolutions in float64 and rounded once. TensorFlow's graph optimiser, for which weights
    are constants, joins convolutions, biases and activations; on CPUs these are oneDNN's kernels.

    Args:
        model: on Keras' TensorFlow backend; it is left as it is, and what is done to it later does not change the fast
            path.
        precision: of parameters and computation, "float32" or "bfloat16".

    Raises:
        InputError: it is no model of ``se_tf``, runs on another backend, or has changed since it was built; or there is
            no such precision.
    """
    expect(model, Network, "se_tf", training=False)  # Keras' models are told with every call
    if keras.backend.backend() != "tensorflow":
        backend = keras.backend.backend()
        raise InputError(f"se_tf.fast is TensorFlow's, and Keras runs on {backend}: use fast of se_{backend} there")
    spec, params = checkpoint(model)
    found = folded(spec, params, precision)
    done = Preparation(
        network=spec.name,
        precision=precision,
        folded=len(found.convolutions),
        kept=len(found.kept),
        layout="NHWC",
        compiler="TensorFlow's graph optimiser, weights as constants",
    )
    return Fast(spec, found, done, model.compute_dtype)


def _forward(network: Nodes, arrays: Mapping[str, np.ndarray], x: Any, to: str, back: str) -> Any:
    values = {"data": x}
    for node in network.nodes:
        values[node.name] = _output(node, [values[name] for name in node.inputs], arrays, to)
    return ops.cast(values[network.output.name], back)


def _output(node: Node, inputs: Sequence[Any], arrays: Mapping[str, np.ndarray], dtype: str) -> Any:
    """What a node makes of its inputs."""
    x, *others = inputs

    def p(leaf: str, to: str = dtype) -> Any:
        return ops.convert_to_tensor(arrays[f"{node.module}.{leaf}"], to)

    match node.op:
        case op.Conv() as conv:
            return _biased(_convolution(conv, x, p("weight")), p("bias") if conv.bias else None)
        case op.BatchNorm(eps):
            weight, bias, mean, var = (p(leaf, "float32") for leaf in ("weight", "bias", "running_mean", "running_var"))
            y = (ops.cast(x, "float32") - mean) * (weight / ops.sqrt(var + eps)) + bias
            return ops.cast(y, dtype)
        case op.Linear(_, biased):
            return _biased(x @ p("weight"), p("bias") if biased else None)
        case op.Scale():
            (gate,) = others
            return x * (gate[:, None, None, :] if len(gate.shape) == 2 else gate)
        case op.Add():
            return x + others[0]
        case op.Mix():
            return 0.5 * x + 0.5 * others[0]
        case op.Concat():
            return ops.concatenate(inputs, -1)
        case op.Act(function):
            return layers.Activation(ACTIVATIONS[function], dtype=dtype).call(x)
        case op.Pool(what, kernel, stride, pad, after, rounding, counted):
            up = rounding == "up"
            if what == "max":
                return MaxPool(stride, pad, after, kernel=kernel, rounds_up=up, dtype=dtype).call(x)
            return AvgPool(stride, pad, kernel=kernel, rounds_up=up, counted=counted, dtype=dtype).call(x)
        case op.GlobalPool(what):
            return (GlobalAveragePooling2D if what == "avg" else GlobalMaxPooling2D)(dtype=dtype).call(x)
        case op.Times(factor):
            return Times(factor, dtype=dtype).call(x)
        case op.AppendZeros(channels):
            return AppendZeros(channels, dtype=dtype).call(x)
        case op.Shift():
            return Shift(dtype=dtype).call(x)
        case op.Shuffle(groups):
            return Shuffle(groups, dtype=dtype).call(x)
        case op.Flatten():
            return Flatten(dtype=dtype).call(x)
        case op.Dropout():
            return x
        case _:
            assert_never(node.op)


def _convolution(conv: op.Conv, x: Any, weight: Any) -> Any:
    """Of any groups: depthwise ones with these zeros end the process in TensorFlow's optimiser, by a failed check."""
    import tensorflow as tf

    # All but "same" are the same zeros whatever the size.
    pad: Any = "SAME" if conv.pad == "same" else [[0, 0], *map(list, conv.sides(*conv.window)), [0, 0]]
    return tf.nn.conv2d(x, weight, conv.stride, pad)


def _biased(x: Any, bias: Any) -> Any:
    """With the bias by the operation that TensorFlow joins with a convolution or product before it."""
    import tensorflow as tf

    return x if bias is None else tf.nn.bias_add(x, bias)
