"""What `make bench` measures: the page says what the data says, and the networks written by hand are the same ones."""

import json
from math import prod
from typing import Any

import jax
import torch
from flax import nnx

from benchmarks.plain import jax as plain_jax
from benchmarks.plain import tf as plain_tf
from benchmarks.plain import torch as plain_torch
from benchmarks.speed import gpu
from benchmarks.speed.__main__ import EVIDENCE, NETWORKS, PAGE, PARTS, README, merged
from benchmarks.speed.page import MARKS, page, readme_table, with_table
from benchmarks.speed.rounds import Effort, Process, Task, measure, ratio, summary
from conformance import cases
from weights import MODELS
from weights.networks.cost import cost

TINY = cases.TINY["tiny-se-resnet"]
KNOWN = json.loads(EVIDENCE.read_text())


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(KNOWN), "run make docs"


def test_readme_has_the_figures_of_the_data():
    text = README.read_text()
    assert with_table(text, KNOWN) == text, "run make docs"
    assert len(readme_table(KNOWN).splitlines()) <= 2 + 8


def test_table_stands_between_its_marks():
    text = with_table(f"before\n{MARKS[0]}\n| old |\n{MARKS[1]}\nafter\n", KNOWN)
    assert text == f"before\n{MARKS[0]}\n{readme_table(KNOWN)}\n{MARKS[1]}\nafter\n"


def test_every_part_and_network_is_on_the_page():
    rows = KNOWN["rows"]
    assert {row["part"] for row in rows} == set(PARTS)
    assert {row["network"] for row in rows if row["part"] == "inference"} == set(NETWORKS)


LEARNABLE = cost(MODELS["se-resnet-50"]).learnable


def test_network_by_hand_is_the_same_in_pytorch():
    with torch.device("meta"):
        model = plain_torch.se_resnet50()
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 1000)
    assert sum(p.numel() for p in model.parameters()) == LEARNABLE


def test_network_by_hand_is_the_same_in_flax():
    model = nnx.eval_shape(lambda: plain_jax.SEResNet50(rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == LEARNABLE
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), "float32")
    assert nnx.eval_shape(lambda model, x: model(x), model, images).shape == (2, 1000)


def test_network_by_hand_is_the_same_in_keras():
    model = plain_tf.se_resnet50()
    assert sum(prod(variable.shape) for variable in model.trainable_variables) == LEARNABLE
    assert model.output_shape == (None, 1000)


class Stub:
    """A process that answers at once."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.seconds = seconds

    def ask(self, **said: Any) -> dict[str, Any]:
        if name := said.get("make"):
            return {"seconds": 9.0} if name in self.seconds else {"absent": "not written by hand"}
        return {"seconds": self.seconds[said["run"]].pop(0)} if "run" in said else {}


def test_a_ratio_is_that_of_the_same_round():
    running: Any = {
        "torch": Stub({"model": [2.0, 40.0, 2.0], "peer": [1.0, 20.0, 4.0]}),
        "onnx": Stub({"model": [1.0, 10.0, 1.0]}),
    }
    task = Task(what="inference", network="n", file="", batch=1, side=8)
    model, peer, onnx = measure(task, running, Effort(rounds=3))
    assert (model["seconds"], model["to_onnx"], model["to_peer"], model["rounds"]) == (2.0, 2.0, 2.0, 3)
    assert (peer["to_peer"], onnx["to_onnx"], onnx["to_peer"]) == (1.0, 1.0, None)


def test_spread_is_the_quartiles():
    assert summary([1.0, 2.0, 3.0, 4.0, 5.0]) == {"seconds": 3.0, "low": 2.0, "high": 4.0, "rounds": 5}
    assert ratio([1.0], None) is None


def test_later_rows_take_the_place_of_earlier_ones():
    old = {"part": "inference", "network": "senet-154", "batch": 1, "framework": "torch", "way": "fast", "seconds": 2.0}
    other = old | {"network": "se-resnet-50"}
    assert merged([old, other], [old | {"seconds": 1.0}]) == [other, old | {"seconds": 1.0}]


def test_process_makes_and_runs_what_is_timed():
    process = Process("torch")
    given = {"network": TINY.name, "file": "", "batch": 2, "side": 33}
    try:
        for what in ("inference", "training"):
            made = process.ask(make=what, way="model", what=what, **given)
            assert made.keys() == {"seconds"}, made
            assert process.ask(run=what)["seconds"] > 0
        absent = process.ask(make="peer", way="peer", what="inference", **given)
        assert absent == {"absent": "not written by hand"}
        assert "KeyError" in process.ask(run="never made")["failed"]
    finally:
        process.end()


def test_without_a_gpu_its_rows_are_not_measured():
    rows = list(gpu.measure(TINY, "cuda"))
    assert len(rows) == 2 * len(gpu.WAYS) * len(gpu.BATCHES)
    if not torch.cuda.is_available():
        assert {row["absent"] for row in rows} == {"not measured: there is no GPU"}


def test_rows_of_a_gpu_are_measured_where_pytorch_computes():
    ways = [way for way in gpu.WAYS if not way.compiled]
    rows = list(gpu.measure(TINY, "cpu", (2,), 33, ways))
    assert [row["way"] for row in rows] == 2 * [
        "channels last, float32",
        "channels last, tf32",
        "channels last, bfloat16",
    ]
    assert all(row["images"] > 0 and row["share"] > 0 for row in rows), rows
