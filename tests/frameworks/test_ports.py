"""The networks in PyTorch, Flax and Keras: the same to use, the same numbers, each in its framework's own idiom."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from conftest import golden_data, golden_image, golden_params

from conformance.cases import TINY, image, seeded
from weights import CAFFE, MODELS, SE, InputError, Spec, cost, feature_nodes, graph, read, schema, shapes, write
from weights.networks.operations import Add

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SMALL = replace(TINY["tiny-senet"], depths=(1, 1, 1, 1))  # groups, dropout, every kind of projection
E = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 0.1}
"""Of the largest value: rounding in sums of some thousand terms, over twenty layers; bfloat16 has 8 bits."""


@dataclass(frozen=True)
class Port:
    """How a framework is asked for what the tests need; all images and maps are (N, C, H, W)."""

    name: str
    package: Any
    set_training: Callable[[Any, bool], Any]
    call: Callable[..., np.ndarray]  # (model, images, training)
    features: Callable[[Any, np.ndarray], list[np.ndarray]]
    taps: Callable[[Any, np.ndarray, tuple[str, ...]], list[np.ndarray]]
    losses: Callable[[Any, np.ndarray, np.ndarray], list[float]]  # of some steps of training

    def model(self, spec: Any = SMALL, dtype: str = "float64", seed: int = 1) -> Any:
        return self.package.restore(spec, seeded(spec, seed), dtype)


def _torch() -> Port:
    import torch

    def tensor(x: np.ndarray, model: Any) -> Any:
        return torch.from_numpy(x).to(next(model.parameters()).dtype)

    def array(x: Any) -> np.ndarray:
        return x.detach().to(torch.promote_types(x.dtype, torch.float32)).numpy()

    def call(model: Any, x: np.ndarray, training: bool = False) -> np.ndarray:
        return array(model.train(training)(tensor(x, model)))

    def features(model: Any, x: np.ndarray) -> list[np.ndarray]:
        return [array(m) for m in model.eval().features(tensor(x, model))]

    def taps(model: Any, x: np.ndarray, names: tuple[str, ...]) -> list[np.ndarray]:
        found: dict[str, Any] = {}
        for name in names:
            model.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: found.update({name: array(output)})
            )
        call(model, x)
        return [found[name] for name in names]

    def losses(model: Any, x: np.ndarray, labels: np.ndarray) -> list[float]:
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.02, momentum=0.9)
        found = []
        for _ in range(8):
            loss = torch.nn.functional.cross_entropy(model(tensor(x, model)), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    return Port("torch", import_module("se_torch"), lambda m, on: m.train(on), call, features, taps, losses)


def _jax() -> Port:
    import jax.numpy as jnp
    import optax
    from flax import nnx

    def nchw(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x

    def images(x: np.ndarray, model: Any) -> Any:
        return jnp.asarray(x.transpose(0, 2, 3, 1), model.stem.conv1.kernel.dtype)

    def set_training(model: Any, on: bool) -> None:
        model.train() if on else model.eval()

    def call(model: Any, x: np.ndarray, training: bool = False) -> np.ndarray:
        set_training(model, training)
        return nchw(nnx.jit(lambda m, x: m(x))(model, images(x, model)))

    def features(model: Any, x: np.ndarray) -> list[np.ndarray]:
        model.eval()
        return [nchw(m) for m in nnx.jit(lambda m, x: m.features(x))(model, images(x, model))]

    def taps(model: Any, x: np.ndarray, names: tuple[str, ...]) -> list[np.ndarray]:
        model.eval()
        captured = nnx.jit(lambda m, x: nnx.capture(m, nnx.Intermediate, method_outputs=nnx.Intermediate)(x))
        _, state = captured(model, images(x, model))
        found = {".".join(map(str, path)): variable.get_value()[-1] for path, variable in nnx.to_flat_state(state)}
        return [nchw(found[f"{name}.__call__"]) for name in names]

    def losses(model: Any, x: np.ndarray, labels: np.ndarray) -> list[float]:
        model.train()
        optimizer = nnx.Optimizer(model, optax.sgd(0.02, 0.9), wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any, x: Any, labels: Any) -> Any:
            def loss(model: Any) -> Any:
                return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()

            value, gradients = nnx.value_and_grad(loss)(model)
            optimizer.update(model, gradients)
            return value

        return [float(step(model, optimizer, images(x, model), labels)) for _ in range(8)]

    return Port("jax", import_module("se_jax"), set_training, call, features, taps, losses)


def _tf() -> Port:
    import keras

    def nchw(x: Any) -> np.ndarray:
        x = np.asarray(keras.ops.convert_to_numpy(x))
        return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x

    def images(x: np.ndarray) -> np.ndarray:
        return x.transpose(0, 2, 3, 1)

    def call(model: Any, x: np.ndarray, training: bool = False) -> np.ndarray:
        return nchw(model(images(x), training=training))

    def features(model: Any, x: np.ndarray) -> list[np.ndarray]:
        return [nchw(m) for m in model.features(images(x))]

    def taps(model: Any, x: np.ndarray, names: tuple[str, ...]) -> list[np.ndarray]:
        outputs = [model.get_layer(name).output for name in names]
        return [nchw(m) for m in keras.Model(model.input, [*outputs, model.output])(images(x))[:-1]]

    def losses(model: Any, x: np.ndarray, labels: np.ndarray) -> list[float]:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.02, 0.9), loss)
        return model.fit(images(x), labels, batch_size=len(x), epochs=8, shuffle=False, verbose=0).history["loss"]

    return Port("tf", import_module("se_tf"), lambda _model, _on: None, call, features, taps, losses)


_PORTS = {"torch": _torch, "jax": _jax, "tf": _tf}


@pytest.fixture(params=_PORTS)
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    """One framework, with 64-bit numbers."""
    for needed in {"torch": ["torch"], "jax": ["jax", "flax"], "tf": ["tensorflow", "keras"]}[request.param]:
        pytest.importorskip(needed, reason=f"the extra senet[{request.param}] is not installed")
    if request.param == "jax":
        import jax

        with jax.enable_x64(True):
            yield _jax()
    else:
        yield _PORTS[request.param]()


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    "name", ["tiny-se-resnet", "tiny-se-resnext", "tiny-senet", "tiny-se-bn-inception", "tiny-resnet"]
)
def test_logits_equal_caffes(port: Port, name: str) -> None:
    data, params = golden_data(name), golden_params(name)
    model = port.package.restore(TINY[name], params, "float64")
    for tag in ("64x64", "67x51" if "inception" in name else "67x59"):
        assert error(port.call(model, golden_image(data, tag)), data[f"{tag}/logits"]) < E["float64"]


@pytest.mark.parametrize("dtype", E)
def test_network_computes_in_the_dtype_asked_for(port: Port, dtype: str) -> None:
    x = image(1, 2, 40, 33).astype(np.float64)
    exact = port.call(port.model(), x)
    model = port.model(dtype=dtype)
    found = port.call(model, x)
    assert found.dtype == dtype or (dtype == "bfloat16" and found.dtype == np.float32)
    assert error(found, exact) < E[dtype]
    if dtype == "float32":
        assert error(found, exact) > 1e-9  # not secretly in double precision


@pytest.mark.parametrize("name", ["tiny-senet", "tiny-se-bn-inception", "tiny-bn-inception"])
def test_dump_returns_loaded_parameters_bit_for_bit(port: Port, name: str) -> None:
    params = seeded(TINY[name], 3)
    params.info = replace(
        params.info,
        labels="sorted",
        assumed=("labels",),
        source="x.caffemodel",
        sha256="ab" * 32,
        history=("one line",),
    )
    model = port.package.restore(TINY[name], params, "float64")
    found = port.package.dump(model)
    assert list(found) == list(params)
    assert all(np.array_equal(found[k], params[k]) for k in params)
    assert (model.preprocessing, model.labels) == (CAFFE, "sorted")
    assert found.info == params.info


def test_dump_returns_copies(port: Port) -> None:
    model = port.model()
    before = port.package.dump(model)
    port.package.load(model, seeded(SMALL, 2))
    assert all(np.array_equal(before[k], a) for k, a in seeded(SMALL, 1).items())


def test_load_lists_every_misfit_and_changes_nothing(port: Port) -> None:
    model = port.model()
    params = dict(seeded(SMALL, 2))
    del params["stage1.0.conv1.weight"]
    params["stage9.bias"] = np.zeros(3)
    params["fc.bias"] = np.zeros(7)
    with pytest.raises(InputError) as caught:
        port.package.load(model, params)
    assert str(caught.value).splitlines() == [
        "parameters: does not fit tiny-senet (10 classes)",
        "  - stage1.0.conv1.weight (8, 16, 1, 1) is missing",
        "  + stage9.bias (3,) is unexpected",
        "  ! fc.bias has shape (7,), expected (10,)",
    ]
    assert all(np.array_equal(a, seeded(SMALL, 1)[k]) for k, a in port.package.dump(model).items())


@pytest.mark.parametrize(
    "spec",
    [TINY["tiny-senet"], TINY["tiny-se-bn-inception"], replace(SMALL, se=SE(reduction=4, position="post"))],
    ids=["residual", "inception", "post"],
)
def test_features_equal_the_taps_of_the_whole_network(port: Port, spec: Spec) -> None:
    model, x = port.model(spec), image(1, 1, 64, 96).astype(np.float64)
    names = feature_nodes(spec)
    features = port.features(model, x)
    sizes = shapes(spec, 64, 96)
    assert [m.shape[1:] for m in features] == [sizes[n] for n in names]
    assert [64 // m.shape[2] for m in features] == [4, 8, 16, 32][: len(names)]
    assert all(error(m, t) < E["float64"] for m, t in zip(features, port.taps(model, x, names), strict=True))


def test_inception_networks_have_maps_at_four_strides(port: Port) -> None:
    spec = replace(MODELS["se-bn-inception"], classes=0)
    assert feature_nodes(spec) == ("stem.relu3", "inception3b", "inception4d", "inception5b")
    maps = port.features(port.package.restore(spec, seeded(spec, 1)), np.zeros((1, 3, 64, 64), np.float32))
    assert [m.shape for m in maps] == [(1, 192, 16, 16), (1, 320, 8, 8), (1, 608, 4, 4), (1, 1024, 2, 2)]


@pytest.mark.parametrize(
    "spec",
    [TINY["tiny-se-resnet"], TINY["tiny-bn-inception"], replace(SMALL, se=SE(reduction=4, position="post"))],
    ids=["residual", "inception", "post"],
)
def test_every_node_is_a_module_of_that_name(port: Port, spec: Spec) -> None:
    model = port.model(spec)
    nodes = [n.module for n in graph(spec) if port.name == "tf" or not isinstance(n.op, Add)]
    for node in nodes:
        layer, found = node, model
        if port.name == "tf":
            layer, _, inside = node.partition(".se.")
            found = model.get_layer(f"{layer}.se") if inside else model.get_layer(layer)
            layer = inside
        for part in filter(None, layer.split(".")):
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        assert callable(found)


@pytest.mark.parametrize("classes", [0, 3])
def test_class_count_can_be_set(port: Port, classes: int) -> None:
    spec, x = replace(SMALL, classes=classes), image(1, 2, 40, 33).astype(np.float64)
    model = port.model(spec)
    found = port.call(model, x)
    assert found.shape == (2, classes or 128)
    if not classes:
        assert error(found, port.features(model, x)[-1].mean((2, 3))) < E["float64"]


def test_training_alone_moves_the_statistics(port: Port) -> None:
    x = image(1, 2, 48, 48).astype(np.float64)
    model = port.model(replace(SMALL, dropout=0.0))
    before, at_rest = port.package.dump(model), port.call(model, x)
    assert all(np.array_equal(before[k], a) for k, a in port.package.dump(model).items())
    assert error(port.call(model, x, True), at_rest) > 0.1
    after = port.package.dump(model)
    moved = [p.name for p in schema(SMALL) if not np.array_equal(before[p.name], after[p.name])]
    assert moved == [p.name for p in schema(SMALL) if not p.learnable]
    mapped = port.taps(model, x, ("stem.conv1",))[0]
    expected = 0.9 * before["stem.bn1.running_mean"] + 0.1 * mapped.mean((0, 2, 3))
    assert error(after["stem.bn1.running_mean"], expected) < E["float64"]


def test_dropout_drops_in_training_only(port: Port) -> None:
    x = image(1, 2, 48, 48).astype(np.float64)
    model = port.model(replace(SMALL, dropout=0.5))
    assert np.array_equal(port.call(model, x), port.call(model, x))
    assert not np.array_equal(port.call(model, x, True), port.call(model, x, True))


def test_fine_tuning_reduces_the_loss(port: Port) -> None:
    model = port.model(replace(SMALL, dropout=0.0), "float32")
    losses = port.losses(model, image(1, 8, 32, 32), np.arange(8) % 4)
    assert losses[-1] < losses[0] / 2


def test_a_fresh_network_is_initialised_for_training(port: Port) -> None:
    params = port.package.dump(port.package.build(SMALL))
    w = params["stage3.0.shortcut.conv.weight"]
    assert abs(w.std() / np.sqrt(2 / w[0].size) - 1) < 0.03  # He; 18432 numbers, whose deviation is known to 0.5 %
    for p in schema(SMALL):
        if p.kind == "bn" or p.leaf == "bias":
            assert np.all(params[p.name] == (p.leaf in ("weight", "running_var")))


def test_constructors_build_the_network_of_their_name(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_module(f"{port.package.__name__}.models")
    monkeypatch.setattr(models, "_made", lambda network, spec, *_args: (network, spec))
    for name, spec in MODELS.items():
        # "se-resnet-50" is se_resnet50, "wrn-16-8-cifar-10" is wrn16_8_cifar10.
        constructor = getattr(models, re.sub(r"(?<=[a-z])-(?=\d)", "", name).replace("-", "_"))
        network = models.NETWORKS[spec.family]
        assert constructor() == (network, spec)
        assert constructor(7, dropout=0.5) == (network, replace(spec, classes=7, dropout=0.5))


def test_build_takes_a_name_or_a_record_and_changes(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_module(f"{port.package.__name__}.models")
    monkeypatch.setattr(models, "_made", lambda network, spec, *_args: (network, spec))
    network, se = models.NETWORKS["resnet"], SE(reduction=4, position="pre", stages=(2,))
    assert models.build(SMALL, classes=3, se=se) == (network, replace(SMALL, classes=3, se=se))
    assert models.build("senet-154", dropout=0.5) == (network, replace(MODELS["senet-154"], dropout=0.5))


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        ((50,), {}, "expected the name of a network or its record, found 50"),
        (("se-resnet-51",), {}, "unknown network 'se-resnet-51': did you mean se-resnet-50"),
        ((SMALL,), {"reduction": 8}, "tiny-senet has no field reduction; its fields are .* se"),
        ((SMALL,), {"classes": "10"}, "tiny-senet: classes is '10', expected a whole number"),
        ((SMALL,), {"se": SE(reduction=64)}, "tiny-senet: SE: reduction 64 leaves no hidden unit for 16 channels"),
        ((SMALL, "int8"), {}, "tiny-senet in 'int8': expected one of float64, float32, bfloat16, float16"),
        ((SMALL, 64), {}, "tiny-senet in 64: expected one of float64, float32, bfloat16, float16"),
    ],
)
def test_invalid_arguments_of_build_are_one_clear_error(
    port: Port, arguments: tuple[Any, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        port.package.build(*arguments, **changes)
    assert "\n" not in str(caught.value)


def test_constructors_show_their_name_and_arguments(port: Port) -> None:
    constructor = port.package.se_resnext101
    assert (constructor.__name__, constructor.__module__) == ("se_resnext101", f"{port.package.__name__}.models")
    assert constructor.__doc__.startswith("SE-ResNeXt-101 (32x4d): ")
    assert next(iter(inspect.signature(constructor).parameters.values())).default == 1000


@pytest.mark.parametrize("name", ["se-resnet-50", "bn-inception"])
def test_parameter_count_equals_the_cost(port: Port, name: str) -> None:
    if port.name == "torch":
        import torch

        with torch.device("meta"):
            learnable = sum(p.numel() for p in port.package.build(MODELS[name]).parameters())
    elif port.name == "jax":
        from flax import nnx

        state = nnx.state(nnx.eval_shape(lambda: port.package.build(MODELS[name])), nnx.Param)
        learnable = sum(v.get_value().size for _, v in nnx.to_flat_state(state))
    else:
        learnable = sum(int(np.prod(v.shape)) for v in port.package.build(MODELS[name]).trainable_variables)
    assert learnable == cost(MODELS[name]).learnable


def test_statistics_after_training_are_written_for_caffe_without_the_factors_of_before(
    port: Port, tmp_path: Any
) -> None:
    model = port.model(replace(SMALL, dropout=0.0))
    assert model.info.factors["stem.bn1"] == pytest.approx(999.98236)
    port.call(model, image(1, 2, 40, 33).astype(np.float64), True)
    trained = port.package.dump(model)
    write(tmp_path / "trained.caffemodel", model.spec, trained)
    found = read(tmp_path / "trained.caffemodel")[1]
    assert all(np.array_equal(found[name], array) for name, array in trained.items())
    assert set(found.info.factors.values()) == {1.0}


def test_from_pretrained_returns_the_checkpoint_in_inference_mode(port: Port, tmp_path: Any) -> None:
    params = seeded(SMALL, 1)
    write(tmp_path / "small.safetensors", SMALL, params)
    model = port.package.from_pretrained(tmp_path / "small.safetensors", dtype="float64")
    x = image(1, 1, 40, 33).astype(np.float64)
    assert (model.spec, model.preprocessing, model.labels) == (SMALL, CAFFE, params.info.labels)
    if port.name == "torch":
        assert not model.training
    if port.name == "jax":
        assert model.dropout.deterministic
        assert model.stem.bn1.use_running_average
    assert np.array_equal(port.call(model, x), port.call(port.model(), x))


@pytest.mark.parametrize("name", ["tiny-senet", pytest.param("tiny-se-bn-inception", marks=pytest.mark.slow)])
def test_new_classifier_leaves_the_trained_network(port: Port, name: str, tmp_path: Any) -> None:
    spec, x = TINY[name], image(1, 1, 64, 64).astype(np.float64)
    write(tmp_path / "net.safetensors", spec, seeded(spec, 1))
    trained = port.package.from_pretrained(tmp_path / "net.safetensors", "float64")
    for classes in (3, 0):
        model = port.package.from_pretrained(tmp_path / "net.safetensors", "float64", classes=classes)
        assert (model.spec, model.preprocessing, model.labels) == (replace(spec, classes=classes), CAFFE, None)
        assert all(map(np.array_equal, port.features(model, x), port.features(trained, x)))
        assert port.call(model, x).shape == (1, classes or port.features(model, x)[-1].shape[1])
    same = port.package.from_pretrained(tmp_path / "net.safetensors", "float64", classes=spec.classes)
    assert np.array_equal(port.call(same, x), port.call(trained, x))


@pytest.mark.parametrize("bias", [True, False])
def test_se_block_computes_its_formula(port: Port, bias: bool) -> None:
    rng = np.random.default_rng(0)
    x, w1, b1 = rng.normal(size=(2, 16, 5, 3)), rng.normal(size=(4, 16)), rng.normal(size=4) * bias
    w2, b2 = rng.normal(size=(16, 4)), rng.normal(size=16) * bias
    hidden = np.maximum(x.mean((2, 3)) @ w1.T + b1, 0)
    expected = x / (1 + np.exp(-(hidden @ w2.T + b2)))[:, :, None, None]
    if port.name == "torch":
        import torch

        block = port.package.SEBlock(16, reduction=4, bias=bias).double()
        state = {"fc1.weight": w1, "fc1.bias": b1, "fc2.weight": w2, "fc2.bias": b2}
        block.load_state_dict({k: torch.from_numpy(a) for k, a in state.items() if bias or "bias" not in k})
        found = block(torch.from_numpy(x)).detach().numpy()
    elif port.name == "jax":
        block = port.package.SEBlock(16, reduction=4, bias=bias, dtype="float64")
        for layer, w, b in ((block.fc1, w1, b1), (block.fc2, w2, b2)):
            layer.kernel[...] = w.T
            if bias:
                layer.bias[...] = b
        found = np.asarray(block(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    else:
        block = port.package.SEBlock(16, reduction=4, bias=bias, dtype="float64")
        block.build((None, None, None, 16))
        block.set_weights([w1.T, b1, w2.T, b2] if bias else [w1.T, w2.T])
        found = np.asarray(block(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    assert error(found, expected) < 1e-15


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "reduction 16 leaves no hidden unit for 8 channels"),
        ({"reduction": 0}, "SE: reduction is '?0'?, expected a whole number"),
        ({"squeeze": "mean"}, "SE: squeeze is 'mean', expected one of avg, max, none"),
        ({"gate": "softmax"}, "SE: gate is 'softmax', expected one of sigmoid, tanh, relu, hard-sigmoid"),
    ],
)
def test_se_block_refuses_invalid_choices(port: Port, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        port.package.SEBlock(8, **choices)


def test_torch_state_dict_restores_the_network(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    port = _torch()
    model, x = port.model(), image(1, 1, 40, 33).astype(np.float64)
    torch.save(model.state_dict(), tmp_path / "m.pth")
    again = port.package.build(SMALL, "float64")
    again.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True))
    assert np.array_equal(port.call(again, x), port.call(model, x))
    assert [k for k in model.state_dict() if "num_batches" not in k] == [p.name for p in schema(SMALL)]


def test_flax_state_restores_the_network() -> None:
    nnx = pytest.importorskip("flax.nnx")
    port = _jax()
    model, x = port.model(dtype="float32"), image(1, 1, 40, 33)
    again = port.model(dtype="float32", seed=2)
    nnx.update(again, nnx.state(model))
    assert np.array_equal(port.call(again, x), port.call(model, x))
    assert nnx.merge(*nnx.split(model)).spec == SMALL


def test_flax_in_float64_says_how_to_switch_it_on() -> None:
    pytest.importorskip("flax.nnx")
    with pytest.raises(InputError, match="jax_enable_x64"):
        import_module("se_jax").build(SMALL, "float64")


def test_keras_file_restores_the_network(tmp_path: Any) -> None:
    keras = pytest.importorskip("keras")
    port = _tf()
    model, x = port.model(), image(1, 1, 40, 33).astype(np.float64)
    model.info = replace(model.info, labels="sorted")
    model.save(tmp_path / "m.keras")
    again: Any = keras.saving.load_model(tmp_path / "m.keras")
    assert (again.spec, again.preprocessing, again.labels, again.info.assumed) == (SMALL, CAFFE, "sorted", ())
    assert again.dtype_policy.name == "float64"
    assert np.array_equal(port.call(again, x), port.call(model, x))
    lines: list[str] = []
    again.summary(print_fn=lines.append)
    assert "stage1.0.se" in "\n".join(lines)


@pytest.mark.parametrize(
    ("choices", "stated"),
    [
        ({}, {"reduction": 16}),
        ({"width": 4}, {"reduction": 16}),  # the same width: 64 / 16
        ({"width": 5, "gate": "tanh"}, {"reduction": 16, "width": 5, "gate": "tanh"}),
        ({"width": 4, "rounding": "to 8"}, {"reduction": 16, "width": 4, "rounding": "to 8"}),
        ({"reduction": 4, "squeeze": "none", "bias": False}, {"reduction": 4, "squeeze": "none", "bias": False}),
    ],
)
def test_keras_config_of_a_block_states_what_is_not_published(choices: dict[str, Any], stated: dict[str, Any]) -> None:
    pytest.importorskip("keras")
    block = import_module("se_tf").SEBlock(64, **choices, name="se")
    config = block.get_config()
    assert {k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")} == {"channels": 64, **stated}
    again = type(block).from_config(config)
    assert (again.hidden, again.get_config()) == (block.hidden, config)


_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"squeeze": "max", "gate": "tanh", "position": "post"},
    {"squeeze": "none", "gate": "hard-sigmoid", "bias": False},
)
_BACKEND = """
import sys, keras, numpy as np, se_tf
from pathlib import Path
from conformance.cases import TINY, image, seeded
from dataclasses import replace
from weights import SE
assert "tensorflow" not in sys.modules
# JAX would compile the random numbers for every shape of a kernel, for them to be overwritten.
keras.initializers.HeNormal.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
x = image(1, 1, 40, 33).transpose(0, 2, 3, 1).astype("float64")
for i, choices in enumerate(eval(sys.argv[2])):
    spec = replace(TINY["tiny-senet"], depths=(1, 1, 1, 1), se=SE(reduction=4, **choices))
    model = se_tf.restore(spec, seeded(spec, 1), "float64")
    np.savez(Path(sys.argv[1], f"{i}.npz"), logits=keras.ops.convert_to_numpy(model(x)), **se_tf.dump(model))
    model.save(Path(sys.argv[1], f"{i}.keras"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_networks_run_on_other_backends(backend: str, tmp_path: Any) -> None:
    pytest.importorskip("keras")
    pytest.importorskip(backend)
    pytest.importorskip("torch", reason="the numbers are compared with PyTorch's")
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    arguments = [sys.executable, "-c", _BACKEND, str(tmp_path), repr(_VARIANTS)]
    subprocess.run(arguments, env=environment, check=True, timeout=300)
    for i, choices in enumerate(_VARIANTS):
        spec = replace(SMALL, se=SE(reduction=4, **choices))
        found = dict(np.load(tmp_path / f"{i}.npz"))
        expected = _torch().call(_torch().model(spec), image(1, 1, 40, 33).astype(np.float64))
        assert error(found["logits"], expected) < E["float64"]
        saved = read(tmp_path / f"{i}.keras")[1]
        assert all(np.array_equal(found[k], a) and np.array_equal(saved[k], a) for k, a in seeded(spec, 1).items())
