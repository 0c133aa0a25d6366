"""How training moves the running statistics, in Keras. Compare se_torch/statistics.py and se_jax/statistics.py."""

from collections.abc import Mapping

from se_tf.inception import Inception
from se_tf.layers import BatchNorm
from se_tf.resnet import ResNet
from weights.networks.running_statistics import StatisticsRule


def set_statistics_rule(model: ResNet | Inception, rule: StatisticsRule | Mapping[str, StatisticsRule]) -> None:
    """Makes the BatchNorm layers of a model follow a rule of ``weights.statistics``, from the next step on.

    Args:
        model: of this package.
        rule: one for all layers, or one for each by its path ("stage1.0.bn1"); Caffe's depends on the layer's factor.
    """
    for path, layer in ((layer.name, layer) for layer in model.layers):
        if isinstance(layer, BatchNorm):
            chosen = rule if isinstance(rule, StatisticsRule) else rule[path]
            layer.momentum, layer.unbiased = chosen.keep, chosen.unbiased
