"""Specs as plain data: every published one survives, damaged ones are refused before anything is built from them."""

import json
from dataclasses import replace

import pytest

from weights import MODELS, InputError, schema
from weights.networks.models import from_dict, to_dict


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [1000, 1, 0])
def test_a_spec_survives_json(name: str, classes: int):
    spec = replace(MODELS[name], classes=classes)
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


def test_a_field_that_has_another_default_in_another_family_survives_json():
    spec = replace(MODELS["shufflenet-v1"], stem_pool="caffe")
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"depths": [3, 4, 10**6, 3]},
        {"depths": [3, 4, 0, 3]},
        {"depths": [3, 4, 6]},
        {"depths": [3, 4, 6, "3"]},
        {"depths": []},
        {"depths": 3},
        {"stem": [[64]]},
        {"stem": []},
        {"groups": 0},
        {"groups": True},
        {"groups": 1.0},
        {"reduction": 0},
        {"classes": -1},
        {"classes": 10**9},
        {"eps": "1e-5"},
        {"eps": float("nan")},
        {"dropout": -0.5},
        {"stride_on_3x3": 1},
        {"name": None},
        {"unheard": 1},
        {"family": "inception"},
        {"family": "alexnet"},
        {"family": ["resnet"]},
    ],
    ids=str,
)
def test_data_that_is_no_network_is_refused(change: dict):
    with pytest.raises(InputError, match="spec of"):
        from_dict(to_dict(MODELS["se-resnet-50"]) | change)


@pytest.mark.parametrize("change", [{"pool": "sum"}, {"conv3x3": [1, 2, 3]}, {"name": 3}, {"stride": 2}], ids=str)
def test_modules_that_are_none_are_refused(change: dict):
    data = to_dict(MODELS["se-bn-inception"])
    data["modules"] = [{**data["modules"][0], **change}]
    with pytest.raises(InputError, match="spec of family 'inception' does not fit"):
        from_dict(data)


def test_what_is_accepted_can_be_built():
    assert schema(from_dict(to_dict(MODELS["senet-154"])))
