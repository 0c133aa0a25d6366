"""What every network is in Keras: a functional model that carries its record and its info, also in ``.keras`` files."""

from dataclasses import asdict
from typing import Any, Self

import keras

from se_tf.layers import layer_name
from weights import Info, Preprocessing, Spec, feature_nodes
from weights.networks.models import from_dict, to_dict
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
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        del custom_objects  # the layers are made here, not deserialised
        make: Any = cls  # a network's own constructor takes the spec alone
        model = make(from_dict(config["spec"]), dtype=config["dtype"], name=config["name"])
        stated = Preprocessing.from_data(config["preprocessing"]) if config["preprocessing"] else None
        model.info = Info(preprocessing=stated, labels=config["labels"], assumed=tuple(config["assumed"]))
        return model
