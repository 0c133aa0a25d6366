"""How training moves the running statistics, in PyTorch. Compare the same file of se_jax and se_tf."""

from collections.abc import Mapping

from se_torch.layers import BatchNorm
from se_torch.network import Network
from weights.networks.running_statistics import StatisticsRule


def set_statistics_rule(model: Network, rule: StatisticsRule | Mapping[str, StatisticsRule]) -> None:
    """Makes the BatchNorm layers of a model follow a rule from the next step on.

    Args:
        model: of this package.
        rule: of ``weights.networks.running_statistics``: one for all layers, or one for each by its path
            ("stage1.0.bn1"); Caffe's rule depends on the layer's factor.
    """
    for path, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            chosen = rule if isinstance(rule, StatisticsRule) else rule[path]
            layer.momentum, layer.unbiased = 1 - chosen.keep, chosen.unbiased
