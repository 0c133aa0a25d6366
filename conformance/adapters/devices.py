"""The devices that an adapter can compute on, by the names that people give them: "cpu", "gpu", "cuda:1"."""

import re
from collections.abc import Mapping
from typing import TypeVar

from weights.errors import InputError

Device = TypeVar("Device")

TF32 = "tf32"
"""Asked for like a precision: float32 whose products take factors of 11 bits, which GPUs compute faster."""


class DeviceError(InputError):
    """A device that is not there, or that cannot compute in what is asked for; the message says what there is."""


def check_name(device: str) -> None:
    """Whether that can be the name of a device, which is a word and may have a number: "cuda:1".

    Raises:
        InputError: it cannot.
    """
    if not re.fullmatch(r"[a-z]{1,20}(:[0-9]{1,4})?", device):
        raise InputError(
            f"unknown device {device!r:.100}: expected cpu, gpu, cuda or another kind, or one by number, cuda:1"
        )


def chosen(device: str, there: Mapping[str, Device], title: str, tf32: bool = False) -> Device:
    """The device that is meant. "gpu" and "cuda" mean the same, and a kind without a number its first one.

    Args:
        device: its name; "" for the first one that there is.
        there: the devices that a framework has, by its own names for them, the one that it takes by itself first.
        title: what people call the framework.
        tf32: whether it has to be one that has TF32.

    Raises:
        DeviceError: it is not there, or has no TF32.
    """
    found = next((name for name in there if not device or _kind_and_number(name) == _kind_and_number(device)), None)
    if found is None:
        raise DeviceError(f"{title} has no device {device!r:.100} here: it has {', '.join(there)}")
    if tf32 and _kind_and_number(found)[0] != "gpu":
        raise DeviceError(f"{title} computes on {found} here, which has no TF32: take --device gpu, or float32")
    return there[found]


def on_the_processor(device: str, title: str) -> None:
    """For an adapter that computes on the CPU alone.

    Raises:
        DeviceError: another device is meant.
    """
    chosen(device, {"cpu": None}, title)


def _kind_and_number(name: str) -> tuple[str, int]:
    kind, _, number = name.partition(":")
    return "gpu" if kind == "cuda" else kind, int(number or 0)
