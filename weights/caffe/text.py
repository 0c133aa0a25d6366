"""Caffe's .prototxt files: protobuf's text format, read and printed by the message tables."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from weights import limits
from weights.caffe.file import upgraded
from weights.caffe.net import Layer, Net
from weights.caffe.schema import ENUMS, MESSAGES, Field
from weights.errors import InputError
from weights.protobuf import Budget
from weights.storage.contents import text_of

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*+)++)
    |(?P<string>"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\[^\n][^'\\\n]*+)*+')
    |(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?)(?![\w.]))
    |(?P<word>[A-Za-z_]\w*)
    |(?P<symbol>[-{}<>\[\]:;,])""",
    re.VERBOSE,
)
_LONG = 16  # characters of a text that cost as much as a field
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1)}
_BOOLS = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}
_ESCAPES = {"n": 10, "r": 13, "t": 9, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, "'": 39, '"': 34, "?": 63}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read(path: str | Path) -> Net:
    """The network that a .prototxt defines, old forms (V0 and V1 layers, `input` fields) upgraded as Caffe does.

    Raises:
        InputError: there is no such file, or its text is not a network definition; with the number of the line.
    """
    text = text_of(path, limits.TEXT, errors="surrogateescape")
    return upgraded(parse(text, str(path)), str(path))


def test_phase(net: Net) -> Net:
    """What Caffe keeps of a definition in the TEST phase (level 0, no stages), by its include and exclude rules."""

    def kept(settings: Mapping[str, Any]) -> bool:
        if settings.get("include"):
            return any(map(_holds, settings["include"]))
        return not any(map(_holds, settings.get("exclude", [])))

    return replace(net, layers=tuple(layer for layer in net.layers if kept(layer.settings)))


def _holds(rule: Mapping[str, Any]) -> bool:
    return (
        rule.get("phase", "TEST") == "TEST"
        and rule.get("min_level", 0) <= 0 <= rule.get("max_level", 0)
        and not rule.get("stage")
    )


def parse(text: str, source: str = "prototxt", message: str = "NetParameter") -> dict[str, Any]:
    """A message in text format as plain data: only the fields that are set, nested messages as dicts.

    Raises:
        InputError: a syntax error, an unknown field, a field that is not repeated given twice, or a value that is
            none of its type; as in protobuf's own reader. The message begins with ``source`` and the line.
    """
    return _Parser(text, source).message(message)


def dump(net: Net) -> str:
    """A network's definition in text format; blobs are left out."""
    return text({"name": net.name, **net.settings, "layer": [_message(layer) for layer in net.layers]})


def text(value: Mapping[str, Any], message: str = "NetParameter") -> str:
    """A message printed in text format, fields in the order of their numbers, as protobuf prints it."""
    return "".join(f"{line}\n" for line in _lines(value, message, ""))


def _message(layer: Layer) -> dict[str, Any]:
    names = {"name": layer.name, "type": layer.type, "bottom": list(layer.bottoms), "top": list(layer.tops)}
    return names | dict(layer.settings)


class _Parser:
    def __init__(self, text: str, source: str):
        self.source = source
        self.tokens = self._tokens(text)
        self.budget = Budget()
        self.token = next(self.tokens)

    def fail(self, why: str, line: int | None = None) -> NoReturn:
        shown = why.encode("utf-8", "backslashreplace").decode()  # the file may hold what is no text
        raise InputError(f"{self.source}:{line or self.token.line}: {shown}")

    def _tokens(self, text: str) -> Iterator[_Token]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                self.fail(f"unexpected character {text[at]!r}", line)
            if match.lastgroup != "space":
                yield _Token(str(match.lastgroup), match[0], line)
            line += match[0].count("\n")
            at = match.end()
        yield _Token("end", "the end of the file", line)

    def spend(self, fields: int) -> None:
        try:
            self.budget.spend(fields)
        except InputError as error:
            self.fail(str(error))

    def take(self, kind: str = "") -> _Token:
        token = self.token
        if kind and token.kind != kind:
            self.fail(f"expected a {kind}, found {token.text}")
        if token.kind != "end":
            self.token = next(self.tokens)
        return token

    def accept(self, *symbols: str) -> str:
        if self.token.kind == "symbol" and self.token.text in symbols:
            return self.take().text
        return ""

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            self.fail(f"expected {symbol}, found {self.token.text}")

    def message(self, name: str, closing: str = "") -> dict[str, Any]:
        fields, values = MESSAGES[name], {}
        while not (self.accept(closing) if closing else self.token.kind == "end"):
            key = self.token
            field = fields.get(self.take("word").text)
            if field is None:
                self.fail(f"{name} has no field {key.text!r}", key.line)
            if not field.repeated and field.name in values:
                self.fail(f"{key.text} is given twice", key.line)
            colon = self.accept(":")
            if not colon and field.kind != "message":
                self.fail(f"expected : after {key.text}, found {self.token.text}")
            if field.repeated:
                values.setdefault(field.name, []).extend(self.several(field))
            else:
                values[field.name] = self.value(field)
            self.accept(";", ",")
        return values

    def several(self, field: Field) -> Iterator[Any]:
        if not self.accept("["):
            yield self.value(field)
        elif not self.accept("]"):
            yield self.value(field)
            while self.accept(","):
                yield self.value(field)
            self.expect("]")

    def value(self, field: Field) -> Any:
        self.spend(1)
        match field.kind:
            case "message":
                if not (opening := self.accept("{", "<")):
                    self.fail(f"expected {{ after {field.name}, found {self.token.text}")
                return self.message(str(field.message), "}" if opening == "{" else ">")
            case "string" | "bytes":
                return self.string()
            case "bool":
                token = self.take()
                if token.text not in _BOOLS:
                    self.fail(f"{field.name} is true or false, found {token.text}", token.line)
                return _BOOLS[token.text]
            case "enum":
                return self.enum(field)
            case "float" | "double":
                return self.real(field)
            case _:
                return self.integer(field.name, *_INTEGERS[field.kind])

    def string(self) -> str:
        pieces = [self.take("string")]
        while self.token.kind == "string":
            pieces.append(self.take())
            self.spend(1)
        self.spend(sum(len(piece.text) for piece in pieces) // _LONG)
        return b"".join(map(self.unescape, pieces)).decode("utf-8", "surrogateescape")

    def unescape(self, token: _Token) -> bytes:
        def one(match: re.Match[str]) -> str:
            octal, hexadecimal, wide, simple = match.groups()
            if octal or hexadecimal:
                return chr(int(octal, 8) & 255 if octal else int(hexadecimal, 16))
            if wide:
                code = int(wide[1:], 16)
                if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                    self.fail(f"\\{wide} is no character", token.line)
                return chr(code).encode().decode("latin-1")
            if simple not in _ESCAPES:
                self.fail(f"unknown escape \\{simple}", token.line)
            return chr(_ESCAPES[simple])

        raw = token.text[1:-1].encode("utf-8", "surrogateescape").decode("latin-1")
        pattern = r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(.))"
        return re.sub(pattern, one, raw).encode("latin-1")

    def integer(self, name: str, low: int, high: int) -> int:
        sign = -1 if self.accept("-") else 1
        token = self.take()
        digits = token.text
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[:1] == "0" else 10
        if len(digits) > limits.DIGITS:
            self.fail(f"{name} is a whole number, found one of {len(digits):,} digits", token.line)
        try:
            number = sign * int(digits, base)
        except ValueError:
            self.fail(f"{name} is a whole number, found {digits}", token.line)
        if token.kind != "number" or not low <= number <= high:
            self.fail(f"{name} is a whole number from {low} to {high}, found {number}", token.line)
        return number

    def real(self, field: Field) -> float:
        sign = -1.0 if self.accept("-") else 1.0
        token = self.take()
        if len(token.text) > limits.NUMBER:
            self.fail(f"{field.name} is a number, found one of {len(token.text):,} characters", token.line)
        digits = token.text.lower()
        if token.kind == "number" and not digits.startswith("0x"):
            digits = digits.removesuffix("f")
        try:
            if token.kind == "word" and digits not in ("inf", "infinity", "nan"):
                raise ValueError(digits)
            number = sign * (float(int(digits, 16)) if digits.startswith("0x") else float(digits))
        except OverflowError:
            number = sign * float("inf")
        except ValueError:
            self.fail(f"{field.name} is a number, found {token.text}", token.line)
        if field.kind == "double":
            return number
        with np.errstate(over="ignore"):  # as in protobuf: infinite where the float does not hold it
            return float(np.float32(number))

    def enum(self, field: Field) -> str:
        values = ENUMS[str(field.enum)]
        if self.token.kind == "word":
            token = self.take()
            if token.text in values:
                return token.text
            self.fail(f"{field.name} is one of {', '.join(values)}, found {token.text}", token.line)
        line = self.token.line
        number = self.integer(field.name, *_INTEGERS["int32"])
        names = [name for name, known in values.items() if known == number]
        if not names:
            known = ", ".join(f"{name} ({known})" for name, known in values.items())
            self.fail(f"{field.name} is one of {known}, found {number}", line)
        return names[0]


def _lines(value: Mapping[str, Any], message: str, indent: str) -> Iterator[str]:
    fields = MESSAGES[message]
    for name in sorted(value, key=lambda name: fields[name].number):
        field = fields[name]
        for item in value[name] if field.repeated else [value[name]]:
            if field.kind == "message":
                yield f"{indent}{name} {{"
                yield from _lines(item, str(field.message), indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(field, item)}"


def _scalar(field: Field, value: Any) -> str:
    match field.kind:
        case "string" | "bytes":
            return f'"{"".join(map(_escape, value))}"'
        case "bool":
            return "true" if value else "false"
        case "float" | "double":
            number = np.float32(value) if field.kind == "float" else np.float64(value)
            return str(number).removesuffix(".0")
        case _:
            return str(value)


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    if 0xDC80 <= ord(char) <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\{ord(char) - 0xDC00:03o}"
    return char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in char.encode())
