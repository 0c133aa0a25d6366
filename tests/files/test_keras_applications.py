"""Weights for the models of keras.applications: written without Keras, loaded by it, computed alike, read back."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from odd_networks import same

import conformance
from conformance import cases
from conformance.judge.bounds import TAPS
from weights import (
    MODELS,
    SE,
    Checkpoint,
    InceptionResNetSpec,
    InputError,
    MobileSpec,
    Params,
    Preprocessing,
    Spec,
    read,
    schema,
    write,
)
from weights.files.keras_layout import layout
from weights.files.state_dict import IMAGENET
from weights.names.state_dicts import APPLICATIONS, application_for

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

OF_MODEL = {application.model: application for application in APPLICATIONS}
SIZES = {"VGG16": (224, 224), "InceptionResNetV2": (75, 83)}
GIVEN = {f"MobileNetV3{size}": {"include_preprocessing": False} for size in ("Large", "Small")}


def checkpoint(spec: Spec, *, expects: Preprocessing = IMAGENET) -> Checkpoint:
    """Seeded weights as a model of keras.applications can hold them."""
    params, holds = cases.seeded(spec, 1), application_for(spec).names.holds
    found = {p.name: params[p.name] if holds(p) else np.ones_like(params[p.name]) for p in schema(spec)}
    return Checkpoint(spec, Params(found, replace(params.info, preprocessing=expects)))


def listing(path: Path) -> dict[str, tuple[Any, ...]]:
    """Of every dataset of a layer, by its path: the layer's name and the shape."""
    found = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and name != "senet":
            found[name] = str(item.parent.attrs["name"]), item.shape

    with h5py.File(path) as values:
        values.visititems(visit)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("model", OF_MODEL)
def test_their_model_loads_what_is_written_and_computes_the_same(model: str, tmp_path: Path) -> None:
    keras: Any = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    pytest.importorskip("torch")
    spec, params = checkpoint(replace(MODELS[OF_MODEL[model].network], classes=7))
    write(tmp_path / "ours.weights.h5", spec, params, dialect="keras.applications")
    height, width = SIZES.get(model, (45, 38))
    keras.backend.clear_session()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        theirs = getattr(keras.applications, model)(
            weights=None, input_shape=(height, width, 3), classes=7, classifier_activation=None, **GIVEN.get(model, {})
        )
    finally:
        keras.config.set_dtype_policy(policy)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    assert listing(tmp_path / "ours.weights.h5") == listing(tmp_path / "theirs.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    pixels = np.random.default_rng(3).integers(0, 256, (2, height, width, 3)).astype(np.float64)
    # Their inputs are float32, whatever the policy of the layers.
    prepared = ((pixels / 255 - IMAGENET.mean) / IMAGENET.std).astype(np.float32).astype(np.float64)
    wanted = np.asarray(theirs(pixels if OF_MODEL[model].names.prepares else prepared, training=False))
    found = conformance.run("torch", spec, params, prepared.transpose(0, 3, 1, 2))["logits"]
    assert wanted.dtype == np.float64
    # Each of the two may be off by the bound.
    assert np.abs(found - wanted).max() <= 2 * TAPS["float64"] * np.abs(wanted).max()


LAYOUTS = {
    "MobileNet": "852fef1ea63158cd",
    "MobileNetV2": "d9973e3bbfbcf063",
    "MobileNetV3Large": "a5e8877120e17100",
    "MobileNetV3Small": "955367a41b2d50ae",
    "EfficientNetB0": "417451f8a1489d6d",
    "VGG16": "505981645fb4d7e6",
    "InceptionResNetV2": "14940a18825485f3",
}
"""By model."""


@pytest.mark.parametrize("model", OF_MODEL)
def test_every_variable_lies_where_keras_puts_it(model: str) -> None:
    """Digests of the listings of Keras 3.15.1, without those of a Normalization."""
    spec, names = MODELS[OF_MODEL[model].network], OF_MODEL[model].names
    where = layout(spec, names)
    held = [p for p in schema(spec) if names.holds(p)]
    lines = sorted(f"{where[p.name]} {names.module(p.module)} {list(names.shape(p))}" for p in held)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == LAYOUTS[model]


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        ("MobileNet", "float32"),
        ("MobileNetV2", "float32"),
        ("MobileNetV3Small", "float64"),
        ("EfficientNetB0", "float32"),
    ],
)
def test_what_is_written_comes_back_bit_for_bit(model: str, dtype: str, tmp_path: Path) -> None:
    spec, params = checkpoint(replace(MODELS[OF_MODEL[model].network], classes=3))
    params = Params({name: array.astype(dtype) for name, array in params.items()}, params.info)
    write(tmp_path / "x.weights.h5", spec, params, dialect="keras.applications")
    found = read(tmp_path / "x.weights.h5")
    assert found.spec == spec
    assert same(found.params, params)
    assert found.info == params.info


def test_batch_norms_without_factors_come_back_with_neutral_ones(tmp_path: Path) -> None:
    spec = MODELS["inception-resnet-v2"]
    assert isinstance(spec, InceptionResNetSpec)

    def narrow(branches: tuple[tuple[tuple[int, int, int], ...], ...]) -> Any:
        return tuple(tuple((out // 16, height, width) for out, height, width in branch) for branch in branches)

    stages = tuple(
        replace(
            s, branches=narrow(s.branches), module=s.module and replace(s.module, branches=narrow(s.module.branches))
        )
        for s in spec.stages
    )
    spec, params = checkpoint(replace(spec, stages=stages, end=8, classes=3))
    write(tmp_path / "x.weights.h5", spec, params, dialect="keras.applications")
    found = read(tmp_path / "x.weights.h5")
    assert (found.spec, found.info) == (spec, params.info)
    assert same(found.params, params)


def test_factors_that_a_model_has_no_place_for_are_refused(tmp_path: Path) -> None:
    spec = MODELS["inception-resnet-v2"]
    params = Params({p.name: np.broadcast_to(np.float32(0.5), p.shape) for p in schema(spec)})
    with pytest.raises(
        InputError, match=r"BatchNorms of InceptionResNetV2 have no factors, and stem1.bn.weight is not"
    ):
        write(tmp_path / "x.weights.h5", spec, params, dialect="keras.applications")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "efficientnet-b0",
            {},
            "EfficientNetB0 has the same layers, but another eps, padding; those known: .*tf-effic",
        ),
        ("tf-mobilenet-v2", {"activation": "relu"}, "MobileNetV2 has the same layers, but another activation;"),
        ("efficientnet-b0-plain", {}, "no model that computes what efficientnet-b0-plain does; those known"),
        ("se-mobilenet-v1", {}, "no model that computes what se-mobilenet-v1 does; those known"),
        ("se-resnet-50", {}, "no model that computes what se-resnet-50 does; those known"),
        ("vgg-16-bn", {}, "no model that computes what vgg-16-bn does; those known"),
        ("inception-resnet-v2", {"se": SE()}, "no model that computes what inception-resnet-v2 does; those known"),
    ],
)
def test_networks_that_no_model_computes_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spec = replace(MODELS[name], **changes)
    params = Params({p.name: np.broadcast_to(np.float32(1), p.shape) for p in schema(spec)})
    with pytest.raises(InputError, match=message):
        write(tmp_path / "x.weights.h5", spec, params, dialect="keras.applications")
    assert not list(tmp_path.iterdir())


def test_other_widths_have_the_names_of_the_published_model() -> None:
    spec = MODELS["tf-mobilenet-v1"]
    assert isinstance(spec, MobileSpec)
    stages = tuple(replace(s, out=s.out // 4, expanded=tuple(c // 4 for c in s.expanded)) for s in spec.stages)
    assert application_for(replace(spec, stem=8, stages=stages)).model == "MobileNet"


def test_a_keras_file_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    spec, params = checkpoint(replace(MODELS["tf-mobilenet-v3-small"], classes=3))
    with pytest.raises(
        InputError, match=r"write a .weights.h5, for keras.applications.MobileNetV3Small\(weights=None\)"
    ):
        write(tmp_path / "x.keras", spec, params, dialect="keras.applications")
    with pytest.raises(InputError, match=r"are written under our names or keras.applications, not 'timm'"):
        write(tmp_path / "x.weights.h5", spec, params, dialect="timm")


def test_an_efficientnet_prepares_images_in_rgb(tmp_path: Path) -> None:
    expects = replace(IMAGENET, channels="bgr")
    spec, params = checkpoint(replace(MODELS["tf-efficientnet-b0"], classes=3), expects=expects)
    with pytest.raises(InputError, match="prepares images itself, in RGB, and tf-efficientnet-b0 expects BGR"):
        write(tmp_path / "x.weights.h5", spec, params, dialect="keras.applications")
    bytes_too = replace(IMAGENET, range=255, mean=(1.0, 2.0, 3.0), std=(51.0, 255.0, 510.0))
    write(
        tmp_path / "x.weights.h5",
        spec,
        params,
        info=replace(params.info, preprocessing=bytes_too),
        dialect="keras.applications",
    )
    with h5py.File(tmp_path / "x.weights.h5") as file:
        layer: Any = file["layers/normalization/vars"]
        assert np.allclose(layer["0"], np.array([1, 2, 3]) / 255)
        assert np.allclose(layer["1"], [0.04, 1, 4])
    assert read(tmp_path / "x.weights.h5").info.preprocessing == bytes_too
