"""ONNX models built from the graph: valid, dynamic, named canonically, right in two runtimes, and back in unchanged."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.cases import TINY, image, seeded
from conformance.reference.forward import run
from weights import CAFFE, InputError, Network, Params, Spec, schema
from weights.errors import InputWarning
from weights.files.onnx import build, read, write
from weights.networks.network import graph

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")
reference = pytest.importorskip("onnx.reference")

SPEC = TINY["tiny-se-resnet"]
pytestmark = pytest.mark.filterwarnings("ignore:.*40 statistics rounded to float32:weights.errors.InputWarning")


def params(spec=SPEC) -> Params:
    values = seeded(spec, 1)
    info = replace(values.info, preprocessing=CAFFE, labels="devkit", source="x.caffemodel", sha256="ab" * 32)
    return Params(values, info)


def proto(spec=SPEC, **options):
    return ir.to_proto(build(spec, params(spec), **options))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "tiny.onnx", SPEC, params())
    return tmp_path / "tiny.onnx"


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_full_checker_passes_and_every_shape_is_inferred(name: str, dtype):
    model = proto(TINY[name], dtype=dtype)
    onnx.checker.check_model(model, full_check=True)
    inferred = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {node.output[0] for node in model.graph.node} <= inferred


def test_values_and_initializers_have_the_canonical_names():
    model = proto()
    assert [n.name for n in graph(SPEC)] == [n.output[0] for n in model.graph.node if n.op_type != "Unsqueeze"]
    assert [p.name for p in schema(SPEC)] == [t.name for t in model.graph.initializer if t.name != "spatial_axes"]


def test_batch_height_and_width_are_dynamic():
    dims = proto().graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 3, "height", "width"]


def test_taps_are_outputs_in_order_and_the_logits_come_last():
    outputs = [o.name for o in proto(taps=("logits", "stem.pool", "stage1.0.se.gate")).graph.output]
    assert outputs == ["stem.pool", "stage1.0.se.gate", "logits"]


def test_without_a_classifier_the_output_is_the_pooled_features():
    assert [o.name for o in proto(replace(SPEC, classes=0)).graph.output] == ["pool"]


def test_an_unknown_tap_is_named():
    with pytest.raises(InputError, match=r"tiny-se-resnet has no stage9\.0"):
        build(SPEC, params(), taps=["stage9.0"])


SIZES = [(64, 64), (67, 51), (65, 64)]


@pytest.mark.parametrize("name", TINY)
def test_the_reference_evaluator_computes_every_tap_in_float64(name: str):
    spec = TINY[name]
    taps = [node.name for node in graph(spec)]
    evaluator = reference.ReferenceEvaluator(proto(spec, taps=taps, dtype="float64"))
    for size in SIZES:
        x = image(1, 2, *size).astype(np.float64)
        assert (
            _worst(run(spec, params(spec), x), dict(zip(taps, evaluator.run(None, {"data": x}), strict=True))) <= 1e-13
        )


@pytest.mark.parametrize("name", TINY)
def test_onnx_runtime_computes_every_tap_in_float32(name: str):
    runtime = pytest.importorskip("onnxruntime")
    spec = TINY[name]
    taps = [node.name for node in graph(spec)]
    session = runtime.InferenceSession(proto(spec, taps=taps).SerializeToString(), providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = image(1, 2, *size)
        truth = run(spec, params(spec), x.astype(np.float64))
        # float32 rounds to 6e-8; the sums along the depth of the network were measured at up to 1.5e-6.
        assert _worst(truth, dict(zip(taps, session.run(None, {"data": x}), strict=True))) <= 1e-5


def _worst(truth, found) -> float:
    assert {name: a.shape for name, a in found.items()} == {name: a.shape for name, a in truth.items()}
    return max(float(abs(found[name] - a).max() / abs(a).max()) for name, a in truth.items())


def test_the_written_file_is_the_built_model(file: Path):
    written = onnx.load(file)
    onnx.checker.check_model(written, full_check=True)
    built = proto()
    infos = {value.name: value for value in built.graph.value_info}
    del built.graph.value_info[:]
    built.graph.value_info.extend(infos[value.name] for value in written.graph.value_info)  # none of initializers
    assert written == built


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_written_comes_back(tmp_path: Path, dtype):
    wanted = params()
    write(tmp_path / "x.onnx", SPEC, wanted, dtype=dtype)
    spec, found = read(tmp_path / "x.onnx")
    assert spec == SPEC
    assert found.info == wanted.info
    assert {k: (a.dtype, a.tobytes()) for k, a in found.items()} == {
        k: (np.dtype(dtype), a.astype(dtype).tobytes()) for k, a in wanted.items()
    }


def test_what_is_read_are_views_of_the_file(file: Path):
    found = read(file)[1]
    assert not any(a.flags.owndata or a.flags.writeable for a in found.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_one_value(file: Path, where: float, flip: int):
    data = bytearray(file.read_bytes())
    data[int(where * (len(data) - 1))] ^= flip
    damaged = file.with_name("damaged.onnx")
    damaged.write_bytes(data)
    with suppress(InputError):
        found = read(damaged)[1]
        assert sum(a.tobytes() != found[k].tobytes() for k, a in read(file)[1].items()) <= 1


def test_eps_is_the_float_that_caffe_has():
    norms = [node for node in proto(dtype="float64").graph.node if node.op_type == "BatchNormalization"]
    assert {attribute.f for node in norms for attribute in node.attribute} == {float(np.float32(1e-5))}


def warning_of(path: Path, spec: Spec, values: dict[str, np.ndarray], **options: Any) -> str:
    with pytest.warns(InputWarning) as said:
        write(path, spec, Params(values), **options)
    assert len(said) == 1
    return str(said[0].message).removeprefix(f"{path}: ")


def test_statistics_that_float32_does_not_hold_are_counted(tmp_path: Path):
    values = params()
    off = [abs(a.astype("f4") / a - 1).max() for name, a in values.items() if "running" in name]
    assert 5e-8 < max(off) < 6e-8
    said = "40 statistics rounded to float32 (at most 6e-8 of a value)"
    assert warning_of(tmp_path / "x.onnx", SPEC, values) == said


def test_weights_that_float32_does_not_hold_are_counted(tmp_path: Path):
    values = {name: a.astype("f4") for name, a in params().items()}
    values["fc.bias"] = np.array([1 + 2.0**-30, *[0.5] * 9])
    values["fc.weight"] = values["fc.weight"].astype("f8")  # wide, and float32 all the same
    said = "1 weights rounded to float32 (at most 1e-9 of a value)"
    assert warning_of(tmp_path / "x.onnx", SPEC, values) == said


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_what_float32_holds_is_written_without_a_word(tmp_path: Path, dtype: str):
    values = {name: a.astype(dtype) for name, a in params().items()}
    write(tmp_path / "x.onnx", SPEC, Params(values))
    assert all(np.array_equal(a, values[name]) for name, a in read(tmp_path / "x.onnx").params.items())


def test_bfloat16_is_exact(tmp_path: Path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    values = {name: a.astype(bfloat16) for name, a in params().items()}
    write(tmp_path / "x.onnx", SPEC, Params(values))
    assert all(np.array_equal(a, values[name]) for name, a in read(tmp_path / "x.onnx").params.items())


def test_value_beyond_float32_is_refused(tmp_path: Path):
    values = params() | {"fc.bias": np.full(10, 1e300)}
    with pytest.raises(InputError, match=r"x\.onnx: fc\.bias has values up to 1e\+300, too large for float32"):
        write(tmp_path / "x.onnx", SPEC, values)
    assert list(tmp_path.iterdir()) == []


def test_eps_that_a_float_does_not_hold_is_said_and_read_back_exactly(tmp_path: Path):
    spec = replace(SPEC, eps=1e-3)
    said = warning_of(tmp_path / "x.onnx", spec, params(), dtype="float64")
    assert said == "eps 0.001 is computed as 0.0010000000474974513, the nearest that ONNX's float holds"
    assert read(tmp_path / "x.onnx").spec == spec


def test_eps_that_is_0_as_a_float_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"eps 1e-60 is 0\.0 as a float of 32 bits"):
        write(tmp_path / "x.onnx", replace(SPEC, eps=1e-60), params())


def test_file_of_a_network_without_a_record_is_computed_and_not_read(tmp_path: Path):
    nodes = SPEC.network().nodes
    write(tmp_path / "x.onnx", Network("bare", nodes), params())
    onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"), full_check=True)
    with pytest.raises(InputError, match=r"x\.onnx: has no record of its network, only its nodes"):
        read(tmp_path / "x.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 1000, b"\x08\x0a"])
def test_a_file_that_is_no_model_is_one_clear_error(tmp_path: Path, content: bytes):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx: (is no ONNX file|was not written by senet)"):
        read(tmp_path / "x.onnx")


@pytest.mark.parametrize("size", [10, 1000, 5000, -1, -1000])
def test_a_cut_file_is_one_clear_error(file: Path, size: int):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"tiny\.onnx: is no ONNX file, or a damaged one"):
        read(file)


def _drop_metadata(model) -> None:
    del model.metadata_props[:]


def _move_a_stride(model) -> None:
    node = next(node for node in model.graph.node if node.name == "stage2.0.conv1")
    next(a for a in node.attribute if a.name == "strides").ints[:] = [1, 1]


def _swap_operands(model) -> None:
    node = next(node for node in model.graph.node if node.name == "stage1.0.add")
    node.input[:] = reversed(node.input)


def _append_softmax(model) -> None:
    model.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["prob"]))


def _drop_a_tensor(model) -> None:
    del model.graph.initializer[0]


def _cut_a_tensor(model) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def _halve(model) -> None:
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype("f2"), tensor.name))


def _move_outside(model) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")


def _take_another_opset(model) -> None:
    model.opset_import[0].version = 13


def _import_another_domain(model) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def _pool_over_channels(model) -> None:
    axes = next(tensor for tensor in model.graph.initializer if tensor.name == "spatial_axes")
    axes.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 2]), axes.name))


def _shadow_by_a_sparse_initializer(model) -> None:
    dense = model.graph.initializer[0]
    values = onnx.helper.make_tensor(dense.name, onnx.TensorProto.FLOAT, [1], [1.0])
    indices = onnx.helper.make_tensor("indices", onnx.TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))


def _rename_the_output(model) -> None:
    model.graph.output[0].name = "scores"
    model.graph.node[-1].output[0] = "scores"


def _rewire_the_output(model) -> None:
    model.graph.output[0].name = "pool"


def _answer_a_second_time(model) -> None:
    model.graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("pool", onnx.TensorProto.FLOAT, None))


def _fix_the_size(model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 224


def _define_an_operator(model) -> None:
    opset = [onnx.helper.make_opsetid("", 20)]
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    model.functions.append(onnx.helper.make_function("", "Relu", ["x"], ["y"], [node], opset))


def _name_a_tensor_twice(model) -> None:
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])


def _annotate_quantization(model) -> None:
    model.graph.quantization_annotation.add(tensor_name="logits")


def _take_a_format_of_the_future(model) -> None:
    model.ir_version = 99


def _lose_the_format(model) -> None:
    model.ClearField("ir_version")


def _state_another_type(model) -> None:
    value = next(value for value in model.graph.value_info if value.name == "stem.conv1")
    value.type.tensor_type.elem_type = onnx.TensorProto.INT64


def _state_a_sequence(model) -> None:
    kind = model.graph.value_info[3].type
    kind.sequence_type.elem_type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _state_other_channels(model) -> None:
    dim = model.graph.output[0].type.tensor_type.shape.dim[1]
    dim.dim_value += 1


def _name_two_nodes_alike(model) -> None:
    model.graph.node[2].name = model.graph.node[1].name


def _join_the_names_of_inputs(model) -> None:
    node = model.graph.node[0]
    node.input[:] = [", ".join(node.input)]


def _take_a_domain_from_the_operator(model) -> None:
    node = model.graph.node[0]
    node.domain, node.op_type = node.op_type[:2], node.op_type[2:]


def _widen_a_tensor(model) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.bn1.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype("f8"), tensor.name))


def _fill_another_field_of_a_tensor(model) -> None:
    model.graph.initializer[0].float_data.append(1)


def _state_strides_twice(model) -> None:
    node = model.graph.node[0]
    first = node.attribute.add()
    first.CopyFrom(next(a for a in node.attribute if a.name == "strides"))
    node.attribute.sort(key=lambda a: a is not first)


def _fill_another_field_of_an_attribute(model) -> None:
    next(a for a in model.graph.node[0].attribute if a.name == "strides").i = 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_take_a_format_of_the_future, "it has version 99 of the format, expected version 9 of the format"),
        (_lose_the_format, "it has version 0 of the format, expected version 9 of the format"),
        (_state_another_type, r"it states that stem\.conv1 has the type 7"),
        (_state_a_sequence, r"it states that stem\.pool has the type 0"),
        (_state_other_channels, r"it states that logits has the type 1 and the shape \[0, 11\]"),
        (_name_two_nodes_alike, r"stem\.relu1 = Relu.* is written in another way"),
        (_join_the_names_of_inputs, r"stem\.conv1 = Conv.* is written in another way"),
        (_take_a_domain_from_the_operator, r"stem\.conv1 = Conv.* is written in another way"),
        (_widen_a_tensor, r"it has initializer stem\.bn1\.weight of 11 \[8\], expected .* of 1 \[8\]"),
        (_fill_another_field_of_a_tensor, r"initializer stem\.conv1\.weight .* is written in another way"),
        (_state_strides_twice, r"stem\.conv1 = Conv.* is written in another way"),
        (_fill_another_field_of_an_attribute, r"stem\.conv1 = Conv.* is written in another way"),
        (_take_another_opset, "it has opset 13, expected opset 20"),
        (_import_another_domain, "it has opset 1 of com.microsoft, expected input data of 1"),
        (_pool_over_channels, r"spatial_axes is not \[2, 3\]"),
        (_shadow_by_a_sparse_initializer, "it has sparse initializers of its own"),
        (_rename_the_output, "it has output scores of 1, expected output logits of 1"),
        (_rewire_the_output, "it has output pool of 1, expected output logits of 1"),
        (_answer_a_second_time, "it has output pool of 1, expected initializer"),
        (_fix_the_size, r"it has input data of 1 \['batch', 3, 224, 'width'\], expected input data of 1 \['batch', 3"),
        (_define_an_operator, "it has functions of its own"),
        (_name_a_tensor_twice, r"it has initializer stem\.conv1\.weight of .*, expected stem\.conv1 = Conv"),
        (_annotate_quantization, "it has quantization of its own"),
        (_drop_metadata, r"was not written by senet: .*; of ONNX files only those are read that senet convert or"),
        (_move_a_stride, r"was changed since senet wrote it: it has stage2\.0\.conv1 = .*'strides': \[1, 1\]"),
        (_swap_operands, r"it has stage1\.0\.add = Add\("),
        (_append_softmax, "it has prob = Softmax.*, expected no more nodes"),
        (_drop_a_tensor, r"- stem\.conv1\.weight .* is missing"),
        (_cut_a_tensor, r"damaged: stem\.conv1\.weight"),
        (_halve, r"stem\.conv1\.weight is not stored as senet writes it"),
        (_move_outside, r"stem\.conv1\.weight is not stored as senet writes it"),
    ],
)
def test_a_model_changed_by_others_is_refused(file: Path, change, said: str):
    model = onnx.load(file)
    change(model)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=said):
        read(file)


def test_without_onnx_the_extra_is_named(tmp_path: Path):
    program = (
        "import sys; sys.modules['onnx_ir'] = None\n"
        "import weights\n"
        f"try: weights.read({str(tmp_path / 'x.onnx')!r})\n"
        "except weights.InputError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "pip install 'senet[onnx]'" in said
