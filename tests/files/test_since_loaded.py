"""A model that leaves a framework says whether its values are those that came in; what is no such model is refused."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

import weights
from conformance.cases import TINY, seeded
from weights import InputError, Params, hub
from weights.change import rewrite, with_classes
from weights.change.label_order import reorder
from weights.change.since_loaded import CHANGED, as_in_source
from weights.params import Info

SPEC = TINY["tiny-se-resnet"]
SOURCE = Info(source="a.caffemodel", format="caffemodel", sha256="ab" * 32)
PACKAGES = ("se_torch", "se_jax", "se_tf")


def _package(name: str) -> Any:
    pytest.importorskip({"se_torch": "torch", "se_jax": "flax.nnx", "se_tf": "keras"}[name])
    return import_module(name)


def _restored(package: Any, info: Info = SOURCE) -> Any:
    return package.restore(SPEC, Params(seeded(SPEC, 1), info))


def _edit(package: Any, model: Any) -> None:
    if package.__name__ == "se_torch":
        model.stem.conv1.weight.data[0, 0, 0, 0] += 1
    elif package.__name__ == "se_jax":
        kernel = model.stem.conv1.kernel
        kernel.set_value(kernel.get_value().at[0, 0, 0, 0].add(1))
    else:
        kernel = model.get_layer("stem.conv1").kernel
        kernel.assign_add(0 * kernel + 1)


@pytest.mark.parametrize("name", PACKAGES)
def test_edited_values_are_said_once_and_the_source_stays(name, tmp_path):
    package = _package(name)
    model = _restored(package)
    assert package.checkpoint(model).info.history == ()
    _edit(package, model)
    assert package.checkpoint(model).info.history == (CHANGED,)
    package.save(model, tmp_path / "x.safetensors")
    assert model.info.history == ()
    again = package.from_pretrained(tmp_path / "x.safetensors")
    _edit(package, again)
    found = package.checkpoint(again).info
    assert (found.history, found.sha256, found.values) == ((CHANGED,), SOURCE.sha256, {})
    assert package.checkpoint(_restored(package, Info())).info == Info()


def test_a_replaced_layer_alone_is_no_change_of_values():
    nn = pytest.importorskip("torch").nn
    package = _package("se_torch")
    model = _restored(package)
    model.fc = nn.Linear(128, 7)
    assert package.checkpoint(model).info.history == ("classifier of 10 classes replaced by one of 7",)
    _edit(package, model)
    assert package.checkpoint(model).info.history[1:] == (CHANGED,)


def test_values_that_come_by_the_framework_itself_are_compared_with_those_of_their_source():
    package = _package("se_torch")
    trained, other = _restored(package), package.build(SPEC)
    other.load_state_dict(trained.state_dict())
    assert package.checkpoint(other).info.history == ()
    other.load_state_dict(dict(package.build(SPEC).state_dict()))
    assert package.checkpoint(other).info.history == (CHANGED,)
    _edit(package, trained)
    other.load_state_dict(trained.state_dict())
    assert package.checkpoint(other).info.history == (CHANGED,)


def test_a_copy_of_keras_with_values_of_its_own_is_not_the_source():
    package = _package("se_tf")
    model = _restored(package)
    copy = type(model).from_config(model.get_config())
    assert (copy.info.source, package.checkpoint(copy).info.history) == (SOURCE.source, (CHANGED,))


def test_only_lines_that_change_nothing_are_harmless():
    spec = replace(SPEC, classes=1000)
    info = replace(SOURCE, labels="devkit", preprocessing=weights.CAFFE)
    params = Params(seeded(spec, 1), info)
    fine = rewrite(spec, reorder(spec, params, "sorted"), "rgb01").info
    assert len(fine.history) == 2
    assert as_in_source(fine)
    for how in ("fetched from https://x.org/a", "converted again, y", "taken from a file at hand, y"):
        assert as_in_source(replace(info, history=(f"{how}; known {hub.find('se-resnet-50').known_by}",)))
    assert not as_in_source(with_classes(spec, params, 7).info)
    for line in (CHANGED, "drawn from seed 0", "trained on photographs", "saved as x.pth, from y"):
        assert not as_in_source(replace(fine, history=(*fine.history, line)))


def _others(package: Any) -> list[Any]:
    model = _restored(package)
    own: Callable[[], list[Any]] = {
        "se_torch": lambda: [import_module("torch").nn.Linear(2, 2), model.state_dict(), package.fast(model)],
        "se_jax": lambda: [import_module("flax.nnx").state(model), package.fast(model)],
        "se_tf": lambda: [import_module("keras").Sequential([model, import_module("keras").layers.Softmax()])],
    }[package.__name__]
    return own()


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_no_model_is_refused_in_one_line(name, tmp_path):
    package = _package(name)
    for other in _others(package):
        with pytest.raises(InputError, match=rf"expected a model of {name}, as {name}\.build and .* found \w+"):
            package.save(other, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.onnx: onnx is {'opset': 13}, expected weights\.OnnxOptions"):
        package.save(_restored(package), tmp_path / "x.onnx", onnx={"opset": 13})
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what PyTorch's compiler imports
@pytest.mark.parametrize("kind", ["DataParallel", "AveragedModel", pytest.param("compile", marks=pytest.mark.slow)])
def test_wrapped_models_of_pytorch_are_saved_as_the_one_inside(kind):
    torch = pytest.importorskip("torch")
    wrap = {
        "DataParallel": torch.nn.DataParallel,
        "AveragedModel": torch.optim.swa_utils.AveragedModel,
        "compile": lambda model: torch.compile(model, backend="eager"),
    }[kind]
    package = _package("se_torch")
    wrapped = wrap(_restored(package))
    assert package.checkpoint(wrapped).info == SOURCE
    package.load(wrapped, Params(seeded(SPEC, 2), Info(source="b.pth")))
    assert package.checkpoint(wrapped).info == Info(source="b.pth")


def test_layers_that_compute_otherwise_are_refused(tmp_path):
    nn = pytest.importorskip("torch").nn
    package = _package("se_torch")

    class Linear(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Norm(nn.BatchNorm2d):
        pass

    model = _restored(package)
    bn, fc = model.stem.bn1, model.fc
    for change, message in (
        (lambda: setattr(model, "fc", Linear(128, 10)), r"fc is \w+\..*Linear\(.*\) now, .* built with Linear"),
        (lambda: setattr(model.stem, "bn1", Norm(bn.num_features, bn.eps)), r"stem\.bn1 is \w+\..*Norm\("),
        (lambda: setattr(fc, "forward", lambda x: x), "fc is Linear with a forward of its own now"),
        (lambda: setattr(model, "forward", lambda x: x), "the model is computed by .* with a forward of its own now"),
    ):
        change()
        with pytest.raises(InputError, match=message):
            package.save(model, tmp_path / "x.safetensors")
        model.fc, model.stem.bn1 = fc, bn
        vars(model).pop("forward", None)
        vars(fc).pop("forward", None)
    package.checkpoint(model)


def test_hooks_do_not_matter_to_weights_but_to_programs(tmp_path):
    package = _package("se_torch")
    model = _restored(package)
    hook = model.stem.conv1.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    for make in (
        package.fast,
        *(lambda m, s=s: package.save(m, tmp_path / f"x{s}") for s in (".pt2", ".onnx", ".xml")),
    ):
        with pytest.raises(InputError, match=r"without the hook that stem\.conv1 has"):
            make(model)
    assert not list(tmp_path.iterdir())
    package.save(model, tmp_path / "x.pth")
    hook.remove()
    package.fast(model)


def test_layers_of_flax_and_keras_that_compute_otherwise_are_refused():
    flax, keras = _package("se_jax"), _package("se_tf")
    nnx = import_module("flax.nnx")

    class Linear(nnx.Linear):
        pass

    model = _restored(flax)
    model.fc = Linear(128, 10, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"fc is \w+\..*Linear\(.*\) now, .* built with Linear"):
        flax.checkpoint(model)
    model = _restored(keras)
    model.get_layer("fc").enable_lora(2)
    with pytest.raises(InputError, match="lora_kernel_a"):
        keras.checkpoint(model)
