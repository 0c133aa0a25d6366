"""JSON of others, within limits: small, flat, without two entries of one name."""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from weights import limits
from weights.errors import InputError

# A text without its end is taken to the end, so that no character is looked at twice.
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]},]', re.DOTALL)


def parse(text: bytes | memoryview | str, *, constants: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: in UTF-8, if it is bytes.
        constants: whether NaN and Infinity are numbers, which Python writes and JSON has not.

    Raises:
        InputError: no JSON, or more than ``limits`` allow; the message is the end of a sentence about the text.
    """
    if len(text) > limits.TEXT:
        raise InputError(f"has {len(text):,} bytes of JSON, at most {limits.TEXT:,} are read")
    try:
        plain = text if isinstance(text, str) else str(text, "utf-8")
        _check_shape(plain)
        return json.loads(
            plain,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=float if constants else _no_constant,
        )
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}") from None


def _check_shape(text: str) -> None:
    """Refuses too many values and too deep ones, before any of them is made."""
    depth = 0
    for count, mark in enumerate(_MARKS.finditer(text)):
        first = text[mark.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > limits.DEPTH:
            raise InputError(f"has more than {limits.DEPTH} lists and objects inside each other")
        if count > limits.MARKS:
            raise InputError(f"has more than {limits.MARKS:,} brackets, commas and strings")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = [key[:80] for key in sorted(counts) if counts[key] > 1]
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise InputError(f"is ambiguous: {', '.join(twice[:5])}{more} occurs twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > limits.DIGITS:
        raise InputError(f"has a whole number of {len(digits):,} digits")
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > limits.NUMBER:
        raise InputError(f"has a number of {len(digits):,} characters")
    return float(digits)


def _no_constant(name: str) -> NoReturn:
    raise InputError(f"has {name}, which is no number of JSON")
