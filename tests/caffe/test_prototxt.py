"""Protobuf's text format: every way of writing a definition, and every way of writing one wrongly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights import InputError
from weights.caffe import text as prototxt
from weights.caffe.schema import float32

CONV = {"name": "c", "type": "Conv", "convolution_param": {"num_output": 16, "kernel_size": [3]}}
FORMS = {
    "plain": 'layer { name: "c" type: "Conv" convolution_param { num_output: 16 kernel_size: 3 } }',
    "colon before a message": 'layer: { name: "c" type: "Conv" convolution_param: { num_output: 16 kernel_size: 3 } }',
    "angle brackets": 'layer < name: "c" type: "Conv" convolution_param < num_output: 16 kernel_size: 3 > >',
    "lists": 'layer: [{ name: "c" type: "Conv" convolution_param { num_output: 16 kernel_size: [3] } }]',
    "separators": 'layer { name: "c", type: "Conv"; convolution_param { num_output: 16, kernel_size: 3; } };',
    "joined strings": """layer { name: '' "c" type: "Co" 'nv' convolution_param { num_output: 16 kernel_size: 3 } }""",
    "hexadecimal and octal": 'layer { name: "c" type: "Conv" convolution_param { num_output: 0x10 kernel_size: 03 } }',
    "escapes": r'layer { name: "\143" type: "\x43onv" convolution_param { num_output: 16 kernel_size: 3 } }',
    "comments": '# x {\nlayer { # "x" {\nname: "c" type: "Conv" convolution_param { num_output: 16 kernel_size: 3 } }#',
    "no spaces": 'layer{name:"c"type:"Conv"convolution_param{num_output:16 kernel_size:3}}',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_text_is_the_same_definition(form):
    assert prototxt.parse(FORMS[form]) == {"layer": [CONV]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pool: 1", "AVE"),
        ("pool: AVE", "AVE"),
        ("pool: 0x1", "AVE"),
    ],
)
def test_enums_are_names_or_numbers(text, value):
    assert prototxt.parse(text, message="PoolingParameter") == {"pool": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.2", 0.2),
        ("2e-1f", 0.2),
        (".2", 0.2),
        ("-3", -3),
        ("- 3.", -3),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
        ("1e99", np.inf),
    ],
)
def test_fractional_settings_are_the_nearest_float32(text, value):
    expected = value if np.isinf(value) else float32(value)
    assert prototxt.parse(f"dropout_ratio: {text}", message="DropoutParameter")["dropout_ratio"] == expected


def test_bytes_that_are_no_utf8_survive():
    value = prototxt.parse(r'name: "\777\0\n\"ü\u00e9"')
    assert value["name"].encode("utf-8", "surrogateescape") == b'\xff\0\n"\xc3\xbc\xc3\xa9'
    assert prototxt.parse(prototxt.text(value)) == value


WRONG = {
    "unknown field": ('name: "n"\nlayer {\n nme: "c" }', 3, "no field 'nme'"),
    "scalar twice": ('name: "n"\nname: "m"', 2, "given twice"),
    "message twice": ("layer {\n pooling_param {}\n pooling_param {} }", 3, "given twice"),
    "list for a scalar": ('\nname: ["n"]', 2, "expected a string"),
    "no colon": ('name "n"', 1, "expected :"),
    "unclosed": ('layer {\n name: "c"\n', 3, "expected a word, found the end"),
    "wrong bracket": ('layer {\n name: "c" >', 2, "found >"),
    "unknown enum": ("layer { pooling_param {\n pool: AVERAGE } }", 2, "one of MAX, AVE, STOCHASTIC"),
    "unknown enum number": ("layer { pooling_param { pool: 7 } }", 1, "one of MAX (0)"),
    "negative unsigned": ("layer { pooling_param { stride: -1 } }", 1, "whole number from 0"),
    "too large": ("input_dim: 0x80000000", 1, "whole number from -2147483648"),
    "fraction for an integer": ("input_dim: 1.5", 1, "whole number"),
    "word for a number": ("layer { dropout_param { dropout_ratio: half } }", 1, "is a number"),
    "word for a bool": ("force_backward: maybe", 1, "true or false"),
    "string over the line": ('name: "n\n"', 1, "unexpected character"),
    "unknown escape": (r'name: "\q"', 1, "unknown escape"),
    "no character": (r'name: "\ud800"', 1, "no character"),
    "stray character": ("name: %", 1, "unexpected character '%'"),
    "number and word": ("input_dim: 3x", 1, "unexpected character"),
    "extension": ("[caffe.x]: 1", 1, "expected a word"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_text_is_one_error_with_the_line(case):
    text, line, why = WRONG[case]
    with pytest.raises(InputError, match=f"^net.prototxt:{line}: ") as error:
        prototxt.parse(text, "net.prototxt")
    assert why in str(error.value)


WORDS = """layer layers name type bottom input_dim convolution_param pooling_param dropout_param kernel_size pool
dropout_ratio include phase bias_term : { } < > [ ] , ; - " ' # 1 0 07 08 0x 0xg 1e 1e9 .5 -1 inf nan true TRAIN 'x'"""
TOKENS = [*WORDS.split(), "\\", '"\\x"', '"\udcff"', "\n", "0x" + 300 * "f", "9" * 5000]


@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join))
def test_any_text_is_a_definition_or_one_printable_error(text):
    try:
        value = prototxt.parse(text)
    except InputError as error:
        str(error).encode("utf-8")
    else:
        assert prototxt.parse(prototxt.text(value)) == value or "nan" in text


def test_printed_text_reads_back_the_same():
    value = {
        "name": 'a "quoted" \\ name',
        "layer": [
            {"name": "d", "type": "Dropout", "dropout_param": {"dropout_ratio": float32(0.2)}},
            {"name": "b", "batch_norm_param": {"use_global_stats": True, "eps": float32(1e-5)}, "phase": "TEST"},
            {"name": "r", "reshape_param": {"shape": {"dim": [0, -1]}}},
        ],
    }
    text = prototxt.text(value)
    assert prototxt.parse(text) == value
    assert "dropout_ratio: 0.2\n" in text  # as short as float32 allows
    assert "eps: 1e-05\n" in text


def test_old_definitions_are_upgraded(tmp_path):
    path = tmp_path / "old.prototxt"
    path.write_text(
        'name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 2 } }'
    )
    net = prototxt.read(path)
    assert [(layer.name, layer.type) for layer in net.layers] == [("input", "Input"), ("c", "Convolution")]


def test_layers_of_the_training_phase_are_left_out():
    rules = (
        "include { phase: TRAIN }",
        "exclude { phase: TEST }",
        "include { stage: 's' }",
        "include { min_level: 1 }",
    )
    kept = ("", "include { phase: TEST }", "exclude { phase: TRAIN }", "include { not_stage: 's' }")
    text = "".join(f"layer {{ name: '{rule[:7]}' type: 'ReLU' {rule} }}" for rule in (*rules, *kept))
    net = prototxt.upgraded(prototxt.parse(text), "net")
    assert prototxt.test_phase(net).layers == net.layers[len(rules) :]


def test_the_published_definitions_print_and_read_back_the_same(golden):
    for path in sorted((golden / "published").glob("*.prototxt")):
        net = prototxt.read(path)
        assert prototxt.upgraded(prototxt.parse(prototxt.dump(net)), path.name) == net
