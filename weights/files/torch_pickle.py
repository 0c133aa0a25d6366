"""The pickles inside PyTorch's checkpoint files: read and written without PyTorch, and without running anything.

A pickle is a program for a small stack machine. The one here knows the instructions and the handful of callables that
a dictionary of tensors needs, each by a function of its own. Any other name in the file, such as that of a class, is
never looked up: what would be made by it is an inert ``Foreign``, which says no more than the name.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weights import limits
from weights.errors import InputError

STORAGES = {
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
}
"""PyTorch's class -> name of the dtype."""

_LONGEST_NAME = 1000  # bytes, of a module or of what stands in it
_STORAGE_OF = {dtype: name for name, dtype in STORAGES.items()}


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers that tensors are views of; the numbers themselves stand elsewhere in the file."""

    dtype: str
    key: str
    size: int  # in elements


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage; all in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A class or function of others, or what it would have made: nothing of it was imported or run."""

    name: str  # "argparse.Namespace"


class Ordered(dict[Any, Any]):
    """An OrderedDict, which is what a state dict is; PyTorch notes what the modules say about themselves beside it.

    Attributes:
        notes: by prefix of the names, "" for the whole network; whatever stands in the file.
    """

    notes: Any = None


def load(data: bytes | memoryview, position: int = 0, most: int = limits.STEPS) -> tuple[Any, dict[str, Storage], int]:
    """The value of the pickle at ``position``, tensors as ``Tensor``; all their storages by key; where the pickle ends.

    No more than ``most`` instructions are run. Objects that are no tensors, containers and plain values are
    ``Foreign``.

    Raises:
        InputError: the pickle is damaged, or has instructions that PyTorch does not write.
    """
    machine = _Machine(data, position, most)
    try:
        return machine.run(), machine.storages, machine.position
    except InputError:
        raise
    except (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"damaged pickle near byte {machine.position}: {error}") from None


class _Machine:
    def __init__(self, data: bytes | memoryview, position: int, most: int):
        self.data = data
        self.position = position
        self.most = most
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.characters = limits.TEXT

    def run(self) -> Any:
        for _ in range(self.most):
            op = self.bytes(1)
            if op == b".":
                return self.stack.pop()
            if op in _CONSTANTS:
                self.stack.append(_CONSTANTS[op]())
            elif op in _NUMBERS:
                self.stack.append(self.number(_NUMBERS[op]))
            elif op in _STRINGS:
                self.stack.append(self.text(self.number(_STRINGS[op])))
            else:
                self.step(op)
        raise InputError(f"the pickle has more than {self.most:,} instructions; no checkpoint needs that many")

    def step(self, op: bytes) -> None:
        stack = self.stack
        match op:
            case b"\x80":  # PROTO
                self.number("B")
            case b"\x95":  # FRAME
                self.number("<Q")
            case b"\x8a":  # LONG1
                stack.append(int.from_bytes(self.bytes(self.number("B")), "little", signed=True))
            case b"(":  # MARK
                self.marks.append(len(stack))
            case b"q" | b"r":  # BINPUT, LONG_BINPUT
                self.memo[self.number("B" if op == b"q" else "<I")] = stack[-1]
            case b"\x94":  # MEMOIZE
                self.memo[len(self.memo)] = stack[-1]
            case b"h" | b"j":  # BINGET, LONG_BINGET
                stack.append(self.memo[self.number("B" if op == b"h" else "<I")])
            case b"\x85" | b"\x86" | b"\x87":  # TUPLE1, TUPLE2, TUPLE3
                self.replace(b"\x84\x85\x86\x87".index(op), tuple)
            case b"t":  # TUPLE
                stack.append(tuple(self.marked()))
            case b"a":  # APPEND
                value = stack.pop()
                _append(stack[-1], [value])
            case b"e":  # APPENDS
                values = self.marked()
                _append(stack[-1], values)
            case b"s":  # SETITEM
                value, key = stack.pop(), stack.pop()
                _fill(stack[-1], [(key, value)])
            case b"u":  # SETITEMS
                values = self.marked()
                _fill(stack[-1], zip(values[::2], values[1::2], strict=True))
            case b"b":  # BUILD: attributes
                attributes = stack.pop()
                if isinstance(stack[-1], Ordered) and isinstance(attributes, dict):
                    stack[-1].notes = attributes.get("_metadata")
                _expect(dict | Foreign, stack[-1])
            case b"c":  # GLOBAL
                stack.append(_global(self.line(), self.line()))
            case b"\x93":  # STACK_GLOBAL
                self.replace(2, lambda names: _global(*names))
            case b"R":  # REDUCE
                arguments, function = _expect(tuple, stack.pop()), stack.pop()
                stack.append(_called(function, arguments))
            case b"\x81":  # NEWOBJ
                self.replace(2, lambda made: _called(_expect(Foreign, made[0]), ()))
            case b"\x92":  # NEWOBJ_EX
                self.replace(3, lambda made: _called(_expect(Foreign, made[0]), ()))
            case b"C" | b"B" | b"\x8e" | b"\x96":  # SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                self.skip(self.number({b"C": "B", b"B": "<I"}.get(op, "<Q")))
                stack.append(b"")  # nothing that is read here is bytes
            case b"\x8b":  # LONG4
                self.skip(self.number("<i"))
                stack.append(Foreign("builtins.int"))  # of more digits than any number of a checkpoint
            case b"\x8f":  # EMPTY_SET
                stack.append(Foreign("builtins.set"))
            case b"\x90":  # ADDITEMS
                self.marked()
                _expect(Foreign, stack[-1])
            case b"\x91":  # FROZENSET
                self.marked()
                stack.append(Foreign("builtins.frozenset"))
            case b"0":  # POP
                stack.pop()
            case b"1":  # POP_MARK
                self.marked()
            case b"Q":  # BINPERSID
                storage = _storage(*_expect(tuple, stack.pop()))
                kept = isinstance(storage, Storage)
                stack.append(self.storages.setdefault(storage.key, storage) if kept else storage)
            case _:
                raise InputError(f"the pickle has an instruction {op!r} that no checkpoint of tensors needs")

    def skip(self, count: int) -> int:
        """Moves on, and returns the place before."""
        start, self.position = self.position, self.position + count
        if count < 0 or self.position > len(self.data):
            raise InputError(f"the pickle is cut off: {count} bytes wanted at {start} of {len(self.data)}")
        return start

    def bytes(self, count: int) -> bytes:
        start = self.skip(count)
        return bytes(self.data[start : self.position])

    def text(self, count: int) -> str:
        start = self.skip(count)
        self.characters -= count
        if self.characters < 0:
            raise InputError(f"the pickle has more than {limits.TEXT:,} bytes of texts; no checkpoint needs that many")
        return str(self.data[start : self.position], "utf-8", "surrogatepass")

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))[0]

    def line(self) -> str:
        for size in (64, _LONGEST_NAME):  # most are short
            found, end, _ = bytes(self.data[self.position : self.position + size]).partition(b"\n")
            if end:
                self.skip(len(found) + 1)
                return str(found, "utf-8")
        self.skip(_LONGEST_NAME)  # which says that the pickle is cut off, if it is
        raise InputError(f"the pickle has a name of more than {_LONGEST_NAME} bytes")

    def marked(self) -> list[Any]:
        mark = self.marks.pop()
        values, self.stack[mark:] = self.stack[mark:], []
        return values

    def replace(self, count: int, build: Callable[[list[Any]], Any]) -> None:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        self.stack[-count:] = [build(self.stack[-count:])]


_CONSTANTS: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None,
    b"\x88": lambda: True,
    b"\x89": lambda: False,
    b")": tuple,
    b"]": list,
    b"}": dict,
}
_NUMBERS = {b"K": "B", b"M": "<H", b"J": "<i", b"G": ">d"}
_STRINGS = {b"X": "<I", b"\x8c": "B", b"\x8d": "<Q", b"U": "B", b"T": "<i"}  # the last two: Python 2


@dataclass(frozen=True, slots=True)
class _Callable:
    run: Callable[..., Any]


def _expect(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{getattr(kind, '__name__', kind)} expected, {type(value).__name__} found")
    return value


def _called(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What a callable makes of its arguments; one of others makes nothing."""
    if isinstance(function, Foreign):
        return Foreign(function.name)
    return _expect(_Callable, function).run(*arguments)


def _shown(value: Any) -> str:
    """A text, or else only the type: a few instructions make a list whose text is endless."""
    return repr(value[:40]) if isinstance(value, str) else type(value).__name__


def _append(target: Any, values: list[Any]) -> None:
    if not isinstance(target, Foreign):
        _expect(list, target).extend(values)


def _fill(target: Any, items: Iterable[tuple[Any, Any]]) -> None:
    """Sets items; those under keys that are no plain values, and those of objects of others, are left out."""
    if isinstance(target, Foreign):
        return
    _expect(dict, target)
    for key, value in items:
        if not isinstance(key, Foreign | Tensor | bytes | None):
            target[_expect(str | int | float, key)] = value


def _ordered_dict(pairs: list[Any] | None = None) -> Ordered:
    result = Ordered()
    if pairs is not None:  # Python 2 passes the items
        _fill(result, [(key, value) for key, value in _expect(list, pairs)])
        pairs.clear()  # used once; a hostile file could otherwise have one list copied without end
    return result


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> Tensor | Foreign:
    if isinstance(storage, Foreign):  # of numbers that NumPy has not
        return storage
    numbers = (offset, *_expect(tuple, shape), *_expect(tuple, stride))
    if not all(isinstance(n, int) and 0 <= n < 2**63 for n in numbers) or len(shape) != len(stride) or len(shape) > 32:
        raise InputError("a tensor with an impossible offset, shape or stride")
    return Tensor(_expect(Storage, storage), offset, shape, stride)


def _storage(kind: str, dtype: Any, key: str, _location: str, size: Any, view: Any = None) -> Storage | Foreign:
    if isinstance(dtype, Foreign):
        return dtype
    if kind != "storage" or dtype not in STORAGES.values() or view is not None:
        raise InputError(f"a reference of kind {_shown(kind)} to numbers outside of the pickle is not understood")
    if not isinstance(size, int) or not 0 <= size < 2**60:
        raise InputError("a storage with an impossible number of elements")
    return Storage(dtype, str(_expect(str, key)), size)


_GLOBALS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Callable(_ordered_dict),
    # Of a tuple, as PyTorch writes it: a list could be copied again and again by a small file.
    ("torch", "Size"): _Callable(lambda sizes: _expect(tuple, sizes)),
    ("torch._utils", "_rebuild_tensor"): _Callable(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Callable(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Callable(lambda tensor, *_: _expect(Tensor | Foreign, tensor)),
    ("torch._utils", "_rebuild_parameter_with_state"): _Callable(lambda tensor, *_: _expect(Tensor | Foreign, tensor)),
    ("collections", "defaultdict"): _Callable(lambda *_: {}),
    **{(module, name): dtype for module in ("torch", "torch.cuda") for name, dtype in STORAGES.items()},
}


def _global(module: Any, name: Any) -> Any:
    module, name = _expect(str, module), _expect(str, name)
    found = _GLOBALS.get((module, name))
    return Foreign(f"{module[:80]}.{name[:80]}") if found is None else found


def dump(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """The pickle of an OrderedDict of contiguous tensors, each the whole of a storage of its own.

    Args:
        tensors: name, dtype (a value of ``STORAGES``) and shape of each; the storages are called "0", "1", ...
    """
    parts = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    for key, (name, dtype, shape) in enumerate(tensors):
        size, strides = 1, []
        for length in reversed(shape):
            strides.append(size)
            size *= length
        storage = b"(" + _text("storage") + f"ctorch\n{_STORAGE_OF[dtype]}\n".encode() + _text(str(key)) + _text("cpu")
        parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, _integer(size), b"tQK\x00"]
        parts += [_tuple(shape), _tuple(strides[::-1]), b"\x89ccollections\nOrderedDict\n)RtR"]
    return b"".join([*parts, b"u."])


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little")


def _tuple(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
