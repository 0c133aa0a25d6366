"""What every network is in Keras: a functional model that carries its spec, also through ``.keras`` files."""

from dataclasses import asdict
from typing import Any, Self

import keras

from se_tf.layers import layer_name
from weights import Preprocessing, Spec, feature_nodes
from weights.networks.models import from_dict, to_dict
from weights.params import Labels


class Network(keras.Model):
    """A functional model from images to logits; its layers are named as the nodes of ``weights.graph``."""

    def __init__(self, spec: Spec, images: Any, outputs: Any, policy: Any, **kwargs: Any) -> None:
        super().__init__(images, outputs, **{"name": spec.name, **kwargs})
        self.dtype_policy = policy
        self.spec = spec
        self.preprocessing: Preprocessing | None = None
        self.labels: Labels | None = None
        self.assumed: tuple[str, ...] = ()
        # A bound method, which Keras does not take for a layer of this model.
        self._features = keras.Model(
            images, [self.get_layer(layer_name(node)).output for node in feature_nodes(spec)]
        ).__call__

    def features(self, x: Any, training: bool | None = None) -> list[Any]:
        """The feature maps (N, h, w, C) at strides 4, 8, 16 and 32: the last ones of each stride."""
        return self._features(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "spec": to_dict(self.spec),
            "preprocessing": asdict(self.preprocessing) if self.preprocessing else None,
            "labels": self.labels,
            "assumed": self.assumed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        del custom_objects  # the layers are made here, not deserialised
        make: Any = cls  # a network's own constructor takes the spec alone
        model = make(from_dict(config["spec"]), dtype=config["dtype"], name=config["name"])
        if config["preprocessing"]:
            stated = config["preprocessing"]
            model.preprocessing = Preprocessing(
                **{**stated, "mean": tuple(stated["mean"]), "std": tuple(stated["std"])}
            )
        model.labels, model.assumed = config["labels"], tuple(config["assumed"])
        return model
