"""What the original Caffe and today's frameworks do differently, as data; docs/divergences.md is made from this."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One difference that changes numbers, or that makes a port fail."""

    name: str  # "batch-norm-epsilon": also the key of its demonstration
    what: str
    who: Mapping[str, str]  # framework or frameworks -> their arithmetic
    effect: float  # the size of the difference in the demonstration
    of: str  # what that is the size of
    handled: str  # how the ports here are kept equal


DIVERGENCES = (
    Divergence(
        name="batch-norm-epsilon",
        what="The default of BatchNorm's epsilon differs, in Caffe even from the number that its definition shows.",
        who={
            "Caffe": "a protobuf float: 1e-5 is 9.9999997473787516e-06, in double precision too",
            "PyTorch, Flax, ONNX": "1e-5 (in ONNX a float, as in Caffe)",
            "Keras": "1e-3; the networks in keras.applications set 1.001e-5",
        },
        effect=4.95e-4,
        of="the output where the variance is 1, relative, Keras' default instead of Caffe's",
        handled="`weights.EPS` is Caffe's number, and every port sets it. 1e-5 instead is off by 1.3e-13 in a layer, "
        "which fails in float64.",
    ),
    Divergence(
        name="batch-norm-running-variance",
        what="Training normalises with the biased variance of the batch everywhere, but stores one or the other.",
        who={
            "Caffe, PyTorch": "variance * M / (M - 1), M = N * H * W",
            "Keras, Flax": "variance",
        },
        effect=1 / 15,
        of="the stored variance, relative, where M is 16",
        handled="`set_statistics_rule(model, rule)` in each package, with the rules in "
        "`weights.networks.running_statistics`.",
    ),
    Divergence(
        name="batch-norm-momentum-meaning",
        what="A momentum is the share of the running statistics that is kept, or the share of what is new.",
        who={
            "PyTorch": "running <- (1 - momentum) * running + momentum * batch",
            "Keras, Flax": "running <- momentum * running + (1 - momentum) * batch",
            "Caffe": "moving_average_fraction is kept, of a sum: see batch-norm-caffe-sums",
        },
        effect=0.8,
        of="the running mean after one batch of mean 1, momentum 0.1 read the one way or the other",
        handled="`StatisticsRule.keep` is what is kept; `set_statistics_rule` translates.",
    ),
    Divergence(
        name="batch-norm-momentum-default",
        what="How much is kept unless one says otherwise.",
        who={"Caffe": "0.999 in the long run", "PyTorch": "0.9", "Keras, Flax": "0.99"},
        effect=0.09,
        of="the running mean after one batch of mean 1, PyTorch's default against Keras' and Flax's",
        handled="The ports here all keep 0.9 by default, PyTorch's number; any other by `set_statistics_rule`.",
    ),
    Divergence(
        name="batch-norm-caffe-sums",
        what="Caffe stores sums and the factor that they are to be divided by, so initial statistics never count.",
        who={
            "Caffe": "sum <- 0.999f * sum + batch; factor <- 0.999f * factor + 1; statistics are sum / factor, or 0 "
            "where the factor is 0",
            "PyTorch, Keras, Flax": "an average that starts from mean 0 and variance 1",
        },
        effect=0.9,
        of="the running mean after the first batch of mean 1, against PyTorch",
        handled="`weights.networks.running_statistics.caffe(factor)` is the same as an average whose share changes "
        "from step to step; `conformance.reference.training.caffe_rules` are those of a run. Checkpoints keep the "
        "factors for the way back.",
    ),
    Divergence(
        name="batch-norm-fast-variance",
        what="Flax computes a batch's variance as the mean of squares minus the square of the mean, which cancels.",
        who={"Flax": "E[x^2] - E[x]^2 by default", "Caffe, PyTorch, Keras": "E[(x - E[x])^2]"},
        effect=1.0,
        of="the variance of values around 10000 with deviation 1 in float32, relative: all of it is lost",
        handled="`se_jax` sets `use_fast_variance=False`.",
    ),
    Divergence(
        name="batch-norm-statistics-in-float32",
        what="Flax creates running statistics in float32, whatever the dtype of the layer.",
        who={"Flax": "float32", "Caffe, PyTorch, Keras": "the dtype of the layer"},
        effect=1.49e-8,
        of="a running mean of 0.1 in a layer of float64, relative to its value",
        handled="`se_jax` creates the statistics itself, in float64 where that is the dtype.",
    ),
    Divergence(
        name="weight-decay-coupling",
        what="Weight decay is a part of the gradient, which momentum accumulates, or a shrinkage apart from it.",
        who={
            "Caffe, PyTorch (SGD)": "g <- gradient + decay * w, then momentum",
            "Keras": "w <- w - rate * decay * w before a step of which it is no part",
            "Optax": "neither: `add_decayed_weights` goes where one puts it in the chain",
        },
        effect=0.009,
        of="a weight of 1 after two steps without gradient (rate 0.1, momentum 0.9, decay 0.1)",
        handled="`Recipe` is coupled: Keras' gradients get `decay * w` added before its optimizer sees them, and Optax "
        "has the decay before the momentum.",
    ),
    Divergence(
        name="momentum-and-learning-rate",
        what="Momentum accumulates gradients, or gradients times the learning rate of their time.",
        who={
            "PyTorch, Optax": "v <- momentum * v + g; w <- w - rate * v",
            "Caffe, Keras": "v <- momentum * v + rate * g; w <- w - v",
        },
        effect=0.81,
        of="the second step, after the rate fell from 1 to 0.1 (gradient 1, momentum 0.9)",
        handled="Equal as long as the rate does not change: `Recipe` has one rate.",
    ),
    Divergence(
        name="learning-rate-in-float32",
        what="Some hold the learning rate in float32, also where everything else is float64.",
        who={"Caffe, Keras": "float32(rate)", "PyTorch, Optax": "a double"},
        effect=1.5e-8,
        of="a step with rate 0.1 in float64, relative",
        handled="`Recipe` rounds its numbers to float32 first.",
    ),
    Divergence(
        name="same-padding",
        what='"SAME" puts what it pads on the far sides first, so a convolution of stride 2 looks at other pixels.',
        who={
            "TensorFlow, Keras, JAX": '"SAME": as much as the last window needs, the odd pixel at the end',
            "Caffe, PyTorch": "the same on both sides, as given",
        },
        effect=1.31,
        of="a 3x3 convolution of stride 2 on 8x8 noise, relative",
        handled="`se_jax` and `se_tf` pad explicitly, half the kernel on every side.",
    ),
    Divergence(
        name="ceil-pooling",
        what="Sizes of pooled maps are rounded up or down.",
        who={
            "Caffe": "up, unless round_mode says otherwise: the last window may hang over the edge",
            "PyTorch, Flax, Keras, ONNX": "down, unless ceil_mode (PyTorch, ONNX) says otherwise",
        },
        effect=1,
        of="the width of 112 pixels after 3x3 pooling of stride 2: 56 or 55",
        handled="`ceil_mode=True` in PyTorch and ONNX; elsewhere the far side is padded. Padding by 1 on both sides "
        "gives 56 too, of other windows.",
    ),
    Divergence(
        name="average-pool-divisor",
        what="A window over the edge is divided by its size, or by the number of pixels in it.",
        who={
            "Caffe": "by the size with the padding, but without what rounding up lets hang over it",
            "PyTorch, Flax": "by the size with the padding, unless count_include_pad says otherwise",
            "TensorFlow, Keras, ONNX": "by the pixels inside (ONNX unless count_include_pad says otherwise)",
        },
        effect=5 / 9,
        of="the mean of ones in the corner of a 3x3 window with padding 1",
        handled="`count_include_pad=True` in PyTorch and ONNX; `se_jax` and `se_tf` pad with zeros and divide by "
        "Caffe's number.",
    ),
    Divergence(
        name="max-pool-nan",
        what="The largest of numbers and a NaN.",
        who={
            "PyTorch, JAX": "NaN",
            "Caffe, TensorFlow, ONNX Runtime": "the largest number: comparisons with NaN are false",
        },
        effect=1,
        of="how many of one window's results are NaN",
        handled="Not: a network with a NaN is broken in any framework. The suite calls NaN a disagreement.",
    ),
    Divergence(
        name="relu-slope-at-zero",
        what="The gradient of max(x, 0) at 0 depends on how it is written.",
        who={
            "Caffe; torch.relu, tf.nn.relu, jax.nn.relu": "0",
            "torch.maximum, jax.numpy.maximum": "1/2: equal arguments share it",
            "torch.clamp, tf.maximum": "1",
        },
        effect=1,
        of="the slope",
        handled="Every port uses its framework's relu.",
    ),
    Divergence(
        name="sigmoid-tail",
        what="Caffe computes the sigmoid by tanh: exact to the last bit of 1, not to the last bit of the value.",
        who={"Caffe": "0.5 * tanh(0.5 * x) + 0.5", "PyTorch, TensorFlow, JAX": "1 / (1 + exp(-x))"},
        effect=1,
        of="the sigmoid of -40, relative: 0 against 4e-18",
        handled="Not: gates multiply, so 1e-17 of their range is below the bounds.",
    ),
    Divergence(
        name="keras-tanh-in-float64",
        what="Keras on JAX computes a tanh of float64 in float32.",
        who={
            "Keras on JAX": "`keras.ops.tanh` rounds to float32 and back",
            "Caffe, PyTorch, TensorFlow, JAX": "float64",
        },
        effect=2.67e-8,
        of="the tanh of 1 in float64, relative",
        handled="`se_tf` writes 2 * sigmoid(2 * x) - 1, which is the same function.",
    ),
    Divergence(
        name="hard-sigmoid-slope",
        what="The slope of the hard sigmoid, 1/6, is a 32-bit float in float64 too.",
        who={"PyTorch": "`hardsigmoid` goes back by float32(1/6)", "Flax, Keras on TensorFlow": "relu6(x + 3) / 6"},
        effect=2.98e-8,
        of="the slope in float64, relative",
        handled="`se_torch` computes relu6(x + 3) / 6. In ONNX files the function is HardSigmoid with the factor 1 and "
        "a division by 6, because its own factor is a float as well.",
    ),
    Divergence(
        name="global-maximum-of-equals",
        what="Several values of a map may be its maximum, as overlapping windows of a max pooling often make them.",
        who={
            "Caffe": "the first of them gets the gradient",
            "PyTorch (amax), JAX (max), TensorFlow (reduce_max)": "all share it",
        },
        effect=0.75,
        of="the gradient of the first of four equal values",
        handled="The global maxima here take the place of the first one and give it the whole gradient.",
    ),
    Divergence(
        name="dropout-random-numbers",
        what="What is dropped depends on each framework's own random numbers; the same seed drops something else.",
        who={
            "all": "x / (1 - p) with probability 1 - p, otherwise 0; in inference x",
        },
        effect=0.5,
        of="the share of elements that one framework keeps and another drops with seed 0 and p = 0.5",
        handled="Training is compared with dropout off; the share and the scale are tested framework by framework.",
    ),
    Divergence(
        name="tensor-float-32",
        what="On GPUs that have it, factors of float32 are by default rounded to 11 bits first, or not.",
        who={
            "TensorFlow": "in convolutions and matrix products",
            "PyTorch": "in convolutions only",
            "JAX": "in both: default_matmul_precision is unset, which leaves it to the device",
        },
        effect=2.0**-11,
        of="each factor, relative",
        handled='On CPUs there is none. JAX is compared with `default_matmul_precision("highest")`; on a GPU, switch '
        "it off in PyTorch and TensorFlow where numbers are compared.",
    ),
    Divergence(
        name="onnx-runtime-in-float64",
        what="ONNX Runtime has no kernels in float64 for some operators of these networks.",
        who={"ONNX Runtime": "refuses to load the file", "ONNX's reference evaluator": "computes it, slowly"},
        effect=1,
        of="the operators among GlobalAveragePool, AveragePool that are refused, as a share",
        handled="In float64, small networks are run by the reference evaluator; large ones are compared in float32, "
        "and the result says so.",
    ),
)
