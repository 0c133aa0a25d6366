"""One adapter per framework, imported by name when it is needed.

An adapter is a module with

    NAME: str                              what people call it
    version() -> str                       of what computes
    build(spec, params, dtype) -> model    in inference mode; params by canonical name
    taps(model, x) -> {node: array}        x and maps are (N, C, H, W); what the model does not have is left out
    gradients(model, x, cotangent, training=False) -> {"data" or parameter: array}
    train(model, batches, recipe) -> {parameter: array}

of which the last two may be absent. Where it does not compute in every precision, ``dtype(spec, shape, dtype) -> str``
is the one that it takes instead.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from weights.errors import InputError

FRAMEWORKS = ("numpy", "torch", "jax", "tf", "onnx")
"""The adapters that come along; any other is named by its module, "package.module"."""

CONTESTANTS = (
    "torch_channels_last",
    "torch_compiled",
    "torch_exported",
    "torch_scripted",
    "jax_eager",
    "tf_eager",
    "tf_xla",
    "tf_saved_model",
    "tf_lite",
    "keras_jax",
    "keras_torch",
    "onnx_torch",
    "onnx_jax",
    "openvino",
)
"""Other ways of running the same networks, which are asked for by name, or as "all"."""

KNOWN = FRAMEWORKS + CONTESTANTS

ENVIRONMENT = {
    "keras_jax": {"KERAS_BACKEND": "jax"},
    "keras_torch": {"KERAS_BACKEND": "torch"},
    **{name: {"KERAS_BACKEND": "tensorflow"} for name in ("tf", "tf_eager", "tf_xla", "tf_saved_model", "tf_lite")},
}
"""What must be set before anything is imported; it is in a process of its own."""

DIFFERENTIABLE = ("numpy", "torch", "jax", "tf")
"""Those that have gradients and train."""

EXTRAS = {
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "flax": "jax",
    "optax": "jax",
    "tensorflow": "tf",
    "keras": "tf",
    "onnx": "onnx",
    "onnx_ir": "onnx",
    "onnxruntime": "onnx",
    "jax2onnx": "contestants",
    "onnxscript": "contestants",
    "openvino": "contestants",
}
"""Top-level modules to the extra that installs them: ``pip install 'senet[...]'``."""


class AbsentError(ModuleNotFoundError):
    """A framework is not installed; the message says what to install."""


def adapter(name: str) -> ModuleType:
    """The adapter of that name.

    Raises:
        AbsentError: its framework is not installed.
        InputError: there is no such adapter.
    """
    path = known(name)
    try:
        return import_module(path)
    except ImportError as error:
        # Our packages say in an ImportError of their own which extra they need; its cause names the module.
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        missing = (cause.name or "").partition(".")[0]
        if missing in EXTRAS:
            message = f"{missing} is not installed: pip install 'senet[{EXTRAS[missing]}]'"
            raise AbsentError(message, name=missing) from None
        raise


def known(name: str) -> str:
    """The path of the module that is the adapter of that name; nothing is imported but the packages above it.

    Raises:
        InputError: there is none.
    """
    path = f"{__name__}.{name}" if name in KNOWN else name
    try:
        found = "." in path and find_spec(path)
    except ModuleNotFoundError:
        found = None
    if not found:
        raise InputError(
            f"unknown framework {name!r}: expected one of {', '.join(KNOWN)}, "
            "or an adapter's module, 'package.module', that can be imported"
        )
    return path


TITLES = {
    "numpy": "NumPy reference",
    "torch": "PyTorch",
    "jax": "Flax (JAX)",
    "tf": "Keras (TensorFlow)",
    "onnx": "ONNX Runtime",
    "torch_channels_last": "PyTorch, channels last",
    "torch_compiled": "PyTorch, compiled",
    "torch_exported": "PyTorch, exported",
    "torch_scripted": "PyTorch, scripted",
    "jax_eager": "Flax, eager",
    "keras_jax": "Keras (JAX)",
    "keras_torch": "Keras (PyTorch)",
    "tf_eager": "Keras (TF), eager",
    "tf_xla": "Keras (TF), XLA",
    "tf_saved_model": "SavedModel",
    "tf_lite": "TFLite",
    "onnx_torch": "ONNX of torch.onnx",
    "onnx_jax": "ONNX of jax2onnx",
    "openvino": "OpenVINO",
}


def title_of(name: str) -> str:
    """What people read instead of an adapter's name; a port's name as it is."""
    return TITLES.get(name, name)
