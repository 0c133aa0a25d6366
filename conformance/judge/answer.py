"""Asks an adapter, in this process."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any, NamedTuple, assert_never, cast

import numpy as np

from conformance.adapters import AbsentError, adapter, comes_along, known
from conformance.adapters.devices import TF32, DeviceError
from conformance.adapters.protocol import Adapter, Brief, Limited, Trainable
from conformance.judge.placed import placed
from conformance.judge.question import Backward, Forward, Given, Training
from weights.errors import InputError, printable
from weights.networks.network import Network

_LONGEST = 300  # characters of what an adapter says
_LOOKED_AT = 10 * _LONGEST  # it may say megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an adapter made of a question.

    Attributes:
        version: of what computed.
        dtype: the precision that it computed in.
        tensors: taps, gradients, or parameters and running statistics, by name. Gradients below float64 may have the
            taps of their own pass beside them.
        others: of taps, those for the question's other images.
        seconds: to build the model, load the parameters and answer.
        message: why there are no tensors.
        absent: whether that is because something is not installed, or the adapter cannot answer such questions.

    What an adapter says about itself and about its errors is kept as one printable line.
    """

    version: str = ""
    dtype: str = ""
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    others: tuple[Mapping[str, np.ndarray], ...] = ()
    seconds: float = 0.0
    message: str = ""
    absent: bool = False

    def __post_init__(self) -> None:
        for name in ("version", "message"):
            line = " ".join(printable(getattr(self, name)[:_LOOKED_AT]).split())
            object.__setattr__(self, name, line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")


class UnableError(InputError):
    """An adapter cannot answer questions of that kind."""


def ask(port: Adapter, given: Given) -> Answer:
    """The answer of an adapter, on the device that is asked for; its errors propagate.

    Raises:
        UnableError: it has no function for the question, or takes no network without a record.
        DeviceError: the device is not there, or cannot compute in that precision.
    """
    with placed(port, given.device, given.dtype):
        return _answer(port, given)


def _answer(port: Adapter, given: Given) -> Answer:
    """The answer of an adapter.

    Taps come in the order of the nodes; names that the network does not have come last.

    Raises:
        UnableError: it has no function for the question, or takes no network without a record.
    """
    start = time.perf_counter()
    question, network = given.question, given.network
    able, model, dtype = built(port, given)
    others: Sequence[Mapping[str, np.ndarray]] = ()
    match question:
        case Forward():
            answers = (able.taps(model, np.ascontiguousarray(x, carried(dtype))) for x in question.inputs)
            tensors, *others = (_in_order(network, _tensors(found, "taps")) for found in answers)
            if others and isinstance(able, Brief) and not comes_along(able):
                # What photographs are classified by is judged on the last image.
                by = Built(able, model, dtype)
                others[-1] = {**others[-1], network.output.name: _brief(by, network, question.others[-1])}
        case Backward(training=training):
            # Said only in training, so that ports which do not train need no such argument.
            if training and not _takes(able.gradients, "training"):
                raise UnableError(f"{port.NAME} has no {question.what}")
            options = {"training": True} if training else {}
            answers = (
                able.gradients(
                    model, np.ascontiguousarray(x, carried(dtype)), np.asarray(cotangent, carried(dtype)), **options
                )
                for x, cotangent in question.inputs
            )
            tensors, *others = (_tensors(found, "gradients") for found in answers)
        case Training(batches, recipe, _):
            cast_to = [(np.ascontiguousarray(x, carried(dtype)), np.asarray(y, np.int64)) for x, y in batches]
            tensors = _tensors(able.train(model, cast_to, recipe), "train")
        case _:
            assert_never(question)
    return Answer(
        version=_version(port),
        dtype=dtype,
        tensors=tensors,
        others=tuple(others),
        seconds=time.perf_counter() - start,
    )


class Built(NamedTuple):
    """A port with a model of its own, at least as able as what it is asked, and the precision that it computes in."""

    port: Trainable
    model: Any
    dtype: str


def built(port: Adapter, given: Given) -> Built:
    """The model of a port that a question is asked of; its errors propagate.

    Raises:
        UnableError: as of ``ask``.
    """
    question, network = given.question, given.network
    if not hasattr(port, question.function):
        if question.what == "taps":  # which every adapter has
            raise TypeError(f"{port.NAME} has no function {question.function}()")
        raise UnableError(f"{port.NAME} has no {question.what}")
    if network.spec is None and not getattr(port, "ANY_NETWORK", False):
        raise UnableError(f"{port.NAME} has no model of {network.name}, which is only its nodes, without a record")
    able = cast(Trainable, port)
    of = network.spec or network
    dtype = port.dtype(of, question.shape, given.dtype) if isinstance(port, Limited) else given.dtype
    _expect_text(dtype, "dtype()")
    return Built(able, able.build(of, given.params, "float32" if dtype == TF32 else dtype), dtype)


def outputs(by: Built, network: Network, x: np.ndarray, nodes: Sequence[str]) -> dict[str, np.ndarray]:
    """The outputs of those of some nodes that a port shows; its errors propagate.

    Args:
        by: the port, and its model.
        network: what the model is of.
        x: images (N, C, H, W).
        nodes: their names.
    """
    if isinstance(by.port, Brief) and tuple(nodes) == (network.output.name,):
        return {network.output.name: _brief(by, network, x)}
    found = _tensors(by.port.taps(by.model, np.ascontiguousarray(x, carried(by.dtype))), "taps")
    return {name: found[name] for name in nodes if name in found}


def _brief(by: Built, network: Network, x: np.ndarray) -> np.ndarray:
    """The output of the last node, by the function of its own that a port has for it."""
    last, port = network.output.name, cast(Brief, by.port)
    return _tensors({last: port.logits(by.model, np.ascontiguousarray(x, carried(by.dtype)))}, "logits")[last]


def carried(dtype: str) -> str:
    """What arrays are handed over in: NumPy has no bfloat16."""
    return "float64" if dtype == "float64" else "float32"


def _takes(function: Callable[..., object], name: str) -> bool:
    """Whether a function has an argument of that name."""
    known = signature(function).parameters
    return name in known or any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())


def _in_order(network: Network, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {node.name: found[node.name] for node in network.nodes if node.name in found} | found


def _tensors(found: object, function: str) -> dict[str, np.ndarray]:
    """What a function of an adapter gave, as arrays of NumPy's own class.

    Raises:
        TypeError: it is no mapping of names to arrays of numbers that NumPy has in files.
    """
    if not isinstance(found, Mapping):
        raise TypeError(f"{function}() gave a {type(found).__name__}, expected a dict of arrays by name")
    arrays: dict[str, np.ndarray] = {}
    for name, array in dict(found).items():
        if not isinstance(name, str):
            raise TypeError(f"{function}() gave a name that is a {type(name).__name__}, expected a text")
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{function}() gave {name} as a {type(array).__name__}, expected an array of NumPy's")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise TypeError(f"{function}() gave {name} as an array of {array.dtype}, expected float64 or float32")
        arrays[str(name)] = np.asarray(array)
    return arrays


def _version(port: Adapter) -> str:
    return _expect_text(port.version(), "version()")


def _expect_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} gave a {type(value).__name__}, expected a text")
    return value


def answer_of(name: str, given: Given) -> Answer:
    """The answer of an adapter by its name; what goes wrong becomes its message, but for KeyboardInterrupt.

    Raises:
        InputError: there is no such adapter.
    """
    known(name)
    version = ""
    try:
        try:
            port = adapter(name)
        except AbsentError as error:
            return Answer(message=str(error), absent=True)
        _expect_text(getattr(port, "NAME", ""), "NAME")
        version = _version(port)
        return ask(port, given)
    except UnableError as error:
        return Answer(version=version, message=str(error), absent=True)
    except DeviceError as error:  # as if what it needs were not installed
        return Answer(message=str(error), absent=True)
    except KeyboardInterrupt:  # may be the user's
        raise
    except BaseException as error:
        return Answer(version=version, message=said(error))


def said(error: BaseException) -> str:
    """What an error of an adapter says, in words."""
    kind = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:
        return f"{kind}, which cannot say what is wrong"
    return f"{kind}: {text}" if text else kind
