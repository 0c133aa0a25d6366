"""Caffe's messages at the wire: what is encoded is what protobuf encodes, and what it encodes is read."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protobuf_caffe import message_class

from weights import InputError
from weights.caffe.schema import ENUMS, MESSAGES, Field
from weights.caffe.wire import decode, encode
from weights.protobuf import Budget, Message, tag, to_varint, varint

DEFINITIONS = sorted(
    MESSAGES.keys() - {"BlobProto", "V1LayerParameter", "V0LayerParameter", "NetParameter", "LayerParameter"}
)
NUMBERS = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.one_of(
        st.text(max_size=20), st.binary(max_size=9).map(lambda b: b.decode("utf-8", "surrogateescape"))
    ),
}


def value_of(field: Field) -> st.SearchStrategy[Any]:
    if field.message:
        one = message_of(field.message)
    elif field.enum:
        one = st.sampled_from(sorted(ENUMS[field.enum]))
    else:
        one = NUMBERS[field.kind]
    return st.lists(one, min_size=1, max_size=3) if field.repeated else one


def message_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={field.name: value_of(field) for field in MESSAGES[name].values()})


def read(name: str, data: bytes) -> dict[str, Any]:
    return decode(name, Message(memoryview(data), 0, len(data), Budget()))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_definitions_are_encoded_as_protobuf_does_and_read_back(name):
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(message_of(name))
    def check(value):
        data = encode(name, value)
        message = message_class(name)()
        message.ParseFromString(data)
        assert message.SerializeToString(deterministic=True) == data
        assert read(name, data) == value

    check()


def test_a_message_in_several_pieces_is_merged():
    first = {"convolution_param": {"num_output": 3, "pad": [1], "weight_filler": {"type": "xavier"}}}
    second = {"convolution_param": {"num_output": 4, "pad": [2], "weight_filler": {"std": 0.5}}}
    assert read("LayerParameter", encode("LayerParameter", first) + encode("LayerParameter", second)) == {
        "convolution_param": {"num_output": 4, "pad": [1, 2], "weight_filler": {"type": "xavier", "std": 0.5}}
    }


def test_unknown_enum_values_and_fields_of_another_wire_type_are_passed_over():
    data = tag(1, 0) + to_varint(7) + tag(2, 5) + struct.pack("<f", 1) + tag(3, 2) + to_varint(1) + b"x"
    assert read("PoolingParameter", data) == {}


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2**32, 2**63, 2**64 - 1])
def test_numbers_of_any_length_are_read(value):
    minimal = to_varint(value)
    assert varint(memoryview(minimal), 0, len(minimal)) == (value, len(minimal))
    if len(minimal) < 10:
        longer = minimal[:-1] + bytes([minimal[-1] | 128, 0])
        assert varint(memoryview(longer), 0, len(longer)) == (value, len(longer))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PoolingParameter", {"stride": -1}, "stride cannot be -1; it is of type uint32"),
        ("ConcatParameter", {"axis": 2**31}, "axis cannot be 2147483648; it is of type int32"),
        ("DropoutParameter", {"dropout_ratio": "half"}, "dropout_ratio cannot be 'half'; it is of type float"),
        ("PoolingParameter", {"pool": "MEDIAN"}, "pool cannot be 'MEDIAN'; it is of type PoolMethod"),
        ("PoolingParameter", {"size": 1}, "PoolingParameter of Caffe 1.0 has no size"),
    ],
)
def test_values_that_a_field_cannot_hold_are_refused(name, value, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        encode(name, value)
