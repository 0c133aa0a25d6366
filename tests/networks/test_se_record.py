"""The SE record and where its blocks stand: widths, checks, positions, and the nodes that they make."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from published import PUBLISHED

from conformance.cases import TINY
from weights import MODELS, SE, InputError, ResNetSpec, Spec, cost, graph, schema
from weights.networks.models import changed, find, from_dict, to_dict
from weights.networks.se import Position

POSITIONS: tuple[Position, ...] = get_args(Position)
TINY_RESNET = TINY["tiny-se-resnet"]


@pytest.mark.parametrize(
    ("se", "channels", "hidden"),
    [
        (SE(), 256, 16),
        (SE(reduction=16), 250, 15),  # rounded down, 15.6
        (SE(reduction=4, rounding="to 8"), 72, 24),  # MobileNetV3-Large: 18 to the nearest is 16, which loses a tenth
        (SE(reduction=4, rounding="to 8"), 120, 32),
        (SE(reduction=4, rounding="to 8"), 480, 120),
        (SE(reduction=4, rounding="to 8"), 16, 8),  # at least 8
        (SE(width=6), 256, 6),
    ],
)
def test_hidden_width_follows_the_stated_rule(se: SE, channels: int, hidden: int):
    assert se.hidden(channels) == hidden


def test_reduction_above_the_channels_is_refused_when_the_record_is_made():
    with pytest.raises(InputError, match=r"tiny-se-resnet: SE: reduction 64 leaves no hidden unit for 16 channels"):
        replace(TINY_RESNET, se=SE(reduction=64))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"gate": "softmax"}, "gate is 'softmax', expected one of sigmoid, tanh, relu, hard-sigmoid"),
        ({"squeeze": "mean"}, "squeeze is 'mean', expected one of avg, max, none"),
        ({"position": "middle"}, "position is 'middle', expected one of standard, pre, post"),
        ({"rounding": "up"}, "rounding is 'up'"),
        ({"width": 0}, "width is 0, expected a whole number from 1"),
        ({"reduction": 0}, "reduction is 0"),
        ({"reduction": 16.0}, "reduction is 16.0"),
        ({"bias": 1}, "bias is 1, expected true or false"),
        ({"stages": ()}, "stages is"),
        ({"stages": (0,)}, "stages is"),
    ],
    ids=str,
)
def test_unknown_choices_are_refused_when_the_record_is_made(choice: dict[str, Any], message: str):
    with pytest.raises(InputError, match=r"^SE: ") as caught:
        SE(**choice)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"se": SE(reduction=4, stages=(1, 5))}, "SE blocks in stage 5 of 4"),
        ({"groups": 3}, "groups is 3, which does not divide the widths 4 and 4"),
        ({"reduce": (4, 8, 16)}, "reduce has 3 stages, depths has 4"),
        ({"out_channels": (16, 32)}, "out_channels has 2 stages, depths has 4"),
        ({"shortcut": 2}, "kernels are of odd size"),
        ({"classes": -1}, "classes is -1"),
        ({"dropout": 1.0}, "dropout is 1.0, expected a number from 0 to less than 1"),
    ],
    ids=str,
)
def test_impossible_networks_are_refused_by_replace(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=r"^tiny-se-resnet: ") as caught:
        replace(TINY_RESNET, **change)
    assert message in str(caught.value)


@pytest.mark.parametrize("se", [SE(reduction=4, position="pre"), SE(reduction=4, stages=(1,))], ids=str)
def test_inception_networks_have_one_position(se: SE):
    with pytest.raises(InputError, match="SE blocks stand after the modules"):
        replace(TINY["tiny-se-bn-inception"], se=se)


@pytest.mark.parametrize("position", POSITIONS)
def test_parameters_have_one_name_in_every_position(position: Position):
    names = [p.name for p in schema(replace(TINY_RESNET, se=SE(reduction=2, position=position)))]
    assert sorted(names) == sorted(p.name for p in schema(replace(TINY_RESNET, se=SE(reduction=2))))


@pytest.mark.parametrize("position", POSITIONS)
def test_last_node_of_a_unit_has_its_name_in_every_position(position: Position):
    spec = replace(TINY_RESNET, se=SE(reduction=2, position=position))
    assert isinstance(spec, ResNetSpec)
    names = [node.name for node in graph(spec)]
    for block in spec.blocks():
        inner = [i for i, name in enumerate(names) if name == block.name or name.startswith(f"{block.name}.")]
        assert names[inner[-1]] == block.name


# The node that the SE block of a unit rescales (inputs[0] of its product), and who reads the product.
RESCALED = {
    "standard": ("stage2.1.bn3", {"stage2.1.add"}),
    "pre": ("stage2.0", {"stage2.1.conv1"}),
    "post": ("stage2.1.relu3", {"stage3.0.conv1", "stage3.0.shortcut.conv"}),
    "identity": ("stage2.0", {"stage2.1.add"}),
    "identity-before": ("stage2.0", {"stage2.1.add"}),
    "3x3": ("stage2.1.relu2", {"stage2.1.conv3"}),
    "3x3-raw": ("stage2.1.conv2", {"stage2.1.bn2"}),
}


@pytest.mark.parametrize("position", POSITIONS)
def test_blocks_stand_where_the_position_says(position: Position):
    network = replace(TINY_RESNET, se=SE(reduction=2, position=position)).network()
    product = next(n for n in network.nodes if n.block == "stage2.1.se" and n.name in ("stage2.1.se", "stage2.1"))
    rescaled, readers = RESCALED[position]
    assert product.inputs[0] == rescaled
    assert {node.name for node in network.readers[product.name]} == readers


def test_projection_comes_before_or_after_the_block_on_the_identity():
    after = replace(TINY_RESNET, se=SE(reduction=2, position="identity")).network()
    before = replace(TINY_RESNET, se=SE(reduction=2, position="identity-before")).network()
    assert after.by_name["stage2.0.se"].inputs[0] == "stage2.0.shortcut.bn"
    assert before.by_name["stage2.0.shortcut.conv"].inputs == ("stage2.0.se",)


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_stages_have_blocks_only_where_stated(stage: int):
    blocks = {node.block for node in graph(replace(TINY_RESNET, se=SE(reduction=4, stages=(stage,)))) if node.block}
    assert {block.partition(".")[0] for block in blocks} == {f"stage{stage}"}


def test_no_squeeze_excites_every_pixel():
    spec = replace(MODELS["se-resnet-50"], se=SE(squeeze="none"))
    assert cost(spec).macs == 4_269_015_040
    assert cost(spec).learnable == cost(MODELS["se-resnet-50"]).learnable


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_records_are_written_as_before(name: str):
    assert "se" not in to_dict(MODELS[name])
    assert to_dict(MODELS[name])["reduction"] == (16 if name.startswith("se") else None)


@pytest.mark.parametrize(
    "se", [SE(width=6), SE(reduction=2, gate="tanh", bias=False), SE(reduction=2, stages=(2, 3)), None], ids=str
)
def test_every_choice_survives_data(se: SE | None):
    spec = replace(TINY_RESNET, se=se)
    assert from_dict(to_dict(spec)) == spec


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"gate": "softmax"}, "gate is 'softmax', expected one of sigmoid"),
        ({"stages": [1, 5]}, "SE blocks in stage 5 of 4"),
        ({"width": 0}, "width is 0, expected a whole number from 1"),
        ({"pooling": "avg"}, "unknown field pooling; the fields are reduction, width"),
    ],
    ids=str,
)
def test_invalid_choices_in_data_are_one_clear_error(choice: dict[str, Any], message: str):
    data = to_dict(replace(TINY_RESNET, se=SE(reduction=2, gate="tanh")))
    with pytest.raises(InputError) as caught:
        from_dict(data | {"se": data["se"] | choice})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_network_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown network 'seresnet-50': did you mean .*se-resnet-50"):
        find("seresnet-50")
    with pytest.raises(InputError) as caught:
        find("SE-ResNet-50")
    meant = "did you mean se-resnet-50? weights.MODELS and senet models list all"
    assert str(caught.value) == f"unknown network 'SE-ResNet-50': {meant} {len(MODELS)}"


def test_classes_may_be_none_and_that_is_said():
    with pytest.raises(InputError, match="classes is -1, expected a whole number from 0 to 1048575"):
        find("se-resnet-50", classes=-1)
    with pytest.raises(InputError, match="groups is 0, expected a whole number from 1 to 1048575"):
        find("se-resnet-50", groups=0)


def test_unknown_field_is_named():
    with pytest.raises(InputError, match="se-resnet-50 has no field nonsense; its fields are name, depths"):
        find("se-resnet-50", nonsense=3)


def test_a_change_of_any_record_is_checked():
    spec: Spec = MODELS["bn-inception"]
    assert changed(spec, classes=7).classes == 7
