"""What an adapter is given, as a file that another process reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from mmap import ACCESS_COPY, mmap
from typing import Any, BinaryIO, assert_never, get_args

import numpy as np

from conformance.judge.question import Backward, Forward, Given, Question, Training
from conformance.reference.training import Recipe
from weights.files.safetensors import tensors_in, write_tensors
from weights.networks.models import from_dict, to_dict
from weights.networks.network import Network, Node
from weights.networks.operations import Op
from weights.networks.sizes import shapes

_PARAMS = "params/"
_TIMES = 4  # a port may have outputs of its own
_AT_LEAST = 2**26  # bytes
_OPERATIONS = {kind.__name__: kind for kind in get_args(Op)}


def save(file: BinaryIO, given: Given) -> None:
    """Writes it.

    Raises:
        OSError: the file cannot be written.
    """
    question = given.question
    data: dict[str, Any] = {"dtype": given.dtype, "device": given.device, "network": _network_to_dict(given.network)}
    match question:
        case Forward():
            tensors = {f"x{i}": x for i, x in enumerate(question.inputs)}
        case Backward(training=training):
            data["training"] = training
            tensors = {f"x{i}": x for i, (x, _) in enumerate(question.inputs)}
            tensors |= {f"cotangent{i}": cotangent for i, (_, cotangent) in enumerate(question.inputs)}
        case Training(batches, recipe, what):
            data |= {"recipe": asdict(recipe), "what": what}
            tensors = {f"x{i}": x for i, (x, _) in enumerate(batches)}
            tensors |= {f"classes{i}": classes for i, (_, classes) in enumerate(batches)}
        case _:
            assert_never(question)
    tensors |= {_PARAMS + name: np.asarray(array) for name, array in given.params.items()}
    write_tensors(file, "the question", tensors, {"given": json.dumps(data | {"question": type(question).__name__})})


def load(file: BinaryIO) -> Given:
    """Reads it; the arrays can be written, as frameworks want them, and the file does not change when they are."""
    arrays, strings = tensors_in(memoryview(mmap(file.fileno(), 0, access=ACCESS_COPY)), "the question")
    params = {name.removeprefix(_PARAMS): arrays.pop(name) for name in list(arrays) if name.startswith(_PARAMS)}
    data = json.loads(strings["given"])
    question: Question
    match data["question"]:
        case Forward.__name__:
            x, *others = (arrays[f"x{i}"] for i in range(len(arrays)))
            question = Forward(x, tuple(others))
        case Backward.__name__:
            (x, cotangent), *more = ((arrays[f"x{i}"], arrays[f"cotangent{i}"]) for i in range(len(arrays) // 2))
            question = Backward(x, cotangent, data["training"], tuple(more))
        case Training.__name__:
            batches = tuple((arrays[f"x{i}"], arrays[f"classes{i}"]) for i in range(len(arrays) // 2))
            question = Training(batches, Recipe.of(data["recipe"]), data["what"])
        case other:
            raise ValueError(f"unknown question {other!r}")
    return Given(_network(data["network"]), params, data["dtype"], question, data["device"])


def largest_answer(given: Given) -> int:
    """Bytes that an answer may have: several times what every tensor takes that can be asked for, in float64."""
    question = given.question
    seen = (question.shape,) if isinstance(question, Training) else question.input_shapes
    values = sum(n * sum(map(prod, shapes(given.network, h, w).values())) for n, _, h, w in seen)
    values += len(seen) * sum(array.size for array in given.params.values())
    return _TIMES * 8 * values + _AT_LEAST


def _network_to_dict(network: Network) -> dict[str, Any]:
    if network.spec:
        return {"spec": to_dict(network.spec)}
    nodes = [{**asdict(node), "op": [type(node.op).__name__, asdict(node.op)]} for node in network.nodes]
    return {"name": network.name, "nodes": nodes}


def _network(data: Mapping[str, Any]) -> Network:
    if "spec" in data:
        return from_dict(data["spec"]).network()
    return Network(data["name"], tuple(map(_node, data["nodes"])))


def _node(data: Mapping[str, Any]) -> Node:
    kind, fields = data["op"]
    return Node(data["name"], _OPERATIONS[kind](**fields), tuple(data["inputs"]), data["module"], data["block"])
