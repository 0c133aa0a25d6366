"""The fast path of every framework: the outputs of the reference within bounds of its own, and the model as it was."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from families.small import SMALL

from conformance.cases import TINY, image, seeded
from conformance.judge.bounds import bound_of
from conformance.reference.forward import run
from weights import SE, InputError, Spec
from weights.change.fast_path import Precision
from weights.networks.models import changed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_RESNET = TINY["tiny-se-resnet"]
NETWORKS: Mapping[str, Spec] = {
    **SMALL,
    "grouped, without se": TINY["tiny-resnext"],
    "3x3 shortcuts": TINY["tiny-senet"],
    "se between convolution and BatchNorm": replace(_RESNET, se=SE(reduction=4, position="3x3-raw")),
    "se of every pixel, before": replace(_RESNET, se=SE(reduction=4, squeeze="none", gate="tanh", position="pre")),
    "se of maxima, behind": replace(
        _RESNET, se=SE(reduction=4, squeeze="max", gate="hard-sigmoid", bias=False, position="post")
    ),
    "padded as TensorFlow does": replace(SMALL["mobile"], padding="same"),
    "padded as at even sizes": replace(SMALL["mobile"], padding="even"),
    "torchvision's pooling": replace(TINY["tiny-resnet"], stem_pool="torchvision"),
    "without a classifier": replace(_RESNET, classes=0),
}


@dataclass(frozen=True)
class Port:
    """How a framework is asked for what the tests need; all images are (N, C, H, W)."""

    name: str
    package: Any
    call: Callable[[Any, np.ndarray], np.ndarray]

    def fast(self, spec: Spec, precision: Precision = "float32") -> Any:
        return self.package.fast(self.package.restore(spec, seeded(spec, 1)), precision)


def torch_port() -> Port:
    import torch

    import se_torch

    return Port("torch", se_torch, lambda model, x: model(torch.from_numpy(x)).detach().numpy())


def jax_port() -> Port:
    import se_jax

    return Port("jax", se_jax, lambda model, x: np.asarray(model(x.transpose(0, 2, 3, 1))))


def tf_port() -> Port:
    import se_tf

    return Port("tf", se_tf, lambda model, x: np.asarray(model(x.transpose(0, 2, 3, 1))))


PORTS = {"torch": torch_port, "jax": jax_port, "tf": tf_port}


@pytest.fixture(scope="module", params=PORTS)
def port(request: pytest.FixtureRequest) -> Port:
    return PORTS[request.param]()


SIZES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "inception": ((32, 64), (64, 32)),  # even at the modules of stride 2
    "vgg": ((32, 32), (32, 32)),  # the one size that it takes
}
"""Height and width of one image and of two, by family; others take any."""


@cache
def reference(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, and the output of the reference in float64."""
    spec, found = NETWORKS[network], []
    for n, (height, width) in enumerate(SIZES.get(spec.family, ((33, 40), (32, 32))), 1):
        x = image(2, n, height, width)
        found.append((x, list(run(spec, seeded(spec, 1), x.astype(np.float64)).values())[-1]))
    return found


def errors(port: Port, fast: Any, network: str) -> list[float]:
    """Of the outputs, of the largest value of each; in bfloat16, which XLA compiles for long, of one image."""
    found = []
    for x, wanted in reference(network)[: 2 if fast.done.precision == "float32" else 1]:
        y = port.call(fast, x)
        assert (y.dtype, y.shape) == (np.float32, wanted.shape)
        found.append(float(np.abs(y - wanted).max() / np.abs(wanted).max()))
    return found


def is_quick(name: str, network: str, precision: Precision) -> bool:
    """XLA takes a second or two for each shape of each network, PyTorch nothing, TensorFlow's graph some tenths."""
    some = {"torch": NETWORKS, "tf": SMALL, "jax": ("resnet",)}[name]
    return network in some if precision == "float32" else (name, network) in (("torch", "resnet"), ("tf", "mobile"))


def cases() -> list[Any]:
    return [
        pytest.param(*case, marks=[] if is_quick(*case) else [pytest.mark.slow])
        for case in product(PORTS, NETWORKS, get_args(Precision))
    ]


@pytest.mark.parametrize(("name", "network", "precision"), cases())
def test_outputs_are_those_of_the_reference_for_any_images(name: str, network: str, precision: Precision) -> None:
    port, spec = PORTS[name](), NETWORKS[network]
    found = errors(port, port.fast(spec, precision), network)
    assert max(found) < bound_of("taps", precision, f"{name}_fast")


@pytest.mark.parametrize("network", ["mobile", "shake", "padded as TensorFlow does"])
def test_without_kernels_of_onednn_the_outputs_are_the_same(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import se_torch.fast_path

    port = torch_port()
    with_them = port.fast(NETWORKS[network])
    monkeypatch.setattr(se_torch.fast_path, "_has_kernels", lambda _precision: False)
    fast = port.fast(NETWORKS[network])
    assert (with_them.done.compiler[:6], fast.done.compiler) == ("oneDNN", "PyTorch's kernels")
    assert max(errors(port, fast, network)) < bound_of("taps", "float32", "torch_fast")


def test_it_says_what_it_did(port: Port) -> None:
    fast = port.fast(NETWORKS["se between convolution and BatchNorm"])
    assert (fast.done.folded, fast.done.kept, fast.done.precision, fast.done.layout) == (15, 5, "float32", "NHWC")
    start = "Fast(tiny-se-resnet in float32: 15 BatchNorms folded into convolutions, 5 kept; NHWC; "
    assert repr(fast) == f"{start}{fast.done.compiler})"
    assert fast.info.history[-1] == "15 BatchNorms taken into convolutions, parameters rounded to float32"


def test_the_model_stays_and_may_change_afterwards(port: Port) -> None:
    spec = _RESNET
    model = port.package.restore(spec, seeded(spec, 1))
    before, x = port.package.dump(model), image(2, 1, 32, 32)
    fast = port.package.fast(model)
    first = port.call(fast, x)
    after = port.package.dump(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    port.package.load(model, seeded(spec, 5))
    assert np.array_equal(port.call(fast, x), first)


def test_what_is_no_model_is_refused(port: Port) -> None:
    package = port.package.__name__
    message = rf"fast: expected a model of {package}, as {package}.build and .* make it, found builtins.str"
    with pytest.raises(InputError, match=message):
        port.package.fast("se-resnet-50")
    model = port.package.restore(_RESNET, seeded(_RESNET, 1))
    with pytest.raises(InputError, match="precision 'float16': expected one of float32, bfloat16"):
        port.package.fast(model, "float16")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_model_in_training_mode_is_refused(name: str) -> None:
    port = PORTS[name]()
    for spec in (_RESNET, replace(SMALL["vgg"], batch_norm=False, se=None)):  # with BatchNorms; with dropout
        model = port.package.restore(spec, seeded(spec, 1))
        model.train()
        with pytest.raises(InputError, match=r"fast: the model is in training mode, .* call model\.eval\(\)"):
            port.package.fast(model)
        model.eval()
        port.package.fast(model)


def test_keras_is_told_with_the_call() -> None:
    fast = tf_port().fast(_RESNET)
    x = image(2, 1, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(fast(x), fast(x, training=False))
    with pytest.raises(InputError, match="the fast path is for inference: call the model itself with training=True"):
        fast(x, training=True)


def test_another_backend_of_keras_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    port = tf_port()
    model = port.package.restore(_RESNET, seeded(_RESNET, 1))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        InputError, match=r"se_tf\.fast is TensorFlow's, and Keras runs on jax: use fast of se_jax there"
    ):
        port.package.fast(model)


def test_a_model_that_computes_otherwise_is_refused_and_another_classifier_is_not() -> None:
    import torch

    port = torch_port()
    model = port.package.restore(_RESNET, seeded(_RESNET, 1))
    model.fc = torch.nn.Linear(128, 3)
    x = torch.from_numpy(image(2, 2, 32, 32))
    with torch.no_grad():
        wanted = model(x)
    found = port.package.fast(model)(x)
    assert found.shape == (2, 3)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    model.stem.relu1 = torch.nn.GELU()
    with pytest.raises(InputError, match=r"stem.relu1 is GELU\(approximate='none'\) now"):
        port.package.fast(model)


def test_what_is_switched_on_around_does_not_matter_and_the_dtype_is_the_models() -> None:
    import torch

    import se_torch

    model = se_torch.restore(_RESNET, seeded(_RESNET, 1), "float64")
    fast = se_torch.fast(model)
    x = torch.from_numpy(image(2, 1, 32, 32)).double().requires_grad_()
    found = fast(x)
    assert (found.dtype, found.requires_grad) == (torch.float64, False)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(x), found)
    with torch.inference_mode():
        assert torch.equal(fast(x), found)


def test_a_version_of_xla_without_the_option_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from se_jax import fast_path

    assert fast_path._options.__wrapped__() == fast_path.EIGEN
    monkeypatch.setattr(fast_path, "EIGEN", {"xla_no_such_option": ""})
    assert fast_path._options.__wrapped__() == {}


def test_it_is_a_part_of_other_transformations_of_jax() -> None:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    import se_jax

    spec = changed(_RESNET, depths=(1,), reduce=(4,), width=(4,), out_channels=(16,))
    model = se_jax.restore(spec, seeded(spec, 1))
    fast, x = se_jax.fast(model), jnp.asarray(image(2, 1, 32, 32).transpose(0, 2, 3, 1))
    wanted = fast(x)
    traced = (
        *jax.jit(lambda z: (fast(z), fast(x) + z.sum() * 0))(x),  # also of images that are constants there
        *nnx.jit(lambda net, z: (net(z),))(fast, x),
    )
    for found in traced:
        assert jnp.abs(found - wanted).max() < 1e-5 * jnp.abs(wanted).max()
    gradient = jax.grad(lambda z: fast(z).sum())(x)
    of_model = jax.jit(jax.grad(lambda z: model(z).sum()))(x)
    assert jnp.abs(gradient - of_model).max() < 1e-4 * jnp.abs(of_model).max()
