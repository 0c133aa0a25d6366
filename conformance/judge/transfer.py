"""What an adapter is given, as a file that another process reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, assert_never, get_args

import numpy as np

from conformance.judge.question import Backward, Forward, Given, Question, Training
from conformance.reference.training import Recipe
from weights.files.safetensors import load_tensors, save_tensors
from weights.networks.models import from_dict, to_dict
from weights.networks.network import Network, Node
from weights.networks.operations import Op

_PARAMS = "params/"
_OPERATIONS = {kind.__name__: kind for kind in get_args(Op)}


def save(path: Path, given: Given) -> None:
    """Writes it.

    Raises:
        InputError: the place cannot be written.
    """
    question = given.question
    data: dict[str, Any] = {"dtype": given.dtype, "network": _network_to_dict(given.network)}
    match question:
        case Forward():
            tensors = {f"x{i}": x for i, x in enumerate(question.inputs)}
        case Backward(x, cotangent, training):
            tensors, data["training"] = {"x": x, "cotangent": cotangent}, training
        case Training(batches, recipe):
            data["recipe"] = asdict(recipe)
            tensors = {f"x{i}": x for i, (x, _) in enumerate(batches)}
            tensors |= {f"classes{i}": classes for i, (_, classes) in enumerate(batches)}
        case _:
            assert_never(question)
    tensors |= {_PARAMS + name: np.asarray(array) for name, array in given.params.items()}
    save_tensors(path, tensors, {"given": json.dumps(data | {"question": type(question).__name__})})


def load(path: Path) -> Given:
    """Reads it; the arrays can be written, as frameworks want them."""
    found, strings = load_tensors(path)
    arrays = {name: array.copy() for name, array in found.items()}
    params = {name.removeprefix(_PARAMS): arrays.pop(name) for name in list(arrays) if name.startswith(_PARAMS)}
    data = json.loads(strings["given"])
    question: Question
    match data["question"]:
        case Forward.__name__:
            x, *others = (arrays[f"x{i}"] for i in range(len(arrays)))
            question = Forward(x, tuple(others))
        case Backward.__name__:
            question = Backward(arrays["x"], arrays["cotangent"], data["training"])
        case Training.__name__:
            batches = tuple((arrays[f"x{i}"], arrays[f"classes{i}"]) for i in range(len(arrays) // 2))
            question = Training(batches, Recipe.of(data["recipe"]))
        case other:
            raise ValueError(f"unknown question {other!r}")
    return Given(_network(data["network"]), params, data["dtype"], question)


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
