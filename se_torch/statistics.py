"""How training moves the running statistics, in PyTorch. Compare se_jax/statistics.py and se_tf/statistics.py."""

from collections.abc import Mapping

from se_torch.inception import Inception
from se_torch.layers import BatchNorm
from se_torch.resnet import ResNet
from weights.networks.running_statistics import StatisticsRule


def set_statistics_rule(model: ResNet | Inception, rule: StatisticsRule | Mapping[str, StatisticsRule]) -> None:
    """Makes the BatchNorm layers of a model follow a rule of ``weights.statistics``, from the next step on.

    Args:
        model: of this package.
        rule: one for all layers, or one for each by its path ("stage1.0.bn1"); Caffe's depends on the layer's factor.
    """
    for path, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            chosen = rule if isinstance(rule, StatisticsRule) else rule[path]
            layer.momentum, layer.unbiased = 1 - chosen.keep, chosen.unbiased
