"""The options of writing, and the refusal of those that a file does not need or a format does not have."""

from os import PathLike
from typing import TypedDict

from weights.errors import InputError
from weights.files.onnx_options import OnnxOptions
from weights.networks.spec import Spec


class WriteOptions(TypedDict, total=False):
    """The options of ``weights.write``, which the frameworks' ``save`` hands on."""

    dialect: str | None
    onnx: OnnxOptions | None


def refuse(path: str | PathLike[str], why: str, **options: object) -> None:
    """Refuses the options that were given, which are those that are not None.

    Raises:
        InputError: at least one was; the file, the reason, the options and their values are named.
    """
    given = [f"{name} {_shown(value)}".rstrip() for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{path}: {why}; leave out {', '.join(given)}")


def _shown(value: object) -> str:
    return value.name if isinstance(value, Spec) else str(value)[:200]
