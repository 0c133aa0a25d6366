"""How an ONNX file is made of a network: opset, shapes, precision, and what stands around the network in it."""

import json
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any, Literal, get_args

from weights.errors import InputError
from weights.params import LARGEST_IMAGE, is_side

Precision = Literal["float32", "float16", "bfloat16", "int8"]
Embedded = Literal["normalize", "resize"]

OPSET = 20
OLDEST = 13
"""The first opset whose operators take per-channel scales and have their axes as inputs."""

KEY = "senet.onnx"
"""Of the metadata: the options, where they are not the usual ones."""

BFLOAT16 = 22
"""The first opset with convolutions in bfloat16."""

_ANTIALIAS = 18  # the first opset with a Resize that averages
_LARGEST_BATCH = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions:
    """How an ONNX file is made of a network; each as it stands is what ``weights.write`` does without options.

    Attributes:
        opset: 13 to the newest that the installed ONNX Runtime runs.
        batch: images at a time; None: any number.
        size: height and width of the images; None: any that the network takes.
        precision: of the computation. "float16" keeps float32 where values could be too large; "int8" quantizes
            weights by channel and activations by tensor, with ranges measured on ``images``. Inputs and outputs stay
            float32.
        folded: whether convolutions take in BatchNorms, as they always do in less precision than float32.
        preprocessing: "normalize": the input is "image", uint8 (N, H, W, 3), RGB, already of the network's size.
            "resize": of any size; it is resized and cropped as well, which needs opset 18.
        softmax: whether the output is "prob", probabilities, and not the last node's.
        taps: nodes whose outputs are outputs too; "all": of every node.
        images: files of photographs, of which the ranges are measured; a part of them is kept for the comparison.
        licence: of the weights; kept as "license" in the metadata.

    Raises:
        InputError: when made, of values that do not fit, by themselves or together.
    """

    opset: int = OPSET
    batch: int | None = None
    size: tuple[int, int] | None = None
    precision: Precision = "float32"
    folded: bool = False
    preprocessing: Embedded | None = None
    softmax: bool = False
    taps: tuple[str, ...] = ()
    images: tuple[str | PathLike[str], ...] = field(default=(), metadata={"kept": False})
    licence: str = field(default="", metadata={"kept": False})

    def __post_init__(self) -> None:
        _expect(type(self.opset) is int, f"opset {self.opset!r:.80}", "a whole number")
        if self.opset < OLDEST:
            raise _beyond(self.opset)
        fits = self.batch is None or (type(self.batch) is int and 0 < self.batch <= _LARGEST_BATCH)
        _expect(fits, f"batch {self.batch}", f"a whole number from 1 to {_LARGEST_BATCH:,}, or dynamic")
        two = isinstance(self.size, tuple) and len(self.size) == 2 and all(map(is_side, self.size))
        _expect(self.size is None or two, f"size {self.size}", f"two whole numbers from 1 to {LARGEST_IMAGE}")
        for name, known in (("precision", get_args(Precision)), ("preprocessing", (None, *get_args(Embedded)))):
            _expect(getattr(self, name) in known, f"{name} {getattr(self, name)!r:.80}", f"one of {_listed(known)}")
        for name in ("folded", "softmax"):
            _expect(isinstance(getattr(self, name), bool), f"{name} {getattr(self, name)!r:.80}", "True or False")
        texts = isinstance(self.taps, tuple) and all(isinstance(tap, str) and tap for tap in self.taps)
        _expect(texts, f"taps {self.taps!r:.80}", "names of nodes")
        if self.preprocessing == "resize" and self.opset < _ANTIALIAS:
            raise InputError(f"resizing that averages over pixels needs opset {_ANTIALIAS}, and {self.opset} is stated")
        if self.preprocessing == "resize" and self.size:
            raise InputError("with the resizing in the file, the images may have any size: leave out the size")
        if self.precision == "bfloat16" and self.opset < BFLOAT16:
            raise InputError(
                f"convolutions in bfloat16 need opset {BFLOAT16}, and {self.opset} is stated or usual: "
                f"state {BFLOAT16} or newer"
            )
        if self.precision == "int8" and self.taps:
            raise InputError("activations in int8 are joined with the convolutions before them: leave out the taps")
        if self.precision == "float32" and self.images:
            raise InputError("photographs are measured for less precision than float32: leave them out (--calibrate)")
        if self.precision == "int8" and not self.images:
            raise InputError("int8 needs photographs to measure ranges of: state them (--calibrate)")

    @property
    def usual(self) -> bool:
        """Whether the file is as it is without options."""
        return not self.to_dict()

    @property
    def reduced(self) -> bool:
        """Whether the precision is less than that of the parameters."""
        return self.precision != "float32"

    @property
    def exact(self) -> bool:
        """Whether the parameters come back from the file."""
        return not (self.reduced or self.folded)

    def to_dict(self) -> dict[str, Any]:
        """What differs from a file without options, as plain data."""
        kept = (f for f in fields(self) if f.metadata.get("kept", True))
        return {f.name: getattr(self, f.name) for f in kept if getattr(self, f.name) != f.default}

    def __str__(self) -> str:
        """In one line."""
        height, width = self.size or ("any", "any")
        return ", ".join(
            (
                f"opset {self.opset}",
                self.precision,
                *(["BatchNorms folded into convolutions"] if self.folded or self.reduced else []),
                f"batch {self.batch or 'any'}",
                "size of the network" if self.size is None else f"size {height}x{width}",
                *([f"preprocessing in the file ({self.preprocessing})"] if self.preprocessing else []),
                *(["softmax"] if self.softmax else []),
                *([f"outputs of {', '.join(self.taps)[:200]}"] if self.taps else []),
            )
        )


def encode(options: OnnxOptions) -> dict[str, str]:
    """The options as an entry of the metadata; none where they are the usual ones."""
    return {} if options.usual else {KEY: json.dumps(options.to_dict())}


def decode(text: str) -> OnnxOptions:
    """The inverse, of the entry's text.

    Raises:
        InputError: it is damaged.
    """
    from weights.storage import json_text

    try:
        data = json_text.parse(text)
        if not isinstance(data, dict) or not set(data) <= {f.name for f in fields(OnnxOptions)}:
            raise InputError("expected an object of options")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        if values.get("precision") == "int8":
            values["images"] = ("not kept",)
        return OnnxOptions(**values)
    except (InputError, TypeError) as error:
        raise InputError(f"its metadata is damaged: {KEY}: {error}") from None


def check_opset(opset: int) -> None:
    """Whether the installed ONNX Runtime runs an opset.

    Raises:
        InputError: it does not, or it is not installed.
    """
    if opset <= OPSET:
        return
    if opset > _newest():
        raise _beyond(opset)


def _beyond(opset: int) -> InputError:
    return InputError(f"opset {opset}: expected {OLDEST} to {_newest()}, the newest that ONNX Runtime runs here")


def _newest() -> int:
    from onnx.defs import onnx_opset_version

    return next(opset for opset in range(onnx_opset_version(), OPSET - 1, -1) if opset == OPSET or _runs(opset))


def _runs(opset: int) -> bool:
    """Whether ONNX Runtime has the operators whose definitions change most often."""
    from onnx import TensorProto, helper

    onnxruntime = onnxruntime_module()
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Constant", [], ["pads"], value_ints=[0, 0]),
        helper.make_node("Pad", ["same", "pads"], ["padded"]),
        helper.make_node("Flatten", ["padded"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"]),
        helper.make_node("Cast", ["turned"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["scale"], value_float=1.0),
        helper.make_node("QuantizeLinear", ["single", "scale"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "scale"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    x.type.tensor_type.shape.dim.add(dim_value=1)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        helper.make_graph(nodes, "probe", [x], [y]),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
    )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what it cannot run is no error here
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    except Exception:  # it has errors of many types for what it does not know
        return False
    return True


def onnxruntime_module() -> Any:  # noqa: ANN401, it need not be installed
    """The module ``onnxruntime``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"this needs ONNX Runtime, which the onnx extra has: pip install 'senet[onnx]' ({error})"
        ) from error
    return onnxruntime


def _expect(fits: bool, found: str, expected: str) -> None:
    if not fits:
        raise InputError(f"{found}: expected {expected}")


def _listed(known: tuple[object, ...]) -> str:
    return ", ".join(str(one) for one in known if one is not None)
