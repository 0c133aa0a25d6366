"""Every known difference between Caffe and the frameworks, shown in the frameworks themselves, with its effect."""

import inspect
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from conformance.divergences import DIVERGENCES, PAGE, page
from weights import EPS
from weights.networks.running_statistics import FRACTION, caffe

jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
tf = pytest.importorskip("tensorflow")
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402


def _effect(name):
    return next(d.effect for d in DIVERGENCES if d.name == name)


def _assert_effect(found):
    """The effect is the one that the entry of the calling test states: to the two digits that are printed there."""
    name = inspect.stack()[1].function.removeprefix("test_").replace("_", "-")
    assert found == pytest.approx(_effect(name), rel=0.03)


def test_every_entry_is_demonstrated_and_every_demonstration_has_an_entry():
    # The body of each demonstration ends in the comparison of its effect.
    shown = {
        name.removeprefix("test_").replace("_", "-")
        for name, function in vars(sys.modules[__name__]).items()
        if name.startswith("test_") and "_assert_effect" in function.__code__.co_names
    }
    assert shown == {d.name for d in DIVERGENCES}
    assert len(DIVERGENCES) == len(shown)


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m conformance.divergences"


def _batch(shape=(4, 2, 2, 1), mean=1.0):
    """Values (N, H, W, C) of a given mean, in float64."""
    x = np.random.default_rng(51).standard_normal(shape)
    return x - x.mean((0, 1, 2)) + mean


def _torch_statistics(x, **options):
    layer = torch.nn.BatchNorm2d(x.shape[-1], dtype=torch.float64, **options)
    layer(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    return layer.running_mean.numpy(), layer.running_var.numpy()


def _keras_statistics(x, **options):
    layer = keras.layers.BatchNormalization(dtype="float64", **options)
    layer(tf.constant(x), training=True)
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def _flax_statistics(x, **options):
    layer = nnx.BatchNorm(x.shape[-1], rngs=nnx.Rngs(0), **options)
    layer(jnp.asarray(x, jnp.float32))
    return np.asarray(layer.mean[...], np.float64), np.asarray(layer.var[...], np.float64)


def test_batch_norm_epsilon():
    assert float(np.float32(1e-5)) == EPS
    assert torch.nn.BatchNorm2d(1).eps == nnx.BatchNorm(1, rngs=nnx.Rngs(0)).epsilon == 1e-5
    own = keras.layers.BatchNormalization().epsilon
    assert own == 1e-3
    assert 1 - np.sqrt((1 + EPS) / (1 + 1e-5)) == pytest.approx(1.3e-13, rel=0.05)
    _assert_effect(1 - np.sqrt((1 + EPS) / (1 + own)))


def test_batch_norm_running_variance():
    x = _batch()
    biased, m = x.var(), x.size
    assert _torch_statistics(x, momentum=1.0)[1] == pytest.approx(biased * m / (m - 1), rel=1e-14)
    assert _keras_statistics(x, momentum=0.0)[1] == pytest.approx(biased, rel=1e-14)
    assert _flax_statistics(x, momentum=0.0)[1] == pytest.approx(biased, rel=1e-6)  # it keeps float32
    assert caffe(0.0)[0].unbiased
    _assert_effect(m / (m - 1) - 1)


def test_batch_norm_momentum_meaning():
    x = _batch()
    (new,), _ = _torch_statistics(x, momentum=0.1)
    (kept,), _ = _keras_statistics(x, momentum=0.1)
    (also_kept,), _ = _flax_statistics(x, momentum=0.1)
    assert (new, kept, also_kept) == (pytest.approx(0.1), pytest.approx(0.9), pytest.approx(0.9))
    _assert_effect(kept - new)


def test_batch_norm_momentum_default():
    x = _batch()
    (of_torch,), _ = _torch_statistics(x)
    (of_keras,), _ = _keras_statistics(x)
    (of_flax,), _ = _flax_statistics(x)
    assert (of_torch, of_keras, of_flax) == (pytest.approx(0.1), pytest.approx(0.01), pytest.approx(0.01, rel=1e-5))
    assert 1 - caffe(1000.0)[0].keep == pytest.approx(0.001, rel=0.01)
    _assert_effect(of_torch - of_keras)


def test_batch_norm_caffe_sums():
    total, factor = 0.0, 0.0  # of a new layer
    total, factor = FRACTION * total + 1.0, FRACTION * factor + 1
    assert caffe(0.0)[0].keep * 0.0 + (1 - caffe(0.0)[0].keep) * 1.0 == total / factor == 1
    (of_torch,), _ = _torch_statistics(_batch())
    _assert_effect(total / factor - of_torch)


def test_batch_norm_fast_variance():
    x = np.random.default_rng(0).standard_normal((64, 4, 4, 1)) + 1e4
    _, (fast,) = _flax_statistics(x, momentum=0.0)
    _, (slow,) = _flax_statistics(x, momentum=0.0, use_fast_variance=False)
    # Two squares of 1e8 in float32, each known to 8.
    assert slow == pytest.approx(x.var(), rel=1e-3)
    _assert_effect(abs(fast / x.var() - 1))


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types:FutureWarning")
def test_batch_norm_statistics_in_float32():
    with jax.enable_x64(True):
        layer = nnx.BatchNorm(1, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64, momentum=0.0)
        layer(jnp.full((1, 2, 2, 1), 0.1))
        assert layer.mean[...].dtype == jnp.float32
        (mean,) = np.asarray(layer.mean[...], np.float64)
    assert _keras_statistics(np.full((1, 2, 2, 1), 0.1), momentum=0.0)[0] == pytest.approx(0.1, rel=1e-15)
    assert _torch_statistics(np.full((1, 2, 2, 1), 0.1), momentum=1.0)[0] == pytest.approx(0.1, rel=1e-15)
    _assert_effect(abs(mean / 0.1 - 1))


def _torch_weight(gradients, rates, momentum=0.9, decay=0.0):
    """What becomes of a weight of 1."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], rates[0], momentum, weight_decay=decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.full((1,), gradient, dtype=torch.float64)
        optimizer.step()
    return weight.item()


def _keras_weight(gradients, rates, momentum=0.9, decay=None):
    weight = keras.Variable(np.ones(1), dtype="float64")
    optimizer = keras.optimizers.SGD(rates[0], momentum, weight_decay=decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant([gradient], tf.float64)], [weight])
    return weight.numpy().item()


def _optax_weight(gradients, rates, momentum=0.9, decay=0.0):
    with jax.enable_x64(True):
        weight = jnp.ones(1)
        schedule = lambda step: jnp.asarray(rates)[step]  # noqa: E731
        rule = optax.chain(optax.add_decayed_weights(decay), optax.sgd(schedule, momentum))
        state = rule.init(weight)
        for gradient in gradients:
            update, state = rule.update(jnp.full(1, gradient), state, weight)
            weight = optax.apply_updates(weight, update)
        return float(np.asarray(weight)[0])


def test_weight_decay_coupling():
    rate, momentum, decay = 0.1, 0.9, 0.1
    weight, velocity = 1.0, 0.0
    for _ in range(2):
        velocity = momentum * velocity + decay * weight
        weight -= rate * velocity
    step: dict[str, Any] = {"gradients": (0.0, 0.0), "rates": (rate, rate), "momentum": momentum}
    assert _torch_weight(**step, decay=decay) == pytest.approx(weight, abs=1e-14)
    assert _optax_weight(**step, decay=decay) == pytest.approx(weight, abs=1e-14)
    apart = _keras_weight(**step, decay=decay)
    assert apart == pytest.approx((1 - rate * decay) ** 2, abs=1e-8)  # its rate is a float32
    _assert_effect(apart - weight)


def test_momentum_and_learning_rate():
    step: dict[str, Any] = {"gradients": (1.0, 1.0), "rates": (1.0, 0.1)}
    after = {"torch": 1 - 1 - 0.1 * 1.9, "keras": 1 - 1 - (0.9 + 0.1)}
    assert _torch_weight(**step) == pytest.approx(after["torch"], abs=1e-14)
    assert _optax_weight(**step) == pytest.approx(after["torch"], abs=1e-14)
    assert _keras_weight(**step) == pytest.approx(after["keras"], abs=1e-7)  # its rate is a float32
    _assert_effect(_torch_weight(**step) - _keras_weight(**step))


def test_learning_rate_in_float32():
    step: dict[str, Any] = {"gradients": (1.0,), "rates": (0.1,)}
    assert 1 - _torch_weight(**step) == pytest.approx(0.1, rel=1e-15)
    assert 1 - _optax_weight(**step) == pytest.approx(0.1, rel=1e-15)
    found = 1 - _keras_weight(**step)
    assert found == pytest.approx(float(np.float32(0.1)), rel=1e-15)
    _assert_effect(found / 0.1 - 1)


def test_same_padding():
    x = np.random.default_rng(2).standard_normal((1, 8, 8, 1))
    w = np.random.default_rng(1).standard_normal((3, 3, 1, 1))
    same = tf.nn.conv2d(x, w, 2, "SAME").numpy()
    with jax.enable_x64(True):
        also = jax.lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert np.asarray(also) == pytest.approx(same, abs=1e-14)
    x, w = torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(w.transpose(3, 2, 0, 1))
    both = torch.nn.functional.conv2d(x, w, stride=2, padding=1).numpy()
    far = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), w, stride=2).numpy()
    assert far[0, 0] == pytest.approx(same[0, ..., 0], abs=1e-14)
    _assert_effect(np.abs(same[0, ..., 0] - both[0, 0]).max() / np.abs(both).max())


def test_ceil_pooling():
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
    _assert_effect(up - 55)


def test_average_pool_divisor():
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
    _assert_effect(by_inside[0] - by_size[0])


def test_max_pool_nan():
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
    _assert_effect(np.isnan(passed_on[0]).sum() - np.isnan(skipped[0]).sum())


def test_relu_slope_at_zero():
    def of_torch(function):
        x = torch.zeros((), requires_grad=True)
        function(x).backward()
        return x.grad.item()

    def of_tf(function):
        x = tf.zeros(())
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy().item()

    def of_jax(function):
        return float(jax.grad(function)(0.0))

    zero = of_torch(torch.relu), of_tf(tf.nn.relu), of_jax(jax.nn.relu)
    half = of_torch(lambda x: torch.maximum(x, torch.zeros(()))), of_jax(lambda x: jnp.maximum(x, 0))
    one = of_torch(lambda x: torch.clamp(x, min=0)), of_tf(lambda x: tf.maximum(x, 0.0))
    assert (zero, half, one) == ((0, 0, 0), (0.5, 0.5), (1, 1))
    _assert_effect(one[0] - zero[0])


def test_sigmoid_tail():
    x = -40.0
    exact = np.exp(x) / (1 + np.exp(x))
    with jax.enable_x64(True):
        of_jax = float(jax.nn.sigmoid(jnp.float64(x)))
    found = torch.sigmoid(torch.tensor(x, dtype=torch.float64)).item(), tf.sigmoid(tf.constant(x, tf.float64)).numpy()
    assert (*found, of_jax) == pytest.approx((exact, exact, exact), rel=1e-14)
    _assert_effect(1 - (0.5 * np.tanh(0.5 * x) + 0.5) / exact)


def test_dropout_random_numbers():
    x = np.ones(10_000, np.float32)
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    found = [
        torch.nn.Dropout(0.5)(torch.from_numpy(x)).numpy(),
        keras.layers.Dropout(0.5)(x, training=True).numpy(),
        np.asarray(nnx.Dropout(0.5, rngs=nnx.Rngs(0))(jnp.asarray(x))),
    ]
    assert {float(value) for y in found for value in y} == {0, 2}
    _assert_effect(np.mean([(a != b).mean() for i, a in enumerate(found) for b in found[:i]]))


def test_tensor_float_32():
    # The switches; there is nothing to be seen on a CPU.
    assert tf.config.experimental.tensor_float_32_execution_enabled()
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert jax.config.jax_default_matmul_precision is None
    _assert_effect(2.0 ** -(10 + 1))  # ten bits after the point are kept


def test_onnx_runtime_in_float64():
    operators = {"GlobalAveragePool": {}, "AveragePool": {"kernel_shape": [1, 1]}}
    x = np.ones((1, 1, 2, 2))
    refused = 0
    for name, attributes in operators.items():
        assert _onnx(name, x.astype(np.float32), **attributes).dtype == np.float32
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            _onnx(name, x, **attributes)
        refused += 1
    _assert_effect(refused / len(operators))


def _onnx(operator, x, **attributes) -> Any:
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
