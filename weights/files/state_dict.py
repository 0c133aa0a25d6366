"""From named tensors to a network and its parameters, and back: what the files of all frameworks have in common."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weights.errors import InputError
from weights.files.weight_sets import choose, first_convolutions
from weights.names.dialect import Dialect
from weights.names.frameworks import TORCH
from weights.names.state_dicts import PROJECTS, as_spelled, dialect_for, named, told_apart
from weights.networks.models import FAMILIES, MODELS
from weights.networks.operations import Shape
from weights.networks.parameters import check, differences, schema
from weights.networks.recognition import same_tensors, untold
from weights.networks.spec import Spec
from weights.params import Checkpoint, Info, Params, Preprocessing

IMAGENET = Preprocessing(channels="rgb", range=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What Cadene's and timm's conversions of the released networks expect."""


class Identified(NamedTuple):
    """A network that has exactly the tensors that were found."""

    names: Dialect
    spec: Spec
    assumed: tuple[str, ...]  # the fields of the spec that nothing in the file tells


def to_state(spec: Spec, params: Mapping[str, np.ndarray], dialect: str | Dialect = TORCH) -> dict[str, np.ndarray]:
    """Parameters as a PyTorch module's ``state_dict`` has them, BatchNorm's ``num_batches_tracked`` (0) included.

    Raises:
        InputError: the parameters do not fit the spec, or the dialect has no names for such a network.
    """
    check(spec, params)
    names = dialect if isinstance(dialect, Dialect) else dialect_for(dialect, spec)
    state = {}
    for p in schema(spec):
        state[names.key(p)] = names.encode(p, params[p.name])
        if p.leaf == "running_var":
            state[f"{names.module(p.module)}.num_batches_tracked"] = np.array(0, np.int64)
    return state


def from_state(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    dialect: str | None = None,
    spec: Spec | None = None,
    info: Info | None = None,
    weights_key: str | None = None,
) -> Checkpoint:
    """The network that a PyTorch state dict belongs to, told by names and shapes, and its canonical parameters.

    Args:
        path: where the tensors come from.
        tensors: by the names of the file; prefixes of wrapping modules are taken off, see ``weight_sets.choose``.
        dialect: what the names are, if the caller knows; otherwise they tell.
        spec: the network, where the file or the caller states it; otherwise it is recognised, see ``identify``.
        info: what the file states about the parameters. Without it, those under Cadene's and timm's names are taken
            for conversions of the kind these projects publish, and ``info.assumed`` says so.
        weights_key: the prefix of the names, where there are several networks.

    Raises:
        InputError: the tensors are of none of these networks, or of one that looks alike and computes otherwise.
    """
    dialects = named(dialect) if dialect else told_apart()
    chosen = choose(path, {"": tensors}, first_convolutions(dialects, spec), weights_key)
    history = (*(info.history if info else ()), *chosen.history)
    tensors = {name: a for name, a in chosen.tensors.items() if not name.endswith(".num_batches_tracked")}
    _refuse_lookalikes(path, tensors)
    names, found, assumed = identify(path, {name: a.shape for name, a in tensors.items()}, dialects, spec)
    if info is None:
        info = Info(source=Path(path).name, format="state dict", assumed=assumed)
        if _of_a_project(names, found):
            order = "sorted" if found.classes == 1000 else None
            expects = ("preprocessing", "labels") if order else ("preprocessing",)
            info = replace(info, format=names.name, preprocessing=IMAGENET, labels=order, assumed=(*expects, *assumed))
            found = found if spec else replace(found, eps=1e-5)  # PyTorch's, a double; Caffe's is a float
    return Checkpoint(found, decode(path, found, tensors, names, replace(info, history=history)))


def decode(path: str | Path, spec: Spec, tensors: Mapping[str, np.ndarray], names: Dialect, info: Info) -> Params:
    """Tensors by a dialect's names as canonical parameters (views).

    Raises:
        InputError: one is no floating-point array.
    """
    params = Params(info=info)
    for p in schema(spec):
        array = tensors[names.key(p)]
        if array.dtype.kind != "f":
            raise InputError(f"{path}: {names.key(p)} holds {array.dtype}, expected floating-point numbers")
        params[p.name] = names.decode(p, array)
    return params


def identify(
    path: str | Path, shapes: Mapping[str, Shape], dialects: Iterable[Dialect], spec: Spec | None = None
) -> Identified:
    """Which dialect the names are in and which network has exactly these tensors.

    Each family guesses a record from the shapes; the parameters of its network must then be those of the file, name by
    name. A published network of the same parameters is preferred to the guess. What the shapes do not tell is assumed,
    except of published networks under the names of another project: those are of one geometry only.

    Args:
        path: names the file in errors.
        shapes: of all tensors, by the names and in the layouts of the file.
        dialects: those to try.
        spec: the network, where it is known.

    Raises:
        InputError: none has; the message compares with the nearest.
    """
    nearest: tuple[int, Dialect, Spec] | None = None
    for names in (as_spelled(names, shapes) for names in dialects):
        for known in [spec] if spec else _candidates(names, shapes):
            wanted = _wanted(names, known)
            if wanted == shapes:
                if spec:
                    return Identified(names, spec, ())
                published = next((m for m in _published(known) if same_tensors(m, known)), None)
                told = published is not None and _of_a_project(names, known)
                return Identified(names, published or known, () if told else untold(published or known))
            score = len(wanted.items() & shapes.items())
            if nearest is None or score > nearest[0]:
                nearest = (score, names, known)
    assert nearest is not None  # there are published networks
    score, names, known = nearest
    if spec or 2 * score > len(shapes):
        what = "as it says" if spec else "the nearest network known"
        raise InputError(f"{path}: does not fit {known.name}, {what}\n  {differences(_wanted(names, known), shapes)}")
    some = ", ".join(name[:80] for name in list(shapes)[:3]) or "none"
    raise InputError(
        f"{path}: its {len(shapes)} tensors ({some}, ...) are those of no network of this family; the names may be "
        "senet's own, or those of timm's legacy_se* and Cadene's se_* networks"
    )


def _of_a_project(names: Dialect, spec: Spec) -> bool:
    """Whether the names are another project's for networks of this family."""
    return any(names.name == theirs.name for theirs in PROJECTS.get(spec.family, ()))


def _candidates(names: Dialect, shapes: Mapping[str, Shape]) -> Iterator[Spec]:
    """What the families guess and, for the message where that is not it, the published networks."""
    for family in FAMILIES.values():
        try:
            guess = family.from_shapes(partial(names.find, shapes))
        except InputError:  # shapes that no network can have
            continue
        if guess:
            yield guess
    for model in MODELS.values():
        classifier = model.network().classifier
        weight = names.find(shapes, classifier.module, "linear") if classifier else None
        yield replace(model, classes=weight[0] if weight else 0)


def _published(spec: Spec) -> Iterator[Spec]:
    """The published networks of a family, with as many classes; first those that have as many of their own."""
    models = sorted(MODELS.values(), key=lambda model: model.classes != spec.classes)
    return (replace(model, classes=spec.classes) for model in models if model.family == spec.family)


def _wanted(names: Dialect, spec: Spec) -> dict[str, Shape]:
    return {names.key(p): names.shape(p) for p in schema(spec)}


def _refuse_lookalikes(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    ends = "conv1.weight", "layer1.0.conv1.weight"
    if any(name.endswith(ends[1]) and name.removesuffix(ends[1]) + ends[0] in tensors for name in tensors):
        raise InputError(
            f"{path}: these are the names of torchvision's ResNet (timm's resnet50, seresnet50 and others share them), "
            "which pads its max-pooling by 1 and strides in the 3x3 convolution: another network than those here, "
            "though the shapes agree; convert a checkpoint of timm's legacy_se* or Cadene's se_* networks instead"
        )
