"""Who else runs the ONNX files: other runtimes give what ONNX Runtime gives, or do not in a way that is written down.

The same table, in words, is in docs/onnx.md.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families.small import SMALL
from PIL import Image

from conformance.cases import image, seeded
from conformance.judge.bounds import REDUCED, TAPS
from conformance.reference.forward import run
from weights import OnnxOptions, Spec, write
from weights.networks.sizes import usual_size

pytest.importorskip("onnx_ir")
runtime = pytest.importorskip("onnxruntime")
reference = pytest.importorskip("onnx.reference")

pytestmark = pytest.mark.filterwarnings("ignore:.* statistics rounded to float32:weights.errors.InputWarning")

PHOTO = Path(__file__).parents[2] / "conformance" / "cli" / "balloon.jpg"

Inputs = Mapping[str, np.ndarray]


def evaluator(path: Path, inputs: Inputs) -> np.ndarray:
    return reference.ReferenceEvaluator(str(path)).run(None, dict(inputs))[-1]


def openvino(path: Path, inputs: Inputs) -> np.ndarray:
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]  # it would report the run
    package: Any = pytest.importorskip("openvino")
    core = package.Core()
    model = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(model(dict(inputs))[model.outputs[-1]])


def opencv(path: Path, inputs: Inputs) -> np.ndarray:
    cv2: Any = pytest.importorskip("cv2")
    net = cv2.dnn.readNetFromONNX(str(path))
    (array,) = inputs.values()
    net.setInput(array)
    return net.forward()


CONSUMERS: dict[str, Callable[[Path, Inputs], np.ndarray]] = {
    "evaluator": evaluator,
    "openvino": openvino,
    "opencv": opencv,
}


@dataclass(frozen=True)
class Variant:
    """A way of making a file, and how far a runtime's answer may be from ONNX Runtime's."""

    options: Mapping[str, Any]
    bound: float = TAPS["float32"]


VARIANTS = {
    "float32": Variant({}),
    "fixed": Variant({"batch": 1, "folded": True, "opset": 14}),
    "softmax": Variant({"softmax": True}),
    "normalize": Variant({"preprocessing": "normalize"}),
    "resize": Variant({"preprocessing": "resize"}, 1e-2),
    "float16": Variant({"precision": "float16"}, REDUCED["float16"]),
    "bfloat16": Variant({"precision": "bfloat16", "opset": 22}, REDUCED["bfloat16"]),
    "int8": Variant({"precision": "int8", "images": "some"}, REDUCED["int8"]),
}

FAR = "far"
OTHERWISE: Mapping[tuple[str, str, str], str] = {
    # Its Resize does not average over pixels, whatever the attribute says: as if antialias were 0.
    ("openvino", "resize", ""): FAR,
    ("opencv", "resize", ""): FAR,
    # Kernels of convolutions in bfloat16 are refused.
    ("opencv", "bfloat16", ""): r"weights\.type\(\) == 5",
    # Its layers in int8 take zero points of activations for 0. Where they do not come in it agrees to 8e-8: in its
    # classic engine, and in networks with ReLU6 and hard gates.
    **{("opencv", "int8", family): FAR for family in ("preact", "resnet", "inception", "shake", "vgg")},
    # It adds up in bfloat16 as well.
    **{("evaluator", "bfloat16", family): FAR for family in ("resnet", "inception", "mobile")},
    # It cuts nothing off: numpy.pad takes no negative numbers.
    **{("evaluator", variant, "shake"): "index can't contain negative values" for variant in VARIANTS},
}
"""By consumer, variant and family ("": of all) what is not as it should be: words of the refusal, or an answer that is
far away, by how much depends on the network."""


def check(tmp_path: Path, family: str, consumer: str, variant: str) -> None:
    spec, made = SMALL[family], VARIANTS[variant]
    options = {**made.options}
    if options.get("batch"):
        options["size"] = usual_size(spec)
    if options.get("images"):
        options["images"] = pieces(tmp_path)
    path = tmp_path / "x.onnx"
    write(path, spec, seeded(spec, 1), onnx=OnnxOptions(**options))
    inputs = asked(spec, options.get("preprocessing"))
    truth = answer(path, spec, inputs, variant)
    expected = OTHERWISE.get((consumer, variant, family)) or OTHERWISE.get((consumer, variant, ""))
    if expected not in (None, FAR):
        with pytest.raises(Exception, match=expected):
            CONSUMERS[consumer](path, inputs)
        return
    found = CONSUMERS[consumer](path, inputs).astype(np.float64)
    assert found.shape == truth.shape
    apart = float(abs(found - truth).max() / abs(truth).max())
    assert not apart <= TAPS["float32"] if expected == FAR else apart <= made.bound


def answer(path: Path, spec: Spec, inputs: Inputs, variant: str) -> np.ndarray:
    """ONNX Runtime's; of bfloat16, which it has no kernels for, the reference's."""
    if variant == "bfloat16":
        return run(spec, seeded(spec, 1), inputs["data"].astype(np.float64))["logits"]
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, dict(inputs))[-1]


def asked(spec: Spec, preprocessing: str | None) -> Inputs:
    height, width = usual_size(spec)
    if preprocessing is None:
        return {"data": image(1, 1, height, width)}
    # Noise: where the resizing does not average, it shows.
    more = 0 if preprocessing == "normalize" else 3
    pixels = np.random.default_rng(1).integers(0, 256, (1, height * (1 + more), width * (2 + more) // 2, 3), np.uint8)
    return {"image": pixels[:, :, :width] if more == 0 else pixels}


def pieces(folder: Path) -> tuple[Path, ...]:
    whole = Image.open(PHOTO)
    paths = tuple(folder / f"{i}.png" for i in range(4))
    for i, path in enumerate(paths):
        whole.crop((60 * i, 0, 60 * i + 240, 240)).save(path)
    return paths


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_others_run_the_file_of_a_small_network(tmp_path: Path, consumer: str, variant: str):
    check(tmp_path, "preact", consumer, variant)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("family", ["resnet", "inception", "shake", "mobile", "vgg"])
def test_others_run_the_files_of_every_family(tmp_path: Path, family: str, consumer: str, variant: str):
    check(tmp_path, family, consumer, variant)
