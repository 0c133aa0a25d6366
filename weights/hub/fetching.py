"""From a name to a file of weights in the cache: fetched once, checked, converted once."""

import math
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path

from weights.errors import InputError, InputWarning
from weights.files import read, write
from weights.hub import cache, table
from weights.hub.bar import Told, bytes_coming
from weights.hub.cache import written_to
from weights.hub.download import Patience, Wanted, WebPageError, download, without_user
from weights.hub.table import Source, find, is_name, listed
from weights.networks.models import MODELS
from weights.networks.recognition import computing_otherwise
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params
from weights.storage.contents import contents, sha256
from weights.storage.parts import alone_in
from weights.storage.whole import replacing


def located(path: str | PathLike[str]) -> str | PathLike[str]:
    """A path as it is; in the place of the name of a network, its weights in the cache, fetched if need be.

    A file or a folder of that name comes first.

    Raises:
        InputError: as of ``fetch``.
    """
    if not isinstance(path, str | PathLike) or not is_name(str(path)) or os.path.lexists(path):
        return path
    return fetch(str(path))


def fetch(name: str, *, mirror: str | None = None, offline: bool = False, patience: Patience | None = None) -> Path:
    """The weights of a network in the cache, in our format.

    If they are not there they are downloaded, checked, recognised by their structure, and converted: all of it once,
    however many processes ask at a time.

    Args:
        name: of a network, "se-resnet-50", or of a network and who published the weights, "se-resnet-50@timm".
        mirror: the address of a folder with files of the same names; by default ``SENET_MIRROR``, and without that
            the address that is known of each file.
        offline: whether the network must not be used; also if ``SENET_OFFLINE`` says so.
        patience: with the server; by default that of ``Patience``.

    Returns:
        The path of the .safetensors file; its metadata say where it comes from.

    Raises:
        InputError: no such name, or no weights of it; the file cannot be had, is not what it should be, or the cache
            cannot be written.
    """
    source = find(name)
    if found := cache.intact(source):
        return found
    address = _address(source, mirror or cache.mirror())
    with written_to(), bytes_coming(f"Fetching {source.name}") as told, _alone(source) as partial:
        if found := cache.intact(source):  # another process was faster
            return found
        original = cache.original(source)
        if _is_that(original, source):
            return _convert(source, _recognised(source, original), f"converted again, {_published(source)}")
        if offline or cache.offline():
            raise InputError(f"{source.name}: is not in the cache, {cache.home()}, and the network is not to be used")
        _download(source, address, partial / source.file, told, patience or Patience())
        return _kept(source, partial / source.file, f"fetched from {without_user(address)}")


def take(file: str | PathLike[str], name: str | None = None) -> tuple[Source, Path]:
    """Takes a file that the user has into the cache, if it is one of the known ones.

    Args:
        file: of whatever name; its checksum says what it is.
        name: as of ``fetch``: what it should be. Needed where the checksum of the published file is not known; the
            file is then recognised by its structure alone.

    Returns:
        What it is, and the path of the .safetensors file in the cache.

    Raises:
        InputError: it is none of the known files, or not the one it should be, or the cache cannot be written.
    """
    data = contents(Path(file))
    digest = sha256(data)
    source = _known(file, digest, find(name) if name else None)
    with written_to(), _alone(source) as partial:
        if found := cache.intact(source, digest):
            return source, found
        with replacing(partial / source.file) as copy:
            copy.write(data)
        try:
            return source, _kept(source, partial / source.file, f"taken from a file at hand, {_published(source)}")
        except InputError as error:
            raise InputError(f"{file}: {error}") from None


def _published(source: Source) -> str:
    return f"published at {source.address or source.page}"


def _address(source: Source, mirror: str | None) -> str:
    if not mirror:
        return source.address
    if not re.match("https?://", mirror, re.IGNORECASE):
        raise InputError(f"mirror {without_user(mirror)[:200]!r}: is no address of http or https")
    return f"{mirror.rstrip('/')}/{source.file}"


def _known(file: str | PathLike[str], digest: str, wanted: Source | None) -> Source:
    """The source that a file is, by its checksum, or may be, if that is not known."""
    fits = [source for source in table.sources() if source.sha256 and digest.startswith(source.sha256)]
    if wanted is None:
        if not fits:
            open_ones = listed(source.name for source in table.sources() if not source.sha256)
            more = f"; if it is {open_ones}, whose checksum is published nowhere, name that too" if open_ones else ""
            raise InputError(f"{file}: is unknown: its sha256, {digest}, is that of no file in the table{more}")
        return fits[0]
    if wanted in fits or (not wanted.sha256 and not fits):
        return wanted
    if fits:
        raise InputError(f"{file}: is not {wanted.name} but {fits[0].name}, by its sha256")
    raise InputError(
        f"{file}: is not {wanted.file} of {wanted.name}, whose sha256 is {wanted.sha256}"
        f"{'' if wanted.proven == 'yes' else '...'}; that of this file is {digest}"
    )


@contextmanager
def _alone(source: Source) -> Generator[Path]:
    """A folder for what is coming, while no other process fetches the same.

    Where folders cannot be locked it is a folder of this process alone, which is gone afterwards.
    """
    folder = cache.folder(source)
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, math.inf) as alone:
        partial = folder / "partial" if alone else Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
        partial.mkdir(exist_ok=True)
        try:
            yield partial
        finally:
            if not alone:
                shutil.rmtree(partial, ignore_errors=True)
            with suppress(OSError):
                partial.rmdir()  # if it is empty


def _is_that(original: Path, source: Source) -> bool:
    """Whether a file of a source is there, by its size and its checksum."""
    from pooch import file_hash

    if not original.is_file() or original.stat().st_size != (source.size or original.stat().st_size):
        return False
    return file_hash(str(original), alg="sha256").startswith(source.sha256)


def _download(source: Source, address: str, target: Path, told: Told, patience: Patience) -> None:
    by_hand = f"download it by hand from {source.page} and then run: senet fetch --from FILE {source.network}"
    if not address:
        others = [s.name for s in table.sources() if s.network == source.network and s.address]
        or_else = f"; or take {listed(others)}, converted by others" if others else ""
        raise InputError(f"{source.name}: is published on a web page only: {by_hand}{or_else}")
    try:
        download(Wanted(address=address, size=source.size, sha256=source.sha256), target, told, patience)
    except WebPageError as error:
        what_to_do = by_hand if source.page else "open it in a browser; SENET_MIRROR names another place"
        raise InputError(f"{error}; {what_to_do}") from None
    except InputError as error:
        raise InputError(f"{error}; or {by_hand}" if source.page else str(error)) from None


def _kept(source: Source, file: Path, how: str) -> Path:
    """Takes a file that has come, if it is what it should be, for the original, and converts it."""
    try:
        found = _recognised(source, file)
    except InputError:
        file.unlink()
        raise
    file.replace(cache.original(source))
    return _convert(source, found, how)


def _recognised(source: Source, file: Path) -> Checkpoint:
    """The checkpoint in a file, which has to be of that network."""
    try:
        found = read(file)
    except InputError as error:
        raise InputError(f"is not {source.name}, and was not kept: {error}") from None
    if not _same(found.spec, MODELS[source.network]):
        raise InputError(f"is not {source.name}, and was not kept: it holds {found.spec.name}")
    return found


def _same(found: Spec, wanted: Spec) -> bool:
    """Whether a file's record is that of a network; an epsilon is a float in Caffe, and a double in PyTorch."""
    differ = set(computing_otherwise(found, wanted))
    return found.classes == wanted.classes and differ <= {"eps"} and math.isclose(found.eps, wanted.eps, rel_tol=1e-6)


def _convert(source: Source, found: Checkpoint, how: str) -> Path:
    from pooch import file_hash

    target, original = cache.canonical(source), cache.original(source)
    info = replace(
        found.info,
        source=source.file,
        sha256=file_hash(str(original), alg="sha256"),
        # Where a checksum says which file it is, the table says which network.
        assumed=tuple(name for name in found.info.assumed if not source.sha256 or name in ("preprocessing", "labels")),
        history=(*found.info.history, f"{how}; known {source.known_by}"),
    )
    write(target, replace(found.spec, name=source.network), Params(found.params, info))
    cache.keep_checksum(source)
    if source.proven != "yes":
        warnings.warn(InputWarning(f"{source.name}: is known {source.known_by}"), stacklevel=4)
    return target
