"""Bare tensors become the network that has exactly these tensors; what shapes do not tell is assumed and said."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_networks import INCEPTION, SENET, same, seeded

from weights import MODELS, SE, InceptionResNetSpec, InputError, MobileSpec, Spec, read, schema, write
from weights.files.safetensors import save_tensors
from weights.files.state_dict import from_state, to_state
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.names.resnet import TIMM
from weights.networks.inception_resnet import Stage as InceptionResNetStage
from weights.networks.inception_resnet import StemLayer
from weights.networks.mobile import Stage
from weights.networks.models import changed
from weights.networks.recognition import same_tensors, untold

WIDE: Any = {"reduce": (4, 8), "width": (12, 24), "out_channels": (20, 40), "depths": (1, 2), "groups": 1}
VARIANTS: dict[str, Spec] = {
    "senet": SENET,
    "inception": INCEPTION,
    "other depths": changed(SENET, depths=(2, 1, 3, 1)),
    "two stages": changed(SENET, **WIDE),
    "other groups": changed(SENET, groups=2),
    "other stem": changed(SENET, stem=((5, 5), (7, 3))),
    "projection of one pixel": changed(SENET, shortcut=1),
    "no classifier": changed(SENET, classes=0),
    "another reduction": changed(SENET, se=SE(reduction=3)),
    "one hidden width": changed(SENET, se=SE(width=5)),
    "widths to 8": changed(SENET, se=SE(reduction=4, rounding="to 8")),
    "no biases": changed(SENET, se=SE(reduction=4, bias=False)),
    "some stages": changed(SENET, se=SE(reduction=4, stages=(2, 4))),
    "no SE blocks": changed(SENET, se=None),
    "before the first convolution": changed(SENET, **WIDE, se=SE(reduction=4, position="pre")),
    "after the 3x3": changed(SENET, **WIDE, se=SE(reduction=4, position="3x3")),
    "plain inception": changed(INCEPTION, se=None),
    "other modules": changed(INCEPTION, modules=INCEPTION.modules[:2], stem=((6, 5), (8, 1), (12, 3))),
}


def bare(spec: Spec, names=TORCH) -> dict[str, np.ndarray]:
    return {names.key(p): np.broadcast_to(np.float32(1), names.shape(p)) for p in schema(spec)}


@pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("names", [TORCH, KERAS, KERAS_ON_TORCH, FLAX], ids=["torch", "keras", "on torch", "flax"])
def test_a_family_guesses_the_record_from_shapes_in_every_dialect(spec, names):
    shapes = {name: array.shape for name, array in bare(spec, names).items()}
    found = type(spec).from_shapes(partial(names.find, shapes))
    assert found
    assert same_tensors(found, spec)


@pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)
def test_a_bare_state_dict_of_any_widths_is_recognised(spec):
    found, params = from_state("some.pth", to_state(spec, seeded(spec)))
    assert same(params, seeded(spec))
    assert params.info.assumed == untold(found)


def test_another_network_under_timms_names_is_recognised_and_its_fields_assumed():
    spec = replace(MODELS["se-resnet-50"], depths=(1, 2, 1, 1), classes=5)
    found, params = from_state("some.pth", bare(spec, TIMM))
    assert replace(found, name=spec.name, eps=spec.eps) == spec
    told = set(TIMM.tells)
    assert params.info.assumed == ("preprocessing", *(field for field in untold(found) if field not in told))


def test_a_stated_spec_is_not_assumed():
    assert from_state("some.pth", bare(SENET), spec=SENET).info.assumed == ()
    found = from_state("some.pth", bare(MODELS["se-resnet-50"], TIMM), spec=MODELS["se-resnet-50"])
    assert found.spec == MODELS["se-resnet-50"]


def test_widths_to_8_may_be_wider_than_the_map():
    stages = (
        Stage(out=32, expanded=(32, 64)),
        Stage(out=3, expanded=(32, 6), stride=2),
        Stage(out=32, expanded=(192,)),
    )
    se = SE(reduction=16, rounding="to 8", position="3x3")
    spec = MobileSpec(name="se-mobile", stages=stages, se=se, classes=9)
    assert [b.se and (b.se.channels, b.se.hidden) for b in spec.blocks()][3:] == [(6, 8), (192, 16)]
    found, params = from_state("some.pth", to_state(spec, seeded(spec)))
    assert same(params, seeded(spec))
    assert isinstance(found, MobileSpec)
    assert [b.se for b in found.blocks()] == [b.se for b in spec.blocks()]


def test_a_field_that_counts_only_where_an_assumed_one_is_otherwise_is_assumed_too():
    unit = InceptionResNetStage(module=None, units=1, branches=(((4, 1, 1),),), scale=0.1)
    spec = InceptionResNetSpec(name="x", stem=(StemLayer(out=8, kernel=3),), stages=(unit,), se=SE(reduction=2))
    assert {"linear_end", "stages.scale", "se_after_scaling"} <= set(untold(spec))


CHANGES = [
    {"stride_on_3x3": False},
    {"eps": 1e-3},
    {"dropout": 0.5},
    {"se": replace(SENET.se or SE(), gate="tanh")},
    {"se": replace(SENET.se or SE(), squeeze="none")},
    {"se": replace(SENET.se or SE(), position="post")},
    {"se": replace(SENET.se or SE(), position="3x3")},
]


def fields_that_differ(a: Spec, b: Spec) -> set[str]:
    found = set()
    for name in ("stride_on_3x3", "eps", "dropout"):
        found |= {name} if getattr(a, name) != getattr(b, name) else set()
    for name in ("squeeze", "gate", "position", "bias"):
        found |= {f"se.{name}"} if getattr(a.se, name) != getattr(b.se, name) else set()
    return found


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".weights.h5"])
def test_a_variant_without_metadata_is_equal_or_the_field_is_assumed(tmp_path, change, suffix):
    spec = changed(SENET, **change)
    path = tmp_path / f"x{suffix}"
    strip(path, spec)
    found = read(path)
    differ = fields_that_differ(found.spec, spec)
    assert differ <= set(found.info.assumed)
    assert differ


def strip(path: Path, spec: Spec) -> None:
    """Writes a network as its framework's users save it: nothing but tensors."""
    if path.suffix == ".safetensors":
        save_tensors(path, to_state(spec, seeded(spec)), {})
        return
    write(path, spec, seeded(spec))
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path, "r+") as values:
            del values["senet"]
        return
    import zipfile

    whole = path.read_bytes()
    (path.parent / "with.zip").write_bytes(whole)
    with zipfile.ZipFile(path.parent / "with.zip") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if not name.endswith("senet.json"):
                new.writestr(name, old.read(name))


def test_fields_that_shapes_tell_are_not_assumed():
    everything = {"stem_pool", "stride_on_3x3", "se.squeeze", "se.gate", "se.inner", "se.position", "dropout", "eps"}
    assert set(untold(SENET)) == everything
    assert set(untold(changed(SENET, classes=0))) == everything - {"dropout"}  # it stands before the classifier
    assert set(untold(changed(SENET, se=None))) == {"stem_pool", "stride_on_3x3", "dropout", "eps"}
    assert set(untold(changed(SENET, depths=(1,), reduce=(4,), width=(8,), out_channels=(8,)))) == everything - {
        "stride_on_3x3"  # the only stage has stride 1
    }
    assert set(untold(INCEPTION)) == {"modules.pool", "se.squeeze", "se.gate", "se.inner", "dropout", "eps"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("stage2.1.conv2.weight"), r"- stage2\.1\.conv2\.weight \(16, 2, 3, 3\) is missing"),
        (lambda s: s.update(extra=np.zeros(3)), r"\+ extra \(3,\) is unexpected"),
        (lambda s: s.update({"fc.bias": np.zeros(4)}), r"! fc\.bias has shape \(4,\), expected \(9,\)"),
    ],
)
def test_the_first_differences_from_the_guess_are_the_message(change, said):
    state = bare(SENET)
    change(state)
    with pytest.raises(InputError, match=rf"some\.pth: does not fit se-resnet, the nearest network known\n  {said}"):
        from_state("some.pth", state)
