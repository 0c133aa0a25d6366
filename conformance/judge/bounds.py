"""The largest errors that agree, in one table: by what is compared and in which precision.

An error is max |a - b| / max |b| of a tensor, b being the reference in float64. What was measured, for each framework
and network, stands beside these bounds in docs/precision.md; ``python -m benchmarks.precision`` measures it again.
"""

from collections.abc import Mapping
from typing import Literal

What = Literal["taps", "gradients", "training gradients", "statistics", "momentum", "training"]
"""What is compared: outputs of nodes; gradients; gradients through the statistics of a batch; running statistics and
parameters after one step of training; the same after two, and after more steps."""

ROUNDING: Mapping[str, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
"""The relative error of rounding one number, by precision. Errors are also given in this unit. TF32 is float32 whose
products take factors that are rounded like float16."""

SMALLEST: Mapping[str, float] = {
    "float64": 1e-300,
    "float32": 1e-37,
    "tf32": 1e-37,
    "float16": 1e-7,
    "bfloat16": 1e-37,
}
"""Values that a processor may take for 0, by precision, with some room for the products that they are part of."""

LAYERS: Mapping[str, float] = {
    # Sums of products: 3 to 7.5 in every framework and precision, the most in TensorFlow over 1024 channels.
    "Conv": 12.0,
    "Linear": 8.0,
    # Two products, two sums and a square root: 3 to 5.
    "BatchNorm": 8.0,
    # With the statistics of a batch, the mean and the variance are off as well: up to 13 over a few pixels, and 61 over
    # 16,384, which may be added up one by one: half of the square root of the pixels more.
    "BatchNorm in training": 32.0,
    # The exponential function: 2 to 6. ONNX Runtime has a formula of its own, see SIGMOID.
    "sigmoid": 8.0,
    "swish": 8.0,
    "tanh": 8.0,
    # Three operations, one rounding each: 2 and 4.
    "hard-sigmoid": 4.0,
    "hard-swish": 5.0,
    # A mean of n values may be added up one by one: see MEAN.
    "avg": 16.0,
    # One rounding: 1.0; with the roundings of two inputs, which a compiler may not have rounded itself, 3.
    "Scale": 4.0,
    "Add": 4.0,
    "Mix": 4.0,
    "Times": 4.0,
    # No rounding at all; 0.7 where a compiler has not rounded the input that it went on with.
    "max": 2.0,
    "relu": 2.0,
    "relu6": 2.0,
    "Concat": 2.0,
    "AppendZeros": 2.0,
    "Shift": 2.0,
    "Shuffle": 2.0,
    "Flatten": 2.0,
    "Dropout": 2.0,
}
"""What rounding can explain of one layer's output, by operation, function or pooling: the constant c of
``conformance.judge.local``, in units of the rounding of one number times the sum of the terms' absolute values."""

MEAN = 1 / 8
"""Of a mean of n values, so many times n more. Equal values, as in the map of a photograph of one colour, are rounded
the same way again and again: n / 19 in TensorFlow, for 3,136 of them; the bound of the textbooks is n / 2. One value
left out of n is still found in float32 up to n = 11,000, a map of 105x105."""

BIAS = 1.5
"""Of a bias that n products are added to, one by one, so many times the square root of n more: 1.3 where it is far
larger than all products together, as PyTorch's convolutions in float64 do it."""

SIGMOID: Mapping[str, float] = dict.fromkeys(("onnx", "onnx_torch", "onnx_jax"), 4.0)
"""By adapter, what the sigmoid is off by everywhere, in roundings of 1: ONNX Runtime's rational function has an
absolute error of 2.4 of them, so its small gates are off by far more than their own rounding, and those below 1e-8
are 0."""

COARSE: Mapping[str, float] = {"tf_lite_int8": 0.1}
"""By adapter, the largest error of outputs where all values are integers of 8 bits, in steps of 1/255 of the range that
the images showed: 0.02 to 0.03 over the small networks. A range that one wrong value stretches makes 1."""

SUSPICIOUS: Mapping[str, float] = {"taps": 6.0, "gradients": 20.0, "training gradients": 20.0, "statistics": 20.0}
"""An error within its bound is suspicious above so many times the largest that the reference itself makes in float32,
counted in roundings of each precision; of outputs the reference's own at the same node, and only where the layer could
not be judged by itself, for what every layer explains may grow by cancellation: 97 roundings were seen where the
reference made 14. Elsewhere the frameworks make up to 3 times what the reference does. A mistake of 0.9 times the bound
is 8 times that in outputs in float32, 30 times in gradients; an eps of 1.1e-5 makes 75 to 150 roundings in outputs
where the reference makes 3 to 20."""

PLAIN = 8.0
"""What the reference makes at least, for this: in a small network it may make none."""

TAPS: Mapping[str, float] = {
    # The order of a sum changes the last bits: 1e-15 to 1e-14 over 50 to 154 layers. The smallest mistake that is one,
    # an eps of 1e-5 instead of Caffe's float32(1e-5), makes 1e-12.
    "float64": 1e-13,
    # Plain rounding makes 2e-6 (Caffe in float against Caffe in double: up to 2e-6 too). Where a sum over thousands of
    # terms cancels, a few times that.
    "float32": 1e-5,
    # Up to 12 roundings of one number, measured; as above, a few times that.
    # That of float16, of which it has the factors but neither the sums nor the outputs: not measured, for it exists on
    # GPUs only. Gradients in it are not judged.
    "tf32": 2e-2,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
"""Outputs of nodes."""

_FAST: Mapping[str, float] = {
    # Folded weights are other numbers, each rounded once: 2e-7 to 1.4e-6 of the logits, as without folding.
    "float32": 5e-6,
    # 4e-3 to 1.6e-2 in the networks of docs/precision.md, 2.1e-2 where gates of both signs, of tanh, cancel.
    "bfloat16": 5e-2,
}
FAST: Mapping[str, Mapping[str, float]] = dict.fromkeys(("torch_fast", "jax_fast", "tf_fast"), _FAST)
"""By adapter: of the fast paths, which give logits alone."""

GRADIENTS: Mapping[str, float] = {
    # Twice as many sums as in the outputs: 5e-15; through the statistics of a batch, which cancel, 5e-14.
    "float64": 1e-12,
    # Plain rounding makes 1e-6 to 5e-6, through the statistics of a batch 2e-5, if ReLUs and maxima send the gradient
    # where the port's own pass did. Where they decide for themselves a piece goes elsewhere, for two values that
    # rounding swaps: 3e-3 for one window of SE-ResNet-50 in whose 200,704 two candidates are 1e-7 apart.
    "float32": 1e-4,
}
"""Gradients of a functional of the logits with respect to the input and every parameter."""

STATISTICS: Mapping[str, float] = {
    # Means and variances of outputs: 3e-15 and 7e-7, in SE-ResNet-50 2e-6. The parameters have moved by then, in
    # float32 by gradients whose ReLUs decided for themselves: see MOVED and ``measure``.
    "float64": 1e-13,
    "float32": 2e-5,
}
"""Running statistics and parameters after one step."""

REDUCED: Mapping[str, float] = {
    # Every value rounded to float16: 4e-4 to 2.3e-3 over all families and places of SE blocks, the rounding of one
    # number being 5e-4.
    "float16": 4e-3,
    # To bfloat16: 2e-3 to 1.2e-2, the rounding of one number being 4e-3.
    "bfloat16": 4e-2,
    # To 256 values between the least and the largest measured: 6e-3 to 4.2e-2. One scale for all channels makes 0.18 to
    # 0.7, ranges of images a fifth as large up to 0.8, one lost zero point up to 0.4; one lost bias of many, 0.025, is
    # not found.
    "int8": 1e-1,
}
"""The last output of an ONNX file of less precision, against the network's in float32: docs/onnx.md has the numbers."""

MOVED = 500.0
"""How much of a parameter's movement in one step is added to its size, for its relative error: 1e-2 of the movement
agrees in float32."""

MOMENTUM: Mapping[str, float] = {
    # 2e-13, the rounding of the parameters themselves.
    "float64": 1e-11,
    # The middle one of all tensors of a kind makes 1e-4, and up to 2e-2 where rounding swaps something; without
    # momentum it makes 0.3, without weight decay or with statistics moved twice more.
    "float32": 1e-1,
}
"""Of parameters and running statistics after two steps, the error as a share of how far they have moved."""

RESTED = 1e-4
"""How much of a tensor's size is added to its movement, for that: some hundred roundings, for one that hardly moves."""

TRAINING: Mapping[str, float] = {
    # Ten steps, each of which multiplies the error of the step before: 1e-14 to 5e-13. In float32 no bound would mean
    # anything: a few such swaps move some parameters elsewhere, by 1e-6 in one network and by 0.1 in another, from
    # plain rounding alone.
    "float64": 1e-10,
}
"""Parameters and running statistics after ten steps."""

PASSES: Mapping[str, float] = {"float64": 1e-12, "float32": 1e-4}
"""Outputs of the nodes in the pass whose gradients are judged, which say where the gradient goes; in training through
the statistics of a batch, which cancel."""

BOUNDS: Mapping[What, Mapping[str, float]] = {
    "taps": TAPS,
    "gradients": GRADIENTS,
    "training gradients": GRADIENTS,
    "statistics": STATISTICS,
    "momentum": MOMENTUM,
    "training": TRAINING,
}


def bound_of(what: What, dtype: str, row: str = "") -> float:
    """The bound for an adapter's answer, which is its own where it has one.

    Args:
        what: is compared.
        dtype: of the answer; one of ``BOUNDS[what]``.
        row: of ``ADAPTERS``; a port has none.
    """
    if what != "taps":
        return BOUNDS[what][dtype]
    return COARSE.get(row, FAST.get(row, {}).get(dtype, BOUNDS[what][dtype]))
