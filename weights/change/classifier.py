"""Another classifier on the same network, to fine-tune with classes of one's own."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from weights.errors import InputError
from weights.networks.parameters import schema
from weights.networks.spec import Spec
from weights.params import Params, info_of


def with_classes(spec: Spec, params: Mapping[str, np.ndarray], classes: int, seed: int = 0) -> tuple[Spec, Params]:
    """A network and its parameters with so many classes; all but the classifier stays, without copies.

    Args:
        spec: the network.
        params: its parameters, by canonical name.
        classes: 0 for none: the output is then the pooled features (N, C). As many as there are: nothing changes.
        seed: of the new matrix, drawn as by He et al. (https://arxiv.org/abs/1502.01852); the bias is 0.

    Raises:
        InputError: no such number.
    """
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 0:
        raise InputError(f"a network cannot have {classes!r} classes: expected a whole number, 0 for no classifier")
    if classes == spec.classes:
        return spec, Params(params, info_of(params))
    info, found = info_of(params), replace(spec, classes=int(classes))
    arrays = {name: array for name, array in params.items() if not name.startswith("fc.")}
    rng = np.random.default_rng(seed)
    for p in schema(found):
        if p.module == "fc":
            deviation = np.sqrt(2 / p.shape[-1]) if p.leaf == "weight" else 0.0
            dtype = params["stem.conv1.weight"].dtype
            arrays[p.name] = (rng.standard_normal(p.shape) * deviation).astype(dtype)
    done = f"classifier of {spec.classes or 'no'} classes replaced by " + (
        f"a new one of {classes}, seed {seed}" if classes else "none"
    )
    assumed = tuple(name for name in info.assumed if name != "labels")
    return found, Params(arrays, replace(info, labels=None, assumed=assumed, history=(*info.history, done)))
