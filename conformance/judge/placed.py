"""Where an adapter computes, while it is asked."""

from collections.abc import Generator
from contextlib import contextmanager

from conformance.adapters.devices import TF32, DeviceError, on_the_processor
from conformance.adapters.protocol import Adapter, Limited, Placed


@contextmanager
def placed(port: Adapter, device: str, dtype: str) -> Generator[None]:
    """All that the port does while the block runs, it does on that device, and in TF32 only where that is asked for.

    Args:
        port: an adapter; one without ``on`` computes on the CPU alone.
        device: its name, "cuda:0"; "" for the one that the port takes by itself.
        dtype: the precision that is asked for.

    Raises:
        DeviceError: the device is not there, or has no TF32.
    """
    tf32 = dtype == TF32
    if isinstance(port, Placed):
        with port.on(device, tf32):
            yield
        return
    on_the_processor(device, port.NAME)
    if tf32 and not isinstance(port, Limited):
        raise DeviceError(f"{port.NAME} has no TF32")
    yield
