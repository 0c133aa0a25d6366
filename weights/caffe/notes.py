"""Comments in a .prototxt that say what no Caffe file can state: preprocessing, label order, history."""

from pathlib import Path

from weights import limits
from weights.caffe.net import Net
from weights.files import metadata
from weights.networks.spec import Spec
from weights.params import Info
from weights.storage.contents import contents, sha256

_WEIGHTS = "senet.weights"
"""The note that says for which weights file, by its sha256, the other notes hold."""

_SAID = ("senet.spec", "senet.factors", "senet.provenance", "senet.input_size", "senet.last_pooling")
"""Metadata that the layers and their blobs say themselves, or that is about another file."""


def prototxt_of(path: Path) -> Path:
    """The name of the definition that belongs to a weights file: x.caffemodel -> x.prototxt."""
    return path.with_name(path.name.removesuffix(".h5").removesuffix(".caffemodel") + ".prototxt")


def comments(spec: Spec | None, info: Info, path: Path) -> str:
    """The metadata that the network and its blobs do not say themselves, as comment lines; empty if there is none.

    Args:
        spec: the network's record; None of a network that is only its nodes.
        info: what travels with the values.
        path: the weights file that the comments are about, whole by now.
    """
    strings = {key: value for key, value in metadata.encode(spec, info).items() if key not in _SAID}
    if not strings.keys() - {metadata.MARK}:
        return ""
    return "".join(f"# {key}: {value}\n" for key, value in {**strings, _WEIGHTS: sha256(contents(path))}.items())


def on_size(net: Net) -> str:
    """A comment line where the last pooling is global; empty where it is a window, as in the published definitions."""
    poolings = [layer.settings["pooling_param"] for layer in net.layers if layer.type == "Pooling"]
    any_size = bool(poolings) and poolings[-1].get("global_pooling", False)
    return "# The last pooling is global: any size of the input fits.\n" if any_size else ""


def read(path: Path, spec: Spec, digest: str) -> Info | None:
    """What ``comments`` said, if it stands there and was written for the weights file of that sha256.

    Args:
        path: of the .prototxt, which need not exist.
        spec: the network of the weights file.
        digest: the sha256 of the weights file.
    """
    if not path.is_file():
        return None
    lines = str(contents(path, limits.TEXT), "utf-8", "surrogateescape").splitlines()
    said = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# senet.") and ": " in line)
    if said.pop(_WEIGHTS, None) != digest:
        return None
    return metadata.decode({**metadata.encode(spec, Info()), **said}, str(path))[1]
