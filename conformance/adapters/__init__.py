"""The adapters that come along, in one table, and the loading of an adapter by its name.

``protocol`` says what functions an adapter has. A module is imported when its adapter is used, not before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from weights.errors import InputError

if TYPE_CHECKING:
    from conformance.adapters.protocol import Adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One adapter that comes along.

    Attributes:
        name: what it is asked for by, and the name of its module.
        title: what people read in tables and reports.
        extra: ``pip install 'senet[extra]'`` installs what it needs; "" if it needs nothing.
        packages: the top-level modules of that extra that compute; a run states their versions.
        also: other top-level modules of that extra.
        backend: what KERAS_BACKEND has to be before Keras is imported, "" without Keras.
        differentiable: whether it has gradients.
        standard: whether it is compared where nobody says which.
        single: whether it may answer in float32, whatever is asked for, for it has few or no other kernels.
        slow: whether importing and compiling take long, so that it is asked before others.
    """

    name: str
    title: str
    extra: str = ""
    packages: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    backend: str = ""
    differentiable: bool = False
    standard: bool = False
    single: bool = False
    slow: bool = False

    @property
    def module(self) -> str:
        """The path of its module."""
        return f"{__name__}.{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that have to be set before anything is imported; they are, in a process of its own."""
        return {"KERAS_BACKEND": self.backend} if self.backend else {}


ADAPTERS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row(name="numpy", title="NumPy reference", differentiable=True, standard=True, single=True),
        Row(
            name="torch",
            title="PyTorch",
            extra="torch",
            packages=("torch",),
            differentiable=True,
            standard=True,
        ),
        Row(
            name="jax",
            title="Flax (JAX)",
            extra="jax",
            packages=("jax", "flax"),
            also=("jaxlib", "optax"),
            differentiable=True,
            standard=True,
            slow=True,
        ),
        Row(
            name="tf",
            title="Keras (TensorFlow)",
            extra="tf",
            packages=("tensorflow", "keras"),
            backend="tensorflow",
            differentiable=True,
            standard=True,
            slow=True,
        ),
        Row(
            name="onnx",
            title="ONNX Runtime",
            extra="onnx",
            packages=("onnx", "onnxruntime"),
            also=("onnx_ir",),
            standard=True,
            single=True,
        ),
        Row(name="torch_fast", title="PyTorch, fast path", extra="torch", single=True),
        Row(name="jax_fast", title="Flax, fast path", extra="jax", single=True),
        Row(name="tf_fast", title="Keras (TF), fast path", extra="tf", backend="tensorflow", single=True),
        Row(name="torch_channels_last", title="PyTorch, channels last", extra="torch", differentiable=True),
        Row(name="torch_compiled", title="PyTorch, compiled", extra="torch", differentiable=True),
        Row(name="torch_exported", title="PyTorch, exported", extra="torch"),
        Row(name="torch_scripted", title="PyTorch, scripted", extra="torch"),
        Row(name="jax_eager", title="Flax, eager", extra="jax", differentiable=True),
        Row(name="jax_exported", title="Flax, exported", extra="jax"),
        Row(name="tf_eager", title="Keras (TF), eager", extra="tf", backend="tensorflow", differentiable=True),
        Row(name="tf_xla", title="Keras (TF), XLA", extra="tf", backend="tensorflow", differentiable=True),
        Row(name="tf_saved_model", title="SavedModel", extra="tf", backend="tensorflow"),
        Row(name="tf_lite", title="TFLite", extra="tf", backend="tensorflow", single=True),
        Row(name="tf_lite_int8", title="TFLite, int8", extra="tf", backend="tensorflow", single=True),
        Row(name="keras_jax", title="Keras (JAX)", extra="tf", backend="jax", differentiable=True),
        Row(name="keras_torch", title="Keras (PyTorch)", extra="tf", backend="torch", differentiable=True),
        Row(name="onnx_torch", title="ONNX of torch.onnx", extra="contestants", packages=("onnxscript",), single=True),
        Row(name="onnx_jax", title="ONNX of jax2onnx", extra="contestants", packages=("jax2onnx",), single=True),
        Row(name="openvino", title="OpenVINO", extra="contestants", packages=("openvino",), single=True),
        Row(name="openvino_ir", title="OpenVINO IR", extra="contestants", packages=("openvino",), single=True),
    )
}
"""The adapters that come along, by name; any other is named by its module, "package.module"."""

STANDARD = tuple(row.name for row in ADAPTERS.values() if row.standard)
"""Those that are compared where nobody says which."""

DIFFERENTIABLE = tuple(row.name for row in ADAPTERS.values() if row.standard and row.differentiable)
"""Those whose gradients and training are compared where nobody says which."""

EXTRAS: Mapping[str, str] = {package: row.extra for row in ADAPTERS.values() for package in (*row.packages, *row.also)}
"""Top-level modules to the extra that installs them: ``pip install 'senet[...]'``."""


class AbsentError(ModuleNotFoundError):
    """What an adapter needs is not installed; the message says what to install."""


def computes_in(name: str) -> tuple[str, ...]:
    """The precisions that an adapter may answer in, beside the one that is asked for. A port has none."""
    return ("float32",) if name in ADAPTERS and ADAPTERS[name].single else ()


def comes_along(port: object) -> bool:
    """Whether a port is an adapter of this package, whose functions are held against each other in its tests."""
    return getattr(port, "__name__", "") in {row.module for row in ADAPTERS.values()}


def slow(name: str) -> bool:
    """Whether an adapter takes long; of a port nobody knows, so it may."""
    return name not in ADAPTERS or ADAPTERS[name].slow


def title_of(name: str) -> str:
    """What people read instead of an adapter's name; a port's name as it is."""
    return ADAPTERS[name].title if name in ADAPTERS else name


def adapter(name: str) -> "Adapter":
    """The adapter of that name.

    Raises:
        AbsentError: what it needs is not installed.
        InputError: there is no such adapter.
    """
    path = known(name)
    try:
        return cast("Adapter", import_module(path))  # a module that keeps the protocol is one; pyright cannot see it
    except ImportError as error:
        # Our packages say in an ImportError of their own which extra they need; its cause names the module.
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        missing = (cause.name or "").partition(".")[0]
        if missing in EXTRAS:
            message = f"{missing} is not installed: pip install 'senet[{EXTRAS[missing]}]'"
            raise AbsentError(message, name=missing) from None
        raise


def known(name: str) -> str:
    """The path of the module that is the adapter of that name. Nothing of it is imported, nor the packages above it.

    Raises:
        InputError: there is no such module.
    """
    path = ADAPTERS[name].module if name in ADAPTERS else name
    if "." not in path or not _is_there(path):
        raise InputError(
            f"unknown framework {name!r}: expected one of {', '.join(ADAPTERS)}, "
            "or an adapter's module, 'package.module', that can be imported"
        )
    return path


def _is_there(path: str) -> bool:
    package, _, rest = path.partition(".")
    try:
        found = find_spec(package)
        while found and rest:
            part, _, rest = rest.partition(".")
            places = found.submodule_search_locations
            found = None if places is None else PathFinder.find_spec(f"{found.name}.{part}", places)
    except ValueError:  # a name with nothing between its dots, or a module without a spec, made by hand
        return False
    return found is not None
