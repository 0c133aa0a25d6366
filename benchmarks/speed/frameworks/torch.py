"""PyTorch: the loop that one writes, the fast path, and the network written by hand."""

from collections.abc import Callable

import torch

import se_torch
from benchmarks.plain.torch import se_resnet50
from benchmarks.speed.frameworks import LEARNING_RATE, MOMENTUM, Asked


def network(way: str, asked: Asked) -> torch.nn.Module:
    if way == "peer":
        asked.expect_peer()
        return se_resnet50()
    return se_torch.build(asked.spec)


def inference(way: str, asked: Asked) -> Callable[[], object]:
    model, x = network(way, asked).eval(), torch.from_numpy(asked.x)
    compute = se_torch.fast(model) if way == "fast" else model

    @torch.inference_mode()
    def run() -> object:
        return compute(x)

    return run


def training(way: str, asked: Asked) -> Callable[[], object]:
    model = network(way, asked).train()
    x, classes = torch.from_numpy(asked.x), torch.from_numpy(asked.classes)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def run() -> object:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run
