"""What a model of a framework is now, which may be another network than the one that it was built as."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from weights.errors import InputError
from weights.names.dialect import Dialect
from weights.networks.network import Node
from weights.networks.operations import BatchNorm, Shape
from weights.networks.parameters import differences, schema
from weights.networks.spec import Spec
from weights.params import Info


def expect_model(model: object, kind: type, package: str) -> None:
    """Whether something is a model of a package.

    Args:
        model: what a user gives.
        kind: of the models of the package.
        package: its name.

    Raises:
        InputError: it is not.
    """
    if not isinstance(model, kind):
        raise InputError(
            f"expected a model of {package}, as {package}.build and {package}.from_pretrained make it, "
            f"found {type(model).__module__}.{type(model).__qualname__}"
        )


def as_it_is(
    spec: Spec,
    info: Info,
    names: Dialect,
    shapes: Mapping[str, Shape],
    eps: Mapping[str, float],
    dropout: float | None = None,
    layers: Mapping[str, str] | None = None,
    built: Callable[[Spec], Mapping[str, str]] | None = None,
) -> tuple[Spec, Info]:
    """The record and the info of a model whose classifier or first convolution may have been replaced.

    Another number of classes is taken as it is: nothing is then known of the labels and the class names. So is a first
    convolution for images of another number of channels: nothing is then known of the preprocessing.

    Args:
        spec: that the model was built from.
        info: of the parameters that were loaded.
        names: what the framework calls them.
        shapes: of the model's parameters and statistics, by these names.
        eps: of its BatchNorm layers, by module; those that are left out are not compared.
        dropout: the rate before the classifier; None where there is no such layer.
        layers: what each layer computes in words, by its path, where the framework lets users put another in its place;
            the classifier, dropout and BatchNorm by their class alone.
        built: the same of a network of a record as it is built.

    Raises:
        InputError: the model has changed otherwise: its tensors, an eps, the dropout or a layer; the message says what
            to do.
    """
    classifier = replace(spec, classes=spec.classes or 1).network().classifier
    weight = names.find(shapes, classifier.module, "linear") if classifier else None
    kernel = names.find(shapes, spec.network().first_convolution.module, "conv")
    channels = kernel[1] if kernel else spec.in_channels
    found = replace(spec, classes=weight[0] if weight else 0, in_channels=channels)
    if differs := differences({names.key(p): names.shape(p) for p in schema(found)}, shapes):
        raise InputError(
            f"the model is not the {spec.name} any more that it was built as; another classifier must be one fully "
            f"connected layer with a bias, or none; another first convolution may read other channels\n  {differs}"
        )
    for node in found.network().nodes:
        if isinstance(node.op, BatchNorm) and eps.get(node.module, node.op.eps) != node.op.eps:
            raise InputError(
                f"{node.module} has eps {eps[node.module]}, but {spec.name} was built with {node.op.eps}: "
                "build the network with that eps=, and load the parameters into it"
            )
    if found.classes and dropout not in (None, spec.dropout):
        raise InputError(
            f"the dropout before the classifier is {dropout}, but {spec.name} was built with {spec.dropout}: "
            "build the network with that dropout=, and load the parameters into it"
        )
    now, then = layers or {}, built(found) if built else {}
    for path in (*then, *now):
        if now.get(path) != then.get(path):
            raise InputError(
                f"{path} is {now.get(path, 'no layer')} now, but {spec.name} was built with {then.get(path, 'none')}: "
                "build the network with a record that says so, and load the parameters into it; what no record can "
                "say, no file states"
            )
    if found.classes != spec.classes:
        new = f"one of {found.classes}" if found.classes else "none"
        done = f"classifier of {spec.classes or 'no'} classes replaced by {new}"
        info = replace(_without(info, "labels", done, classifier), labels=None, class_names=())
    if found.in_channels != spec.in_channels:
        done = f"first convolution of {spec.in_channels} channels replaced by one of {found.in_channels}"
        info = replace(_without(info, "preprocessing", done, spec.network().first_convolution), preprocessing=None)
    return found, info


def _without(info: Info, assumed: str, done: str, replaced: Node | None) -> Info:
    """What is left of an info when a layer was replaced: what the history says, and what is no longer assumed."""
    left = tuple(name for name in info.assumed if name != assumed)
    gone = f"{replaced.module}." if replaced else None
    values = {name: value for name, value in info.values.items() if not (gone and name.startswith(gone))}
    return replace(info, assumed=left, history=(*info.history, done), values=values)
