"""Windows: where padding goes, how sizes round, what counts, and what ONNX Runtime computes in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import torch
from flax import nnx


def _onnx(operator: str, x: np.ndarray, **attributes: Any) -> Any:
    """One operator by ONNX Runtime."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x"], ["y"], **attributes)],
        operator,
        [onnx.helper.make_tensor_value_info("x", kind, x.shape)],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def same_padding() -> float:
    x = np.random.default_rng(2).standard_normal((1, 8, 8, 1))
    w = np.random.default_rng(1).standard_normal((3, 3, 1, 1))
    same = tf.nn.conv2d(x, w, 2, "SAME").numpy()
    with jax.enable_x64(True):
        also = jax.lax.conv_general_dilated(
            jnp.asarray(x), jnp.asarray(w), (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    assert np.asarray(also) == pytest.approx(same, abs=1e-14)
    x, w = torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(w.transpose(3, 2, 0, 1))
    both = torch.nn.functional.conv2d(x, w, stride=2, padding=1).numpy()
    far = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), w, stride=2).numpy()
    assert far[0, 0] == pytest.approx(same[0, ..., 0], abs=1e-14)
    return np.abs(same[0, ..., 0] - both[0, 0]).max() / np.abs(both).max()


def ceil_pooling() -> float:
    x = np.zeros((1, 112, 112, 1), np.float32)
    down = (
        torch.nn.MaxPool2d(3, 2)(torch.from_numpy(x[..., 0])).shape[-1],
        nnx.max_pool(jnp.asarray(x), (3, 3), (2, 2)).shape[1],
        keras.layers.MaxPooling2D(3, 2)(x).shape[1],
        _onnx("MaxPool", x[..., 0][None], kernel_shape=[3, 3], strides=[2, 2]).shape[-1],
    )
    assert set(down) == {55}
    up = torch.nn.MaxPool2d(3, 2, ceil_mode=True)(torch.from_numpy(x[..., 0])).shape[-1]
    assert up == -(-(112 - 3) // 2) + 1
    return up - 55


def average_pool_divisor() -> float:
    x = np.ones((1, 4, 4, 1), np.float32)
    by_size = (
        torch.nn.AvgPool2d(3, 1, 1)(torch.from_numpy(x.transpose(0, 3, 1, 2)))[0, 0, 0, 0].item(),
        float(nnx.avg_pool(jnp.asarray(x), (3, 3), (1, 1), "SAME")[0, 0, 0, 0]),
    )
    by_inside = (
        tf.nn.avg_pool2d(x, 3, 1, "SAME").numpy()[0, 0, 0, 0],
        keras.layers.AveragePooling2D(3, 1, "same")(x).numpy()[0, 0, 0, 0],
        _onnx("AveragePool", x.transpose(0, 3, 1, 2), kernel_shape=[3, 3], pads=[1, 1, 1, 1])[0, 0, 0, 0],
    )
    assert by_size == pytest.approx((4 / 9, 4 / 9), rel=1e-6)
    assert by_inside == pytest.approx((1, 1, 1), rel=1e-6)
    # What hangs over the edge because sizes round up counts for neither Caffe nor PyTorch: 4 pixels of a 3x3 window.
    over = torch.nn.AvgPool2d(3, 2, ceil_mode=True)(torch.ones(1, 4, 4))[0, -1, -1].item()
    assert over == 1
    return by_inside[0] - by_size[0]


def max_pool_nan() -> float:
    x = np.array([[1, np.nan], [2, 3]], np.float32).reshape(1, 2, 2, 1)
    nchw = x.transpose(0, 3, 1, 2)
    passed_on = (
        torch.nn.functional.max_pool2d(torch.from_numpy(nchw), 2).item(),
        float(nnx.max_pool(jnp.asarray(x), (2, 2)).item()),
    )
    skipped = (
        tf.nn.max_pool2d(x, 2, 2, "VALID").numpy().item(),
        _onnx("MaxPool", nchw, kernel_shape=[2, 2]).item(),
    )
    assert np.isnan(passed_on).all()
    assert skipped == (3, 3)
    return np.isnan(passed_on[0]).sum() - np.isnan(skipped[0]).sum()


def onnx_runtime_in_float64() -> float:
    operators = {"GlobalAveragePool": {}, "AveragePool": {"kernel_shape": [1, 1]}}
    x = np.ones((1, 1, 2, 2))
    refused = 0
    for name, attributes in operators.items():
        assert _onnx(name, x.astype(np.float32), **attributes).dtype == np.float32
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            _onnx(name, x, **attributes)
        refused += 1
    return refused / len(operators)


DEMONSTRATIONS = {
    "same-padding": same_padding,
    "ceil-pooling": ceil_pooling,
    "average-pool-divisor": average_pool_divisor,
    "max-pool-nan": max_pool_nan,
    "onnx-runtime-in-float64": onnx_runtime_in_float64,
}
