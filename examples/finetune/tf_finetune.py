"""Fine-tunes a checkpoint in Keras. Compare torch_finetune.py and jax_finetune.py.

From the folder examples, on all GPUs, or without one on the CPU:

    python -m finetune.tf_finetune first.caffemodel tuned.safetensors
"""

import sys
from collections.abc import Sequence
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import se_tf
from finetune.digits import BATCH, EPOCHS, MOMENTUM, RATES, SECOND, Split, pictures
from se_tf.network import Network
from weights.images import prepare


def tune(path: str, data: Split, epochs: Sequence[int] = EPOCHS, dtype: str = "float32", seed: int = 0) -> Network:
    """The network of a checkpoint with a classifier for other classes, trained alone and then with all the rest."""
    keras.utils.set_random_seed(seed)  # of the new classifier
    with strategy().scope():
        model = se_tf.from_pretrained(path, dtype, len(SECOND), class_names=tuple(map(str, SECOND)))
    x, y = inputs(model, data.train), data.train_classes
    # BatchNorm that is not trainable is in inference mode, in Keras always: in training mode it would normalise by each
    # batch and change the statistics of the frozen network.
    for layer in model.layers:
        layer.trainable = layer.name == "fc"
    fit(model, x, y, epochs[0], RATES[0])
    for layer in model.layers:
        layer.trainable = True
    fit(model, x, y, epochs[1], RATES[1])
    return model


@cache  # two strategies of one process would number what their devices exchange alike
def strategy() -> tf.distribute.Strategy:
    """One replica on each device. Each normalises by its own share of a batch; the first one's statistics are kept."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def fit(model: Network, x: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> None:
    """Trains what is trainable; in a strategy's scope each replica on its share of a batch."""
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0).batch(BATCH, drop_remainder=True)
    with model.distribute_strategy.scope():
        # Again before each phase: it notes what is trainable.
        model.compile(
            optimizer=keras.optimizers.SGD(rate, MOMENTUM),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    model.fit(data, epochs=epochs, shuffle=False)  # the data set shuffles


def inputs(model: Network, images: Sequence[Image.Image]) -> np.ndarray:
    """Images as the checkpoint expects them: (N, H, W, 3)."""
    assert model.preprocessing
    x = np.concatenate([prepare(image, model.preprocessing) for image in images])
    return x.transpose(0, 2, 3, 1).astype(model.compute_dtype)


def accuracy(model: Network, data: Split) -> float:
    """Of the held-out images."""
    logits = model.predict(inputs(model, data.test), batch_size=BATCH)
    return float(np.mean(logits.argmax(1) == data.test_classes))


def main(path: str, output: str) -> None:
    """Fine-tunes and saves."""
    data = pictures(SECOND)
    model = tune(path, data)
    print(f"{output}: {accuracy(model, data):.1%} of the held-out images")
    se_tf.save(model, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
