"""What every network is in Keras: a functional model that carries its record and its info, also in ``.keras`` files."""

import json
from dataclasses import asdict
from typing import Any, Self

import keras
import numpy as np

from se_tf.layers import layer_name
from weights import Info, InputError, Preprocessing, Spec, feature_nodes, graph, schema
from weights.change.as_it_is import as_it_is
from weights.files import metadata
from weights.files.keras import NOTE, more, noted
from weights.names.frameworks import KERAS
from weights.names.keras import by_flat, flat
from weights.networks.models import from_dict, to_dict
from weights.networks.recognition import computing_otherwise
from weights.params import Labels


class Network(keras.Model):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes.

    Its layers are named as the nodes of ``weights.graph``.

    Attributes:
        spec: the record that the network was built from.
        info: what the parameters expect and where they come from; empty until parameters are loaded.
    """

    def __init__(self, spec: Spec, images: Any, outputs: Any, policy: Any, **kwargs: Any) -> None:
        super().__init__(images, outputs, **{"name": spec.name, **kwargs})
        self.dtype_policy = policy
        self.spec = spec
        self.info = Info()
        # A bound method, which Keras does not take for a layer of this model.
        self._features = keras.Model(
            images, [self.get_layer(layer_name(node)).output for node in feature_nodes(spec)]
        ).__call__

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images are prepared for these parameters; None if it is not known."""
        return self.info.preprocessing

    @property
    def labels(self) -> Labels | None:
        """The order of the classes; None if it is not known."""
        return self.info.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs; empty if they are not known."""
        return self.info.class_names

    def as_it_is(self) -> tuple[Spec, Info]:
        """The record and the info of the network as it is now.

        Raises:
            InputError: it has changed otherwise since it was built; the message says what to do.
        """
        keys = by_flat(KERAS.key(p) for p in schema(self.spec))
        # What else has weights, as keras' LoRA has, changes what is computed.
        shapes = {keys.get(flat(v.path), str(v.path)): tuple(v.shape) for v in self.weights}
        modules = by_flat(node.module for node in graph(self.spec))
        norms = (layer for layer in self.layers if isinstance(layer, keras.layers.BatchNormalization))
        eps = {modules[flat(layer.name)]: layer.epsilon for layer in norms}
        rates = [layer.rate for layer in self.layers if isinstance(layer, keras.layers.Dropout)]
        return as_it_is(self.spec, self.info, KERAS, shapes, eps, rates[-1] if rates else None)

    def save_own_variables(self, store: Any) -> None:
        """Keras asks every layer for what it holds: the network notes what it is, as the bytes of JSON."""
        text = json.dumps(metadata.encode(*self.as_it_is()))
        store[NOTE] = np.frombuffer(text.encode(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Takes over what a file notes of the same network; files without a note leave ``info`` as it is."""
        if NOTE in store:
            stated, info = metadata.decode(json.loads(np.asarray(store[NOTE]).tobytes()), "the file of Keras")
            differ = computing_otherwise(stated, self.spec)
            if differ:
                raise InputError(
                    f"the file of Keras is of another network, which differs from {self.spec.name} in "
                    f"{', '.join(differ)}: build that one, as weights.read finds it in the file"
                )
            if stated.classes == self.spec.classes:
                self.info = info

    def features(self, x: Any, training: bool | None = None) -> list[Any]:
        """The feature maps (N, h, w, C): the last ones of each stride, from the largest to the smallest."""
        return self._features(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "spec": to_dict(self.spec),
            "preprocessing": asdict(self.preprocessing) if self.preprocessing else None,
            "labels": self.labels,
            "assumed": self.info.assumed,
            **more(self.info),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        del custom_objects  # the layers are made here, not deserialised
        make: Any = cls  # a network's own constructor takes the spec alone
        model = make(from_dict(config["spec"]), dtype=config["dtype"], name=config["name"])
        model.info = metadata.decode(noted(config), "config.json")[1]
        return model
