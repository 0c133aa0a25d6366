"""Comments in a .prototxt that say what no Caffe file can state: preprocessing, label order, history."""

from collections.abc import Mapping
from pathlib import Path

from weights import limits
from weights.caffe.net import Net
from weights.errors import InputError
from weights.files import metadata
from weights.networks.spec import Spec
from weights.params import Info
from weights.storage.contents import text_of

_WEIGHTS = "senet.weights"
"""The note that says to which weights file, by its sha256, a definition with its notes belongs."""

_SAID = ("senet.spec", "senet.factors", "senet.provenance", "senet.input_size", "senet.last_pooling")
"""Metadata that the layers and their blobs say themselves, or that is about another file."""


def prototxt_of(path: Path) -> Path:
    """The name of the definition that belongs to a weights file: x.caffemodel -> x.prototxt."""
    return path.with_name(path.name.removesuffix(".h5").removesuffix(".caffemodel") + ".prototxt")


def comments(spec: Spec | None, info: Info, digest: str) -> str:
    """Comment lines: which weights file they are about, and the metadata that the network and its blobs do not say.

    Args:
        spec: the network's record; None of a network that is only its nodes.
        info: what travels with the values.
        digest: the sha256 of the weights file.
    """
    strings = {key: value for key, value in metadata.encode(spec, info).items() if key not in _SAID}
    more = strings if strings.keys() - {metadata.MARK} else {}
    return "".join(f"# {key}: {value}\n" for key, value in {**more, _WEIGHTS: digest}.items())


def on_size(net: Net) -> str:
    """A comment line where the last pooling is global; empty where it is a window, as in the published definitions."""
    poolings = [layer.settings["pooling_param"] for layer in net.layers if layer.type == "Pooling"]
    any_size = bool(poolings) and poolings[-1].get("global_pooling", False)
    return "# The last pooling is global: any size of the input fits.\n" if any_size else ""


def said(path: Path) -> dict[str, str]:
    """The comments of a definition, which need not exist, by their keys."""
    if not path.is_file():
        return {}
    lines = text_of(path, limits.TEXT, errors="surrogateescape").splitlines()
    return dict(line[2:].split(": ", 1) for line in lines if line.startswith("# senet.") and ": " in line)


def check(said: Mapping[str, str], path: Path, digest: str) -> None:
    """Whether a weights file and the definition of its name belong together, as far as that definition says.

    Args:
        said: the comments of the definition.
        path: the weights file.
        digest: its sha256.

    Raises:
        InputError: the definition was written with other weights.
    """
    definition = prototxt_of(path)
    if said.get(_WEIGHTS, digest) != digest:
        raise InputError(
            f"{path}: {definition.name} beside it belongs to other weights, by the sha256 that it notes: the pair was "
            "not written to its end, or one of the two was replaced. Write the pair again; or, to read these weights "
            f"without what it notes, rename {definition.name}"
        )


def info(said: Mapping[str, str], source: str, spec: Spec, digest: str) -> Info | None:
    """What ``comments`` said, if it stands there and was written for the weights file of that sha256.

    Args:
        said: the comments of the definition.
        source: names the definition in errors.
        spec: the network of the weights file.
        digest: the sha256 of the weights file.
    """
    if said.get(_WEIGHTS) != digest or metadata.MARK not in said:
        return None
    stated = {key: value for key, value in said.items() if key != _WEIGHTS}
    return metadata.decode({**metadata.encode(spec, Info()), **stated}, source)[1]
