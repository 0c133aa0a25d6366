"""The rules of running statistics, against the arithmetic of Caffe's accumulating blobs."""

import numpy as np
import pytest

from weights.networks.running_statistics import FRACTION, caffe


@pytest.mark.parametrize("factor", [0.0, 1.0, 999.98236])
def test_caffes_rule_equals_its_accumulation_divided_by_its_factor(factor):
    rng = np.random.default_rng(3)
    mean, batch = rng.standard_normal(8), rng.standard_normal(8)
    blob = mean * factor
    for _ in range(5):
        rule, after = caffe(factor)
        blob, factor = FRACTION * blob + batch, FRACTION * factor + 1
        mean = rule.keep * mean + (1 - rule.keep) * batch
        assert after == factor
        # A few roundings of float64 a step.
        np.testing.assert_allclose(mean, blob / factor, rtol=0, atol=1e-14)


def test_caffes_first_step_keeps_the_batch_alone():
    assert caffe(0.0)[0].keep == 0
