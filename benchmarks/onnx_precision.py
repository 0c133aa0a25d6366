"""What an ONNX file of less precision gains and loses: the table of docs/onnx.md.

python -m benchmarks.onnx_precision            # measures, prints, and writes the table into the page
python -m benchmarks.onnx_precision NAME ...   # measures and prints these networks only

Times are medians of interleaved runs of ONNX Runtime on two threads, one image. Exit code 1 if a network of ``FAST`` is
less than 1.8 times as fast in int8 as in float32, or a file is beyond its bound. Photographs: the one of senet demo and
those that scikit-learn ships, 24 pieces of them; weights seeded, but for the network that is trained on digits here.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from PIL import Image

from conformance import cases
from conformance.judge.bounds import REDUCED
from weights import MODELS, OnnxOptions, Params, Preprocessing, ResNetSpec, Spec, write
from weights.files.onnx_measured import Agreement
from weights.files.onnx_options import BFLOAT16, Precision
from weights.files.onnx_reading import stated
from weights.images import prepare
from weights.networks.se import SE
from weights.networks.sizes import usual_size

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
BEGIN, END = "<!-- table of benchmarks/onnx_precision.py -->", "<!-- end of the table -->"

NETWORKS = (
    *("se-resnet-50", "se-resnext-50", "se-bn-inception", "se-resnet-164-cifar-10", "se-vgg-16-bn"),
    *("se-mobilenet-v1", "mobilenet-v3-large", "efficientnet-b0", "se-shufflenet-v1"),
)
FAST = ("se-resnet-50", "se-resnext-50", "se-bn-inception", "se-mobilenet-v1")
"""Those that have to be fast in int8."""

LEAST = 1.8
ROUNDS = 30
SECONDS = 5.0  # of timing for each network

PRECISIONS: tuple[tuple[Precision, int], ...] = (("float16", 20), ("bfloat16", BFLOAT16), ("int8", 20))


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one network: milliseconds and megabytes in float32 and int8, and how far each is off."""

    name: str
    milliseconds: tuple[float, float]
    megabytes: tuple[float, float]
    apart: dict[str, Agreement]

    @property
    def times(self) -> float:
        """How many times as fast int8 is."""
        return self.milliseconds[0] / self.milliseconds[1]

    def __str__(self) -> str:
        """As a line of Markdown."""
        half, brain, small = (self.apart[precision] for precision, _ in PRECISIONS)
        cells = (
            self.name,
            *(f"{ms:.1f}" for ms in self.milliseconds),
            f"**{self.times:.1f}**",
            *(f"{mb:.1f}" for mb in self.megabytes),
            *(f"{one.largest:.1e}" for one in (half, brain)),
            f"{small.largest:.1e} / {small.mean:.1e}",
            f"{small.same} of {small.images}",
        )
        return f"| {' | '.join(cells)} |"


HEAD = """\
| network | float32, ms | int8, ms | times as fast | float32, MB | int8, MB | float16 off by | bfloat16 off by | \
int8 off by: largest / mean | same class |
|---|---|---|---|---|---|---|---|---|---|"""


def photographs(folder: Path) -> None:
    """Pieces of three photographs."""
    from sklearn.datasets import load_sample_images

    balloon = Path(cases.__file__).with_name("cli") / "balloon.jpg"
    loaded: Any = load_sample_images()
    rng = np.random.default_rng(0)
    for n, photo in enumerate((Image.open(balloon), *map(Image.fromarray, loaded.images))):
        for i in range(8):
            side = int(rng.integers(200, 390))
            left, top = (int(rng.integers(0, size - side + 1)) for size in photo.size)
            photo.crop((left, top, left + side, top + side)).save(folder / f"{i}-{n}.png")


def session(path: Path) -> onnxruntime.InferenceSession:
    """A file in ONNX Runtime, on two threads."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 2, 3
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def measure(name: str, folder: Path, images: Path) -> Row:
    """One network with seeded weights."""
    spec = MODELS[name]
    params = cases.seeded(spec, 1)
    files = {"float32": folder / "float32.onnx"}
    write(files["float32"], spec, Params({k: a.astype("f4") for k, a in params.items()}, params.info))
    apart: dict[str, Agreement] = {}
    for precision, opset in PRECISIONS:
        files[precision] = folder / f"{precision}.onnx"
        options = OnnxOptions(precision=precision, opset=opset, images=(images,))
        write(files[precision], spec, params, onnx=options)
        apart[precision] = Agreement.of(stated(files[precision]))
    x = cases.image(1, 1, *usual_size(spec))
    pair = files["float32"], files["int8"]
    large, small = (file.stat().st_size / 1e6 for file in pair)
    return Row(name, timed([session(file) for file in pair], x), (large, small), apart)


def timed(sessions: Sequence[Any], x: np.ndarray) -> tuple[float, float]:
    """Milliseconds of two sessions, which take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    for at in range(ROUNDS + 2):
        for one, taken in zip(sessions, times, strict=True):
            begin = time.perf_counter()
            one.run(None, {"data": x})
            if at > 1:
                taken.append((time.perf_counter() - begin) * 1e3)
        if at > 8 and time.perf_counter() > end:
            break
    return statistics.median(times[0]), statistics.median(times[1])


DIGITS = ResNetSpec(
    name="digits",
    depths=(1, 1),
    stem=((16, 3),),
    reduce=(8, 16),
    width=(8, 16),
    out_channels=(32, 64),
    se=SE(reduction=4),
    classes=10,
)
HELD_OUT = 360
STEPS = 200


def trained(folder: Path) -> tuple[Spec, Params, np.ndarray, np.ndarray]:
    """A small network trained on scikit-learn's handwritten digits, and the images and classes that it has not seen.

    Photographs to measure with, of those that it has seen, are written into the folder.
    """
    import torch
    from sklearn.datasets import load_digits

    import se_torch

    expects = Preprocessing(channels="rgb", range=1, mean=(0.3, 0.3, 0.3), std=(0.35, 0.35, 0.35), resize=32, crop=32)
    data: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    pictures = [Image.fromarray((data.images[i] * 15.9).astype(np.uint8)).convert("RGB") for i in order]
    for i, picture in enumerate(pictures[:64]):
        picture.save(folder / f"{i:02}.png")
    x = np.concatenate([prepare(picture, expects) for picture in pictures]).astype(np.float32)
    y = data.target[order].astype(np.int64)
    torch.manual_seed(0)
    model = se_torch.restore(DIGITS, cases.seeded(DIGITS, 1)).train()
    optimizer = torch.optim.SGD(model.parameters(), 1 / 32, 7 / 8)
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        chosen = rng.choice(len(y) - HELD_OUT, 64, replace=False)
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x[chosen])), torch.from_numpy(y[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spec, params = se_torch.checkpoint(model)
    info = replace(params.info, preprocessing=expects)
    return spec, Params(params, info), x[-HELD_OUT:], y[-HELD_OUT:]


def accuracies(folder: Path) -> Iterator[str]:
    """A trained network in every precision that ONNX Runtime computes in: how often it is right, in a sentence."""
    images = folder / "digits"
    images.mkdir()
    spec, params, x, y = trained(images)
    classes: dict[str, np.ndarray] = {}
    for precision in ("float32", "float16", "int8"):
        path = folder / f"digits-{precision}.onnx"
        measured = () if precision == "float32" else (images,)
        write(path, spec, params, onnx=OnnxOptions(precision=precision, images=measured))
        classes[precision] = np.asarray(session(path).run(None, {"data": x})[0]).argmax(1)
    for precision, found in classes.items():
        same = int((found == classes["float32"]).sum())
        yield f"{precision}: {(found == y).mean():.1%} right, the class of float32 for {same} of {len(y)}"


@click.command()
@click.argument("networks", nargs=-1, type=click.Choice(list(MODELS)))
def main(networks: tuple[str, ...]) -> None:
    """Measures, prints the table, and writes it into the page unless networks are named."""
    lines, missed = [HEAD], False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (images := folder / "photographs").mkdir()
        photographs(images)
        click.echo(HEAD)
        for network in networks or NETWORKS:
            row = measure(network, folder, images)
            missed |= network in FAST and row.times < LEAST
            missed |= any(found.largest > REDUCED[precision] for precision, found in row.apart.items())
            lines.append(str(row))
            click.echo(lines[-1])
        if not networks:
            said = "; ".join(accuracies(folder))
            lines += [
                "",
                f"A small SE-ResNet trained on scikit-learn's digits, on {HELD_OUT} that it has not seen: {said}.",
            ]
            click.echo(lines[-1])
    if not networks:
        text = PAGE.read_text(encoding="utf-8")
        made = "\n".join((BEGIN, "", *lines, "", f"onnxruntime {onnxruntime.__version__}.", "", END))
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: made, text, flags=re.DOTALL), encoding="utf-8")
    sys.exit(missed)


if __name__ == "__main__":
    main()
