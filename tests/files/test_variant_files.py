"""Every SE variant through every format: the same record and the same bits, or the fields that are assumed are said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_networks import same
from variants import COVERING

from conformance.cases import seeded
from weights import SE, Info, Params, ResNetSpec, read, write
from weights.files.state_dict import from_state, to_state

SUFFIXES = (".safetensors", ".pth", ".keras", ".weights.h5", ".onnx")


def params(spec: ResNetSpec, suffix: str = "") -> Params:
    """Seeded ones; for ONNX with statistics of float32, as all of such a file."""
    found = seeded(spec, 1)
    return Params({k: a.astype(np.float32) for k, a in found.items()}, found.info) if suffix == ".onnx" else found


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", COVERING)
def test_variant_comes_back_bit_for_bit(name: str, suffix: str, tmp_path: Path) -> None:
    """Of Caffe's files the tests in test_caffe_variants.py say so."""
    assert_comes_back(name, suffix, tmp_path)


def test_variant_comes_back_bit_for_bit_from_orbax(tmp_path: Path) -> None:
    pytest.importorskip("orbax.checkpoint")
    assert_comes_back("3x3-raw-max-relu-False-None-None-1", ".orbax", tmp_path)


def assert_comes_back(name: str, suffix: str, folder: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx_ir")
    spec = COVERING[name]
    written = params(spec, suffix)
    write(folder / f"x{suffix}", spec, written)
    found = read(folder / f"x{suffix}")
    assert found.spec == spec
    assert same(found.params, written)
    assert found.info.assumed == written.info.assumed == ()


@pytest.mark.parametrize("name", COVERING)
def test_bare_tensors_are_the_same_bits_and_what_they_do_not_tell_is_assumed(name: str) -> None:
    """With the assumed fields as they are, the network that was found computes what the one that was saved does."""
    spec = COVERING[name]
    written = params(spec)
    found = from_state("bare.pth", to_state(spec, written))
    # Elsewhere in the unit, the block's parameters come elsewhere in the order.
    assert found.params.keys() == written.keys()
    assert same(Params({key: found.params[key] for key in written}), written)
    assert isinstance(found.spec, ResNetSpec)
    corrected = found.spec
    for field in found.info.assumed:
        corrected = with_field(corrected, spec, field)
    assert corrected.network().nodes == spec.network().nodes
    # Of all choices the shapes show these, unless no block is wide enough for a difference.
    assert not {"se.bias", "se.width", "groups", "se.stages"} & set(found.info.assumed)


def with_field(record: ResNetSpec, other: ResNetSpec, field: str) -> ResNetSpec:
    """The record with one field, "eps" or "se.gate", of another one."""
    outer, _, inner = field.partition(".")
    value = getattr(other, outer)
    if not inner:
        return replace(record, **{outer: value})
    return replace(record, se=replace(record.se or SE(), **{inner: getattr(value, inner)}))


@pytest.mark.parametrize("name", COVERING)
def test_stated_record_of_bare_tensors_is_taken_and_nothing_is_assumed(name: str) -> None:
    spec = COVERING[name]
    found = from_state("bare.pth", to_state(spec, params(spec)), spec=spec, info=Info())
    assert (found.spec, found.info.assumed) == (spec, ())
