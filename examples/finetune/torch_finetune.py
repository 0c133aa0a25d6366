"""Fine-tunes a checkpoint in PyTorch. Compare tf_finetune.py and jax_finetune.py.

From the folder examples, in one process or in two:

    python -m finetune.torch_finetune first.caffemodel tuned.safetensors
    torchrun --nproc-per-node 2 -m finetune.torch_finetune first.caffemodel tuned.safetensors
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import se_torch
from finetune.digits import BATCH, EPOCHS, MOMENTUM, RATES, SECOND, Split, pictures
from se_torch.network import Network
from weights.images import prepare


def tune(path: str, data: Split, epochs: Sequence[int] = EPOCHS, dtype: str = "float32", seed: int = 0) -> Network:
    """The network of a checkpoint with a classifier for other classes, trained alone and then with all the rest."""
    torch.manual_seed(seed)  # of the new classifier
    model = se_torch.from_pretrained(path, dtype, len(SECOND), class_names=tuple(map(str, SECOND)))
    x, y = inputs(model, data.train), torch.from_numpy(data.train_classes)
    # In training mode BatchNorm would normalise by each batch and change the statistics of the frozen network.
    model.eval()
    model.requires_grad_(False)
    nn.Module.requires_grad_(model.get_submodule("fc"), True)
    fit(model, x, y, epochs[0], RATES[0])
    model.train()
    model.requires_grad_(True)
    fit(model, x, y, epochs[1], RATES[1])
    return model.eval()


def fit(model: Network, x: Tensor, y: Tensor, epochs: int, rate: float) -> None:
    """Trains what requires gradients; where ``torchrun`` started several processes, each on its share of a batch."""
    parallel = dist.is_initialized()
    shares, share = (dist.get_world_size(), dist.get_rank()) if parallel else (1, 0)
    data = TensorDataset(x, y)
    order = DistributedSampler(data, shares, share)
    loader = DataLoader(data, BATCH // shares, sampler=order, drop_last=True)
    # The mean of the gradients; every process normalises by its own share, and the statistics are the first one's. On
    # GPUs nn.SyncBatchNorm.convert_sync_batchnorm(model) makes them those of the whole batch.
    forward = DistributedDataParallel(model) if parallel else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate, MOMENTUM)
    for epoch in range(epochs):
        order.set_epoch(epoch)  # another order
        for images, classes in loader:
            loss = nn.functional.cross_entropy(forward(images), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def inputs(model: Network, images: Sequence[Image.Image]) -> Tensor:
    """Images as the checkpoint expects them: (N, 3, H, W)."""
    assert model.preprocessing
    x = np.concatenate([prepare(image, model.preprocessing) for image in images])
    return torch.from_numpy(x).to(next(model.parameters()).dtype)


@torch.inference_mode()
def accuracy(model: Network, data: Split) -> float:
    """Of the held-out images."""
    return float(np.mean(model(inputs(model, data.test)).argmax(1).numpy() == data.test_classes))


def main(path: str, output: str) -> None:
    """Fine-tunes and saves."""
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    data = pictures(SECOND)
    model = tune(path, data)
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(f"{output}: {accuracy(model, data):.1%} of the held-out images")
        se_torch.save(model, output)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
