"""Another classifier on the same network, to fine-tune with classes of one's own."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from weights.errors import InputError
from weights.networks.parameters import schema
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params, info_of, is_count


def with_classes(spec: Spec, params: Mapping[str, np.ndarray], classes: int, seed: int = 0) -> Checkpoint:
    """A network and its parameters with so many classes; all but the classifier stays, without copies.

    Args:
        spec: the network.
        params: its parameters, by canonical name.
        classes: of the new classifier; 0 removes it, and the output is the pooled features (N, C). With the present
            number of classes nothing is changed.
        seed: of the new matrix, drawn as by He et al. (https://arxiv.org/abs/1502.01852); the bias is 0.

    Raises:
        InputError: ``classes`` is not a whole number of at least 0.
    """
    if not is_count(classes):
        raise InputError(f"a network cannot have {classes!r} classes: expected a whole number, 0 for no classifier")
    if not is_count(seed):
        raise InputError(f"the seed of a new classifier is {seed!r:.100}, expected a whole number of at least 0")
    if classes == spec.classes:
        return Checkpoint(spec, Params(params, info_of(params)))
    info, found = info_of(params), replace(spec, classes=int(classes))
    old, new = spec.network().classifier, found.network().classifier
    gone = {p.name for p in schema(spec) if old and p.module == old.module}
    arrays = {name: array for name, array in params.items() if name not in gone}
    dtype = params[f"{spec.network().first_convolution.module}.weight"].dtype
    rng = np.random.default_rng(seed)
    for p in schema(found):
        if new and p.module == new.module:
            deviation = np.sqrt(2 / p.shape[-1]) if p.leaf == "weight" else 0.0
            arrays[p.name] = (rng.standard_normal(p.shape) * deviation).astype(dtype)
    done = f"classifier of {spec.classes or 'no'} classes replaced by " + (
        f"a new one of {classes}, seed {seed}" if classes else "none"
    )
    assumed = tuple(name for name in info.assumed if name != "labels")
    info = replace(info, labels=None, class_names=(), assumed=assumed, history=(*info.history, done))
    return Checkpoint(found, Params(arrays, info))
