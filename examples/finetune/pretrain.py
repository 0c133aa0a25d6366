"""Trains the network that is fine-tuned, in PyTorch, and writes it as Caffe would: first.caffemodel and its .prototxt.

cd examples && python -m finetune.pretrain first.caffemodel
"""

import sys

import torch

import se_torch
from finetune.digits import FIRST, INFO, NETWORK, pictures
from finetune.torch_finetune import accuracy, fit, inputs
from weights import Spec


def main(output: str, spec: Spec = NETWORK, epochs: int = 8) -> None:
    """Trains and saves."""
    torch.manual_seed(0)
    data = pictures(FIRST)
    model = se_torch.build(spec, "float32")
    model.info = INFO
    fit(model.train(), inputs(model, data.train), torch.from_numpy(data.train_classes), epochs, 0.1)
    model.eval()
    print(f"{output}: {accuracy(model, data):.1%} of the held-out images")
    se_torch.save(model, output)


if __name__ == "__main__":
    main(sys.argv[1])
