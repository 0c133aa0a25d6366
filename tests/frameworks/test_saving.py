"""A network that its user changed and trained is saved in every format, wherever other frameworks are absent."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_networks import SENET

from conformance import cases
from weights import CAFFE, SE, Params, read, write
from weights.files import FORMATS
from weights.networks.models import changed
from weights.params import Info

ROOT = Path(__file__).parents[2]
WRITTEN = [suffix for f in FORMATS for suffix in f.suffixes if f.is_read and suffix not in f.only_read]
NAMES = ("one", "two", "three", "four", "five")
SPEC = changed(SENET, depths=(1, 1, 1, 1), stem=((8, 3),), se=SE(reduction=4, gate="tanh"), eps=2**-16, dropout=0.25)
PARAMS = Params(
    cases.seeded(SPEC, 1),
    Info(preprocessing=CAFFE, source="small.caffemodel", format="caffemodel", factors={"stem.bn1": 999.982421875}),
)
OTHERS: dict[str, tuple[str, ...]] = {
    "torch": ("jax", "jaxlib", "flax", "orbax", "tensorflow", "keras"),
    "jax": ("torch", "tensorflow", "keras"),
    "tf": ("torch", "jax", "jaxlib", "flax", "orbax"),
}
"""What is not to be imported where a framework saves."""

CHANGED_AND_TRAINED = {
    "torch": """
import torch
model = se_torch.from_pretrained("small.safetensors")
model.fc = torch.nn.Linear(64, 5)
model.stem.requires_grad_(False)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
model.train()
for step in range(2):
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    "jax": """
import jax.numpy as jnp, optax
from flax import nnx
model = se_jax.from_pretrained("small.safetensors")
model.fc = nnx.Linear(64, 5, rngs=nnx.Rngs(0))
learned = nnx.All(nnx.Param, lambda path, _: path[0] != "stem")
optimizer = nnx.Optimizer(model, optax.sgd(0.01), wrt=learned)
model.train()

def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

@nnx.jit
def step(model, optimizer, x, y):
    optimizer.update(model, nnx.grad(loss, argnums=nnx.DiffState(0, learned))(model, x, y))

for _ in range(2):
    step(model, optimizer, jnp.asarray(x.transpose(0, 2, 3, 1)), y)
""",
    "tf": """
import keras
model = se_tf.from_pretrained("small.safetensors", classes=5)
for layer in model.layers:
    layer.trainable = not layer.name.startswith("stem")
model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x.transpose(0, 2, 3, 1), y, batch_size=2, epochs=2, verbose=0)
""",
}
SAVED = """
import sys
import numpy as np
import weights
import se_{name}
rng = np.random.default_rng(0)
x, y = rng.standard_normal((2, 3, 32, 32)).astype("float32"), np.array([1, 3])
{trained}
class Without:  # as if they were not installed; from here on, for PyTorch looks for some of them
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
for suffix in {suffixes!r}:
    try:
        se_{name}.save(model, "x" + suffix, class_names={names!r})
    except weights.InputError as error:
        print(suffix, error)
np.savez("held.npz", **se_{name}.dump(model))
"""


def saved(name: str, folder: Path) -> str:
    """Lets one framework save its model in every format; what it says is returned."""
    write(folder / "small.safetensors", SPEC, PARAMS)
    suffixes = [*WRITTEN, ".caffemodel.h5", ".unknown"]
    code = SAVED.format(
        blocked=OTHERS[name], name=name, trained=CHANGED_AND_TRAINED[name], suffixes=suffixes, names=NAMES
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(
    scope="module",
    params=["torch", pytest.param("jax", marks=pytest.mark.slow), pytest.param("tf", marks=pytest.mark.slow)],
)
def of_framework(request, tmp_path_factory) -> tuple[str, Path, str]:
    pytest.importorskip({"torch": "torch", "jax": "flax.nnx", "tf": "keras"}[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, saved(request.param, folder)


def test_every_format_holds_the_changed_network_bit_for_bit(of_framework):
    name, folder, said = of_framework
    held = dict(np.load(folder / "held.npz"))
    assert not np.array_equal(held["stage4.0.conv2.weight"], PARAMS["stage4.0.conv2.weight"])
    spec = replace(SPEC, classes=5)
    for suffix in WRITTEN:
        if suffix == ".orbax" and name != "jax":
            assert "x.orbax" in said or "Orbax" in said
            continue
        found = read(folder / f"x{suffix}")
        assert replace(found.spec, name=spec.name) == spec, suffix
        assert (found.info.preprocessing, found.info.class_names, found.info.assumed) == (CAFFE, NAMES, ()), suffix
        for key, array in held.items():
            assert found.params[key].astype(array.dtype).tobytes() == array.tobytes(), (suffix, key)
