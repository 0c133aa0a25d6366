"""Which network a list of Caffe layers is: a family guesses the record, and the record's network must be what was read.

Names do not matter. Whatever a network may look like in Caffe (in-place layers, Split layers, Axpy or a two-bottom
Scale, 1x1 convolutions or InnerProduct, folded BatchNorm, ...) comes out as the same record; otherwise the first layer
that differs is named.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from weights.caffe.importing import Imported, import_layers
from weights.caffe.lockstep import Agreement, Difference, compare
from weights.caffe.net import Layer, Net
from weights.caffe.steps import misfit
from weights.errors import InputError
from weights.networks.models import FAMILIES, MODELS
from weights.networks.network import Network
from weights.networks.spec import Spec, field_names


@dataclass(frozen=True, slots=True)
class Match:
    """A network that was read.

    Attributes:
        network: of a record, or with its layers' names where no family has such a network.
        layers: for each node the layers that hold its parameters; none for a BatchNorm that the file does not have.
        notes: what was taken for something else than the file says.
        size: height and width of the input, where stated.
    """

    network: Network
    layers: Mapping[str, tuple[Layer, ...]]
    notes: tuple[str, ...]
    size: tuple[int, int] | None


def has_definitions(net: Net) -> bool:
    """Whether a file says what its layers are; HDF5 files and old weights files do not."""
    return any(layer.tops for layer in net.layers) and all(layer.type for layer in net.layers if layer.blobs)


def recognise(net: Net, source: str = "network") -> Match:
    """The network that a list of layers is, by its record.

    Args:
        net: layers with definitions; their blobs are not looked at.
        source: what error messages begin with.

    Raises:
        InputError: no family has such a network; the message names the first layer that does not fit and says what
            was expected there.
    """
    return _recognised(import_layers(net, source))


def import_network(net: Net, source: str = "network") -> Match:
    """The network that a list of layers is: that of a record, or any other one whose operations are known.

    Raises:
        InputError: a layer that is no known operation; the message names it.
    """
    imported = import_layers(net, source)
    try:
        return _recognised(imported)
    except InputError:
        layers = {node.name: node.layers for node in imported.nodes.values()}
        return Match(imported.network(), layers, imported.notes, imported.size)


def _recognised(imported: Imported) -> Match:
    outline = imported.outline()
    first = next(iter(imported.nodes.values()))
    read = Counter(node.op for node in outline.nodes)
    differences: list[tuple[int, Difference]] = []  # each with how many operations its guess has in common
    for family in FAMILIES.values():
        try:
            spec = family.from_network(outline)
        except InputError as error:
            differences.append((0, Difference(0, first.layer, "a network of possible hyper-parameters", str(error))))
            continue
        if spec is None:
            continue
        found = compare(imported, spec.network())
        if isinstance(found, Agreement):
            network = _named(spec, imported.title).network()
            return Match(network, found.layers, imported.notes, imported.size)
        shared = read & Counter(node.op for node in spec.network().nodes)
        differences.append((shared.total(), found))
    if not differences:
        raise misfit(imported.source, first.layer, "a convolution of the stem", "another layer")
    _, nearest = max(differences, key=lambda difference: (difference[0], difference[1].reached))
    raise misfit(imported.source, nearest.layer, nearest.expected, nearest.found)


def _named(spec: Spec, title: str) -> Spec:
    """The spec under the name it has in MODELS, whatever its classes and dropout; else under that of the net.

    Of two that differ in nothing else, the one of as many classes.
    """
    told = [name for name in field_names(spec) if name not in ("name", "classes", "dropout")]
    for model in sorted(MODELS.values(), key=lambda model: model.classes != spec.classes):
        if type(model) is type(spec) and all(getattr(spec, name) == getattr(model, name) for name in told):
            return replace(spec, name=model.name)
    return replace(spec, name=title or spec.name)
