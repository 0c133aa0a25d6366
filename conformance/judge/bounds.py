"""The largest errors that agree, in one table: by what is compared and in which precision.

An error is max |a - b| / max |b| of a tensor, b being the reference in float64. What was measured, for each framework
and network, stands beside these bounds in docs/precision.md; ``python -m benchmarks.precision`` measures it again.
"""

from collections.abc import Mapping
from typing import Literal

What = Literal["taps", "gradients", "training"]
"""What is compared: outputs of nodes, gradients, or parameters and running statistics after steps of training."""

ROUNDING: Mapping[str, float] = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The relative error of rounding one number, by precision. Errors are also given in this unit."""

TAPS: Mapping[str, float] = {
    # The order of a sum changes the last bits: 1e-15 to 1e-14 over 50 to 154 layers. The smallest mistake that is one,
    # an eps of 1e-5 instead of Caffe's float32(1e-5), makes 1e-12.
    "float64": 1e-13,
    # Plain rounding makes 2e-6 (Caffe in float against Caffe in double: up to 2e-6 too). Where a sum over thousands of
    # terms cancels, a few times that.
    "float32": 1e-5,
    # Up to 12 roundings of one number, measured; as above, a few times that.
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
"""Outputs of nodes."""

GRADIENTS: Mapping[str, float] = {
    # Twice as many sums as in the outputs: 5e-15; through the statistics of a batch, which cancel, 5e-14.
    "float64": 1e-12,
    # Plain rounding makes 1e-6 to 1e-5. But where two values of a max-pooling window, or a ReLU's input and 0, are so
    # close that rounding swaps them, a piece of the gradient goes elsewhere: 3e-3 for one window of SE-ResNet-50 in
    # whose 200,704 two candidates are 1e-7 apart. Smaller mistakes are for float64 to find.
    "float32": 1e-2,
}
"""Gradients of a functional of the logits with respect to the input and every parameter."""

TRAINING: Mapping[str, float] = {
    # Ten steps, each of which multiplies the error of the step before: 1e-14 to 5e-13. In float32 no bound would mean
    # anything: a few such swaps move some parameters elsewhere, by 1e-6 in one network and by 0.1 in another, from
    # plain rounding alone.
    "float64": 1e-10,
}
"""Parameters and running statistics after ten steps."""

BOUNDS: Mapping[What, Mapping[str, float]] = {"taps": TAPS, "gradients": GRADIENTS, "training": TRAINING}
