"""How training moves the running statistics, in Flax. Compare se_torch/statistics.py and se_tf/statistics.py."""

from collections.abc import Mapping

from flax import nnx

from se_jax.inception import Inception
from se_jax.layers import BatchNorm
from se_jax.resnet import ResNet
from weights.networks.running_statistics import StatisticsRule


def set_statistics_rule(model: ResNet | Inception, rule: StatisticsRule | Mapping[str, StatisticsRule]) -> None:
    """Makes the BatchNorm layers of a model follow a rule of ``weights.statistics``, from the next step on.

    Args:
        model: of this package.
        rule: one for all layers, or one for each by its path ("stage1.0.bn1"); Caffe's depends on the layer's factor.
    """
    for path, layer in nnx.iter_graph(model):
        if isinstance(layer, BatchNorm):
            chosen = rule if isinstance(rule, StatisticsRule) else rule[".".join(map(str, path))]
            layer.momentum, layer.unbiased = chosen.keep, chosen.unbiased
