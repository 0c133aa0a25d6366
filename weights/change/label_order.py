"""The classifier of 1000 ImageNet classes in the other order: its rows move, its values stay."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from weights.errors import InputError
from weights.images.labels import permutation
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec
from weights.params import Labels, Params, info_of


def reorder(of: Network | Spec, params: Mapping[str, np.ndarray], target: Labels) -> Params:
    """Parameters with the classifier's rows in another order; the values themselves stay bit for bit.

    Args:
        of: the network, which says where its classifier is.
        params: its parameters, by canonical name; their info states the present order.
        target: the new order.

    Raises:
        InputError: the present order is not known, or the classifier is not one of 1000 classes.
    """
    info, network = info_of(params), as_network(of)
    indices = permutation(info.labels, target)
    if network.classifier is None or network.classes != len(indices):
        raise InputError(
            f"--labels: the classifier has {network.classes} classes; the label orders are those of 1000 classes"
        )
    if info.labels == target:
        return Params(params, info)
    module = network.classifier.module
    rows = {name: params[name][indices] for name in (f"{module}.weight", f"{module}.bias") if name in params}
    history = (*info.history, f"classifier reordered from {info.labels} to {target} label order")
    return Params({**params, **rows}, replace(info, labels=target, history=history))
