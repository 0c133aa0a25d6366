"""Keras on TensorFlow: ``tf.function``, ``predict``, the fast path, and the network written by hand."""

# pyright: reportUntypedFunctionDecorator=false
# TensorFlow has no types.

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise pages of notes, on stderr

import keras
import tensorflow as tf

import se_tf
from benchmarks.plain.tf import se_resnet50
from benchmarks.speed.frameworks import LEARNING_RATE, MOMENTUM, Asked


def network(way: str, asked: Asked) -> Any:
    if way == "peer":
        asked.expect_peer()
        return se_resnet50()
    return se_tf.build(asked.spec)


def inference(way: str, asked: Asked) -> Callable[[], object]:
    model, x = network(way, asked), asked.x.transpose(0, 2, 3, 1)
    if way == "predict":
        return lambda: model.predict(x, batch_size=asked.batch, verbose=0)
    images = tf.constant(x)
    if way == "fast":
        compute = se_tf.fast(model)
        return lambda: compute(images).numpy()
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    return lambda: forward(images).numpy()


def training(way: str, asked: Asked) -> Callable[[], object]:
    model = network(way, asked)
    images, classes = tf.constant(asked.x.transpose(0, 2, 3, 1)), tf.constant(asked.classes)
    optimizer = keras.optimizers.SGD(LEARNING_RATE, MOMENTUM)
    optimizer.build(model.trainable_variables)
    lost: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = lost(classes, model(images, training=True))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in model.trainable_variables]))
        return loss

    return lambda: float(step())
