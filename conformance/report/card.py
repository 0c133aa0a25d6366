"""A model card in the hub's format (https://huggingface.co/docs/hub/model-cards), for a file that was converted."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from conformance.report.table import markdown
from conformance.report.wording import assumed
from weights import hub
from weights.change.since_loaded import as_in_source
from weights.errors import in_a_line
from weights.files import format_of
from weights.files.onnx_options import OnnxOptions
from weights.networks.cost import cost
from weights.networks.sizes import usual_size
from weights.params import Checkpoint, Info

MARK = "<!-- Written by senet. -->"
"""The last line of every card, by which it is known as one of ours."""

_ORDERS = {
    "devkit": "the order of the ILSVRC devkit (id - 1), as the released Caffe networks count: not the usual list",
    "sorted": "the order of sorted WordNet ids, as nearly everything counts",
}
_PAPER = (
    "[Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507) by Jie Hu, Li Shen, Samuel Albanie, Gang Sun"
)


def card(file: Path, checkpoint: Checkpoint, onnx: OnnxOptions | None = None) -> str:
    """The card of a file, in Markdown behind metadata in YAML. It says of the weights what is known, and no more.

    Args:
        file: only its name is told.
        checkpoint: what the file holds, or was made of.
        onnx: how an ONNX file was made; None: as usual.
    """
    made = onnx or OnnxOptions()
    source = _published(checkpoint.info)
    head = dict(_metadata(checkpoint, source if as_in_source(checkpoint.info) else None))
    body = "\n".join(_body(file, checkpoint, source, made))
    return f"---\n{_yaml(head)}---\n\n{body}\n\n{MARK}\n"


def _published(info: Info) -> hub.Source | None:
    """The published file that the weights come from, if its checksum says so."""
    if not info.sha256:
        return None
    return next((s for s in hub.sources() if s.sha256 and info.sha256.startswith(s.sha256)), None)


def _metadata(checkpoint: Checkpoint, source: hub.Source | None) -> Iterator[tuple[str, str | list[str]]]:
    spec, info = checkpoint.spec, checkpoint.info
    if source:
        yield "license", source.licence.lower()
    yield "library_name", "senet"
    task = "image-classification" if spec.classes else "image-feature-extraction"
    yield "pipeline_tag", task
    yield "tags", [task, *(["squeeze-and-excitation"] if spec.se else []), spec.family]
    if source and info.labels:
        yield "datasets", ["imagenet-1k"]
        yield "metrics", ["accuracy"]


def _yaml(data: dict[str, str | list[str]]) -> str:
    """Texts and lists of texts; JSON's strings are YAML's too."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, str):
            lines.append(f"{key}: {json.dumps(value)}")
        else:
            lines += [f"{key}:", *(f"- {json.dumps(one)}" for one in value)]
    return "".join(f"{line}\n" for line in lines)


def _body(file: Path, checkpoint: Checkpoint, source: hub.Source | None, made: OnnxOptions) -> Iterator[str]:
    spec, name = checkpoint.spec, file.name
    read_back = format_of(file).is_read and made.exact
    yield f"# {_code(spec.name)}"
    yield ""
    costs, size = cost(spec), usual_size(spec)
    blocks = "with" if spec.se else "without"
    yield (
        f"{spec.title} {blocks} Squeeze-and-Excitation blocks, after {_PAPER} and Enhua Wu: "
        f"{costs.learnable:,} parameters, {costs.macs / 1e9:.3f} GMACs at {size[0]}x{size[1]}, {spec.classes} classes. "
        f"Written by senet {version('senet')} to {_code(name)}."
    )
    yield from ("", "## Where the weights come from", "")
    yield markdown(("", ""), list(_origin(checkpoint, source)))
    yield from ("", "## What it expects, and what its outputs mean", "")
    yield markdown(("", ""), list(_expected(checkpoint)))
    use = _use if read_back else _use_by_runtime
    yield from ("", "## How to use it", "", *use(name, checkpoint, made))
    yield from ("", "## How it is verified", "", *(_verified(name) if read_back else _verified_otherwise(name, made)))


def _origin(checkpoint: Checkpoint, source: hub.Source | None) -> Iterator[tuple[str, str]]:
    info = checkpoint.info
    if source and not as_in_source(info):
        published = f"{_code(source.file)}, {source.address or source.page}, published by {source.origin}"
        yield "made from", f"{published}; known {source.known_by}"
        yield "licence of that file", source.licence
        yield "licence", "not known: it was changed since, as told below"
    elif source:
        yield "published by", f"{source.origin}: {_code(source.file)}, {source.address or source.page}"
        yield "known", source.known_by
        yield "licence", source.licence
        if source.top1_error is not None and source.top5_error is not None:
            top1, top5 = 100 - source.top1_error, 100 - source.top5_error
            what = "of the published file, by its authors: one 224x224 crop, ImageNet validation; not measured here"
            yield "accuracy", f"top-1 {top1:.2f} %, top-5 {top5:.2f} %, {what}"
    yield "source file", _code(info.source) if info.source else "not known"
    yield "its sha256", _code(info.sha256) if info.sha256 else "not known"
    if not source:
        yield "licence", "not known: the file is none of the published ones that senet knows"
    for line in info.history:
        yield "since then", _code(line)


def _expected(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    spec, info = checkpoint.spec, checkpoint.info
    yield "images", str(info.preprocessing or "not known")
    if info.class_names:
        yield "classes", ", ".join(_code(name) for name in info.class_names)
    elif info.labels:
        yield "classes", f"the 1000 of ImageNet, in {_ORDERS[info.labels]}"
    else:
        yield "classes", f"{spec.classes}, whose meaning is not known"
    if said := assumed(spec, info):
        yield "assumed, because the source did not state it", said


def _use(name: str, checkpoint: Checkpoint, made: OnnxOptions) -> Iterator[str]:
    info, channels = checkpoint.info, checkpoint.spec.in_channels
    text = json.dumps(name, ensure_ascii=False)
    image = 'prepare("photo.jpg", model.preprocessing)' if info.preprocessing else "..."
    prepare = ["from weights.images import prepare", ""] if info.preprocessing else [""]
    nhwc = f"{image}.transpose(0, 2, 3, 1)" if info.preprocessing else "..."
    frameworks = (
        (
            "PyTorch",
            ["import torch", "import se_torch"],
            "se_torch",
            f"torch.from_numpy({image}).float()",
            f"(N, {channels}, H, W)",
        ),
        (
            "Flax",
            ["import jax.numpy as jnp", "import se_jax"],
            "se_jax",
            f'jnp.asarray({nhwc}, "float32")',
            f"(N, H, W, {channels})",
        ),
        (
            "Keras",
            ["import tensorflow as tf", "import se_tf"],
            "se_tf",
            f"tf.constant({nhwc}, tf.float32)",
            f"(N, H, W, {channels})",
        ),
    )
    for title, imports, package, x, shape in frameworks:
        yield f"{title}:"
        yield ""
        code = (f"model = {package}.from_pretrained({text})", f"x = {x}  # {shape}", "logits = model(x)")
        yield "\n".join(["```python", *imports, *prepare, *code, "```"])
        yield ""
    if name.endswith(".onnx"):
        yield f"Any ONNX runtime computes the file as well; it takes {_taken(channels, made)}."
        yield ""
    yield "The packages are senet's: `pip install 'senet[torch]'`, `'senet[jax]'` or `'senet[tf]'`."


def _taken(channels: int, made: OnnxOptions) -> str:
    """The images that an ONNX file takes."""
    many = made.batch or "N"
    if made.preprocessing:
        return f"photographs ({many}, H, W, 3), uint8 RGB" + (", of any size" if made.preprocessing == "resize" else "")
    height, width = made.size or ("H", "W")
    return f"images ({many}, {channels}, {height}, {width})"


def _use_by_runtime(name: str, checkpoint: Checkpoint, made: OnnxOptions) -> Iterator[str]:
    """Of files that are computed, and not read."""
    info, text = checkpoint.info, json.dumps(name, ensure_ascii=False)
    imports, prepare, image = ["import numpy as np"], list[str](), "..."
    if made.preprocessing:
        imports.append("from PIL import Image")
        image = 'np.asarray(Image.open("photo.jpg").convert("RGB"))[None]'
    elif info.preprocessing:
        imports.append("from weights import Preprocessing")
        imports.append("from weights.images import prepare")
        prepare = [f"preprocessing = {info.preprocessing!r}"]
        image = 'prepare("photo.jpg", preprocessing).astype(np.float32)'
    if name.lower().endswith(".onnx"):
        title, module = "ONNX Runtime", "import onnxruntime"
        run = [
            f"session = onnxruntime.InferenceSession({text})",
            f"x = {image}  # {_taken(checkpoint.spec.in_channels, made)}",
            "logits = session.run(None, {session.get_inputs()[0].name: x})[0]",
        ]
    else:
        title, module = "OpenVINO", "import openvino"
        run = [
            f"network = openvino.compile_model({text})",
            f"x = {image}  # {_taken(checkpoint.spec.in_channels, made)}",
            "logits = network(x)[0]",
        ]
    yield f"The parameters do not come back from this file; {title} computes it:"
    yield ""
    yield "\n".join(["```python", *sorted([*imports[:1], module]), *imports[1:], "", *prepare, *run, "```"])


def _verified_otherwise(name: str, made: OnnxOptions) -> Iterator[str]:
    if made.reduced:
        yield (
            "When it was written, its outputs were compared with those in float32; what was found stands in the file, "
            "and this shows it:"
        )
        yield ""
        yield f"    senet inspect {in_a_line(name)}"
        return
    yield (
        "Nothing was measured on this file. `senet compare` runs what it was made of in every framework and holds each "
        "layer against a reference in NumPy, in float64."
    )


def _verified(name: str) -> Iterator[str]:
    yield (
        "Nothing was measured on this file when this card was written. `senet compare` does: it runs the file in "
        "every framework and holds each layer against a reference in NumPy, in float64, to 1e-13 of the layer's "
        "largest value. That reference is held, in senet's own tests, against what the original Caffe computed."
    )
    yield ""
    yield f"    senet compare {in_a_line(name)}"


def _code(text: str) -> str:
    """A text of a file as Markdown shows it without reading it."""
    return f"`{in_a_line(text).replace('`', chr(39)).replace('|', '/')}`"
