"""What the frameworks' own modules call parameters: the same paths everywhere, other leaves and axes."""

from dataclasses import replace

from weights.names.dialect import Dialect

_CHANNELS_LAST = {"conv": (2, 3, 1, 0), "linear": (1, 0)}
_KERNEL = {"weight": "kernel"}

TORCH = Dialect("torch")
"""``se_torch``'s, which is the canonical form."""

KERAS = Dialect(
    "keras",
    leaves={
        "conv": _KERNEL,
        "linear": _KERNEL,
        "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    },
    axes=_CHANNELS_LAST,
)
"""``se_tf``'s."""

KERAS_ON_TORCH = replace(KERAS, separator="_")
"""``se_tf``'s where Keras runs on PyTorch, whose modules may have no dots in their names."""

FLAX = Dialect(
    "flax",
    leaves={
        "conv": _KERNEL,
        "linear": _KERNEL,
        "bn": {"weight": "scale", "running_mean": "mean", "running_var": "var"},
    },
    axes=_CHANNELS_LAST,
)
"""``se_jax``'s."""
