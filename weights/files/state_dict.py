"""From named tensors to a network and its parameters, and back: what the files of all frameworks have in common."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weights.errors import InputError
from weights.files.weight_sets import choose, first_convolutions
from weights.names.dialect import Dialect
from weights.names.frameworks import TORCH
from weights.names.state_dicts import as_spelled, dialect_for, named, told_apart
from weights.networks.models import FAMILIES, MODELS
from weights.networks.operations import Shape
from weights.networks.parameters import check, differences, schema
from weights.networks.recognition import computing_otherwise, same_tensors, untold
from weights.networks.spec import EPS, Spec
from weights.params import Checkpoint, Info, Params, Preprocessing
from weights.storage import bfloat16

IMAGENET = Preprocessing(channels="rgb", range=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What Cadene's and timm's conversions of the released networks expect."""


EXPECTED: Mapping[str, Preprocessing] = {
    "inception-resnet": Preprocessing(
        channels="rgb", range=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize=333, crop=299
    )
}
"""What other projects' networks of a family expect, where that is not ``IMAGENET``. timm's crop is 0.8975 of the short
side here."""


class Identified(NamedTuple):
    """A network that has exactly the tensors that were found."""

    names: Dialect
    spec: Spec
    assumed: tuple[str, ...]  # the fields of the spec that nothing in the file tells


def to_state(spec: Spec, params: Mapping[str, np.ndarray], dialect: str | Dialect = TORCH) -> dict[str, np.ndarray]:
    """Parameters as a PyTorch module's ``state_dict`` has them, BatchNorm's ``num_batches_tracked`` (0) included.

    Raises:
        InputError: the parameters do not fit the spec, or the dialect has no names for such a network: its project has
            another one of the same names and shapes.
    """
    check(spec, params)
    names = dialect if isinstance(dialect, Dialect) else dialect_for(dialect, spec)
    if names.family:
        _check_meaning(names, spec)
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
    names, found, assumed = identify(path, {name: a.shape for name, a in tensors.items()}, dialects, spec)
    if info is None:
        info = Info(source=Path(path).name, format="state dict", assumed=assumed)
        if _of_a_project(names, found):
            info = by_custom(replace(info, format=names.name), found, EXPECTED.get(found.family, IMAGENET))
            # PyTorch's is a double, Caffe's a float. A family of another project has its own.
            found = replace(found, eps=1e-5) if found.eps == EPS and not spec else found
    if told := [] if spec else _told(names, found):
        history = (*history, f"the names tell: {', '.join(told)}")
    return Checkpoint(found, decode(path, found, tensors, names, replace(info, history=history)))


def by_custom(info: Info, spec: Spec, preprocessing: Preprocessing) -> Info:
    """The info of a network of another project: what it expects of images, and the usual order of 1000 classes.

    Both are what is customary there, so ``assumed`` lists them.
    """
    labels = "sorted" if spec.classes == 1000 else None
    said = ("preprocessing", "labels") if labels else ("preprocessing",)
    return replace(info, preprocessing=preprocessing, labels=labels, assumed=(*said, *info.assumed))


def decode(path: str | Path, spec: Spec, tensors: Mapping[str, np.ndarray], names: Dialect, info: Info) -> Params:
    """Tensors by a dialect's names as canonical parameters: views, but of ``bfloat16.DTYPE``, which become float32.

    Raises:
        InputError: one is no floating-point array.
    """
    params = Params(info=info)
    for p in schema(spec):
        array = bfloat16.plain(tensors[names.key(p)])
        if array.dtype.kind != "f":
            raise InputError(f"{path}: {names.key(p)} holds {array.dtype}, expected floating-point numbers")
        params[p.name] = names.decode(p, array)
    return params


def identify(
    path: str | Path, shapes: Mapping[str, Shape], dialects: Iterable[Dialect], spec: Spec | None = None
) -> Identified:
    """Which dialect the names are in and which network has exactly these tensors.

    Each family guesses a record from the shapes; the parameters of its network must then be those of the file, name by
    name. A published network of the same parameters is preferred to the guess. What neither shapes nor names tell is
    assumed, except of published networks under the names of another project: those are of one geometry only.

    Args:
        path: names the file in errors.
        shapes: of all tensors, by the names and in the layouts of the file.
        dialects: those to try.
        spec: the network, where it is known.

    Raises:
        InputError: none has; the message compares with the nearest.
    """
    nearest: tuple[int, Dialect, Spec] | None = None
    spelled = [as_spelled(names, shapes) for names in dialects]
    for names, known in [(names, spec) for names in spelled] if spec else _candidates(spelled, shapes):
        wanted = _wanted(names, known)
        if wanted == shapes:
            if spec:
                _refuse_another(path, names, spec)
                return Identified(names, spec, ())
            return _assuming(path, names, known)
        score = len(wanted.items() & shapes.items())
        if nearest is None or score > nearest[0]:
            nearest = (score, names, known)
    score, names, known = nearest or (0, TORCH, next(iter(MODELS.values())))
    if spec or 2 * score > len(shapes):
        what = "as it says" if spec else "the nearest network known"
        raise InputError(f"{path}: does not fit {known.name}, {what}\n  {differences(_wanted(names, known), shapes)}")
    some = ", ".join(name[:80] for name in list(shapes)[:3]) or "none"
    raise InputError(
        f"{path}: its {len(shapes)} tensors ({some}, ...) are those of no network here; names that are read are "
        "senet's own, and those of timm, Cadene, torchvision, pytorchcv, moskomule and keras.applications for theirs"
    )


def _check_meaning(names: Dialect, spec: Spec) -> None:
    """Refuses names that say, in all that nobody would call assumed, that the network is another one."""
    _, found, assumed = identify(names.name, _wanted(names, spec), [names])
    found = replace(found, eps=spec.eps) if np.float32(found.eps) == np.float32(spec.eps) else found
    others = [path for path in computing_otherwise(spec, found) if path not in assumed]
    if others:
        raise InputError(
            f"the dialect {names.name!r} has no names for {spec.name}: a network of these names and shapes has another "
            f"{' and '.join(others)} there, and would be read as {found.name}; use the dialect 'torch'"
        )


def _of_a_project(names: Dialect, spec: Spec) -> bool:
    """Whether the names are another project's for networks of this family."""
    return names.family == spec.family


def _assuming(path: str | Path, names: Dialect, spec: Spec) -> Identified:
    """A network that has the tensors of a file, where others may have them too: what was taken for granted is said.

    Raises:
        InputError: several published networks have these tensors and compute otherwise, and the names tell nothing.
    """
    published = [model for model in _published(spec) if same_tensors(model, spec)]
    if not _of_a_project(names, spec):
        found = published[0] if published else spec
        if differs := dict.fromkeys(field for model in published for field in computing_otherwise(model, found)):
            raise InputError(
                f"{path}: neither names nor shapes of its tensors tell whether it is "
                f"{' or '.join(dict.fromkeys(map(_described, published)))}, which differ in {' and '.join(differs)}; "
                "say which one, with spec= (--spec on the command line)"
            )
        return Identified(names, found, untold(found))
    if not names.begins(spec):
        first = names.module(spec.network().first_convolution.module)
        raise InputError(
            f"{path}: {first} is no {names.first}x{names.first} convolution, as {names.name}'s networks of these names "
            "have it; it may be a network for small images, of another stem. Nothing tells: say which one, with spec= "
            "(--spec on the command line)"
        )
    # A project's names may be for none of our networks as they are, but for one that differs in what they tell.
    published = [m for m in published if _means(names, m)] or [names.meant(model) for model in published]
    found = published[0] if published else names.meant(spec)
    others = [path for model in published for path in computing_otherwise(model, found)]
    alone = not published or (names.several and not others)
    assumed = (path for path in untold(found) if (path in others or alone) and path not in names.tells)
    return Identified(names, found, tuple(assumed))


def _candidates(dialects: Iterable[Dialect], shapes: Mapping[str, Shape]) -> Iterator[tuple[Dialect, Spec]]:
    """What the families guess and, for the message where that is not it, the published networks."""
    for names, family in product(dialects, FAMILIES.values()):
        try:
            guess = family.from_shapes(partial(names.find, shapes))
        except InputError:  # shapes that no network can have
            continue
        if guess and _is_for(names, guess):
            yield names, names.meant(guess)
    for names, model in product(dialects, MODELS.values()):
        # One that has not even half as many is not the nearest.
        if _means(names, model) and 2 * len(schema(model)) > len(shapes):
            classifier = model.network().classifier
            weight = names.find(shapes, classifier.module, "linear") if classifier else None
            yield names, replace(model, classes=weight[0] if weight else 0)


def _published(spec: Spec) -> Iterator[Spec]:
    """The published networks of a family, with as many classes; first those that have as many of their own."""
    models = sorted(MODELS.values(), key=lambda model: model.classes != spec.classes)
    same = {name: getattr(spec, name) for name in _ENDS}
    return (replace(model, **same) for model in models if model.family == spec.family)


_ENDS = "classes", "in_channels"
"""What of a published network may be another number, and it is still that network."""


def _described(spec: Spec) -> str:
    """A published network with other ends, as ``weights.networks.models.parse`` reads it."""
    changed = (name for name in _ENDS if getattr(spec, name) != getattr(MODELS[spec.name], name))
    return ",".join((spec.name, *(f"{name}={getattr(spec, name)}" for name in changed)))


def _wanted(names: Dialect, spec: Spec) -> dict[str, Shape]:
    return {names.key(p): names.shape(p) for p in schema(spec)}


def _is_for(names: Dialect, spec: Spec) -> bool:
    """Whether a dialect is no other family's, nor for networks without SE blocks alone."""
    return names.family in ("", spec.family) and (names.excited or not spec.se)


def _means(names: Dialect, spec: Spec) -> bool:
    """Whether names are for a network, and for no other that has the same tensors."""
    return _is_for(names, spec) and names.meant(spec) == spec


def _told(names: Dialect, spec: Spec) -> list[str]:
    """What of a record the names tell, where it is not as usual."""
    usual = {field.name: field.default for field in fields(spec)} | {"eps": 1e-5}
    return [f"{name} {getattr(spec, name)}" for name in names.tells if getattr(spec, name) != usual[name]]


def _refuse_another(path: str | Path, names: Dialect, spec: Spec) -> None:
    """Refuses names that only networks of another geometry have, though the tensors are the same."""
    if _is_for(names, spec) and not _means(names, spec):
        other = names.meant(spec)
        said = ", ".join(f"{f} {getattr(other, f)}" for f in names.tells if getattr(other, f) != getattr(spec, f))
        raise InputError(
            f"{path}: is not {spec.name}, though the shapes agree: such names have networks of {said}; "
            "that is another function"
        )
