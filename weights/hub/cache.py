"""The folder that fetched weights are kept in, and the settings of fetching: SENET_HOME, SENET_OFFLINE, SENET_MIRROR.

Each name has a folder of its own, so that deleting it is all it takes to forget a network:

    se-resnet-50/SE-ResNet-50.caffemodel      as it was published
    se-resnet-50/se-resnet-50.safetensors     the same in our format, which is what is read
    se-resnet-50/se-resnet-50.safetensors.sha256    its checksum, as sha256sum writes it
    se-resnet-50/partial/                     what has come so far, while it is coming
"""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from weights.errors import InputError
from weights.files import metadata
from weights.files.safetensors import stated
from weights.hub.table import Source
from weights.storage.whole import reason, replacing


def home() -> Path:
    """The cache: ``SENET_HOME``, or a folder "senet" where this system keeps caches (~/.cache on Linux)."""
    if named := os.environ.get("SENET_HOME"):
        with suppress(RuntimeError):  # there is no such user
            return Path(named).expanduser()
        return Path(named)
    from pooch import os_cache

    return os_cache("senet")


def offline() -> bool:
    """Whether ``SENET_OFFLINE`` forbids the network: by any value but 0 and none."""
    return os.environ.get("SENET_OFFLINE", "") not in ("", "0")


def mirror() -> str | None:
    """``SENET_MIRROR``: an address under which there are files of the same names."""
    return os.environ.get("SENET_MIRROR") or None


def folder(source: Source) -> Path:
    """Where all files of a source are."""
    return home() / source.name


def original(source: Source) -> Path:
    """Where the file is kept as it was published."""
    return folder(source) / source.file


def canonical(source: Source) -> Path:
    """Where the same weights are in our format."""
    return folder(source) / f"{source.name}.safetensors"


def checksum(source: Source) -> Path:
    """Where the checksum of that file is."""
    return folder(source) / f"{source.name}.safetensors.sha256"


def cached(source: Source, sha256: str = "") -> Path | None:
    """The file in our format, if it is there and of this source.

    Only its header is read: a file that was cut, one of another version of this program, or one that was made of
    another file than is known now, counts as none.

    Args:
        source: which weights.
        sha256: of the file that they should have been made of, if it is known better than the source says.
    """
    path = canonical(source)
    try:
        spec, info = metadata.decode(stated(path), str(path))
    except InputError:
        return None
    return path if spec.name == source.network and info.sha256.startswith(sha256 or source.sha256) else None


def intact(source: Source, sha256: str = "") -> Path | None:
    """The file in our format as ``cached``, if it has the checksum that it was written with.

    Args:
        source, sha256: as of ``cached``.
    """
    path = cached(source, sha256)
    try:
        return path if path and checksum(source).read_text("ascii") == _checked(path) else None
    except (OSError, UnicodeDecodeError):
        return None


def keep_checksum(source: Source) -> None:
    """Writes the checksum of the file in our format beside it.

    Raises:
        InputError: the place cannot be written.
    """
    with replacing(checksum(source)) as file:
        file.write(_checked(canonical(source)).encode())


def _checked(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


@contextmanager
def written_to() -> Generator[None]:
    """Makes one clear error of whatever fails in the block because the cache cannot be written.

    Raises:
        InputError: it cannot.
    """
    try:
        yield
    except OSError as error:
        where = home()
        raise InputError(
            f"{where}: the cache cannot be written: {reason(error, where)}; SENET_HOME names another folder"
        ) from None
