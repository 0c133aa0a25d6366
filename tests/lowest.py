"""Tries what is installed on a tiny network: files, the command line, every framework. Run by ``make lowest``.

It needs no test tools, so that it can run in an environment that has the lowest versions and nothing else.
"""

import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import conformance  # noqa: E402
import weights  # noqa: E402
from conformance import cases  # noqa: E402

MODULES = {"torch": "torch", "jax": "flax", "tf": "tensorflow", "onnx": "onnxruntime"}
SUFFIXES = (".caffemodel", ".safetensors", ".pth", ".keras", ".weights.h5")


def main() -> int:
    """Runs everything; 1 where something does not agree."""
    installed = [name for name, module in MODULES.items() if find_spec(module)]
    spec = cases.TINY["tiny-se-resnet"]
    params, x = cases.seeded(spec, 1), cases.image(2, 2, 64, 64)
    agreed = True
    with TemporaryDirectory() as folder:
        photo = Path(folder, "photo.png")
        Image.new("RGB", (300, 280)).save(photo)
        extra = [".onnx"] * ("onnx" in installed) + [".orbax"] * ("jax" in installed)
        for suffix in (*SUFFIXES, *extra):
            path = Path(folder, f"tiny{suffix}")
            weights.write(path, spec, params)
            found_spec, found = weights.read(path)
            same = found_spec.network().nodes == spec.network().nodes and all(
                np.allclose(found[name], array, rtol=1e-6) for name, array in params.items()
            )
            print(f"{suffix:<12} {'written and read' if same else 'DIFFERENT'}")
            agreed &= same
        checkpoint = str(Path(folder, "tiny.safetensors"))
        page = str(Path(folder, "page.html"))
        for command in (
            ["models"],
            ["inspect", checkpoint],
            ["classify", str(photo), "--weights", checkpoint],
            ["compare", checkpoint, "--frameworks", "numpy", "--size", "65x64", "--report", page],
        ):
            run = [sys.executable, "-m", "conformance", *command]
            subprocess.run(run, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    batches = [(x, np.array([1, 2]))] * 3
    differentiable = [name for name in ("numpy", *installed) if name != "onnx"]
    for comparison in (
        *(conformance.compare(spec, params, x, ["numpy", *installed], dtype) for dtype in ("float64", "float32")),
        conformance.compare_gradients(spec, params, x, cases.top_diff(3, 2, spec.classes), differentiable),
        conformance.compare_training(spec, params, batches, conformance.Recipe(), differentiable),
    ):
        for name, result in comparison.results.items():
            print(
                f"{comparison.what:<10} {comparison.dtype} {name:<6} {result.status} {result.version} {result.message}"
            )
        agreed &= comparison.agreed
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "h5py", "click", "jinja2", "pillow", "rich")))
    return int(not agreed)


if __name__ == "__main__":
    sys.exit(main())
