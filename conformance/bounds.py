"""The largest errors that agree, in one table: by what is compared and in which precision.

An error is max |a - b| / max |b| of a tensor, b being the reference in float64. What was measured, for each framework
and network, stands beside these bounds in docs/precision.md; ``python -m conformance.precision`` measures it again.
"""

ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""By precision, the relative error of rounding one number: the unit in which errors are also given."""

TAPS = {
    # The order of a sum changes the last bits: 1e-15 to 1e-14 over 50 to 154 layers. The smallest mistake that is one,
    # an eps of 1e-5 instead of Caffe's float32(1e-5), makes 1e-12.
    "float64": 1e-13,
    # Plain rounding makes 2e-6 (Caffe in float against Caffe in double: up to 2e-6 too). Where a sum over thousands of
    # terms cancels, a few times that.
    "float32": 1e-5,
    # As many roundings: 10 of them in the middle, 20 at worst.
    "float16": 2e-2,
    "bfloat16": 2e-1,
}
"""Outputs of nodes."""

GRADIENTS = {
    # As of taps, twice as deep; through the statistics of a batch, sums that cancel.
    "float64": 1e-12,
    "float32": 1e-4,
}
"""Gradients of a functional of the logits with respect to the input and every parameter."""

TRAINING = {
    # Ten steps, each of which multiplies what the one before was off by.
    "float64": 1e-10,
    "float32": 1e-2,
}
"""Parameters and running statistics after ten steps."""

BOUNDS = {"taps": TAPS, "gradients": GRADIENTS, "training": TRAINING}
