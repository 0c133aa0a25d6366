"""For the tests of other projects: "my model, this architecture, must agree", with a fixture and a marker.

Installing senet registers it. It is imported whenever pytest starts, so nothing is imported here before it is used.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from conformance.adapters.protocol import Adapter
    from conformance.judge.compare import Verdict
    from weights.networks.spec import Spec

SIZE = 67, 63
"""Height and width of the image: quick, odd, not square, and one that every network takes."""

SEED = 1  # of the weights; the image has the next one, the gradient on the logits the one after


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "senet(network, dtype='float64', size=None, seed=1): what the fixture 'conformance' compares with: a name "
        "such as 'se-resnet-50' or a weights.Spec, the precision, height and width of the input, seed of the weights.",
    )


@pytest.fixture
def conformance(request: pytest.FixtureRequest) -> "Conformance":
    """Judges ports of Squeeze-and-Excitation networks: ``conformance.assert_agrees(adapter)``."""
    marker = request.node.get_closest_marker("senet")
    return Conformance(*marker.args, **marker.kwargs) if marker else Conformance()


class Conformance:
    """Compares a port with the reference; its arguments are what a test does not say itself."""

    def __init__(
        self,
        network: "str | Spec | None" = None,
        dtype: str = "float64",
        size: tuple[int, int] | None = None,
        seed: int = SEED,
    ):
        self.network, self.dtype, self.size, self.seed = network, dtype, size, seed

    def assert_agrees(
        self,
        adapter: "str | Adapter",
        network: "str | Spec | None" = None,
        params: "Mapping[str, np.ndarray] | None" = None,
        *,
        dtype: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> "Verdict":
        """Passes if every tap of the port is the reference's, within the bound of the precision.

        Where the port has gradients, they are compared as well: of a seeded functional of the logits with respect to
        the image and every parameter.

        Args:
            adapter: a module (or any object) with the functions of ``conformance.adapter.Adapter``, or its name.
            network: one of ``weights.MODELS`` or ``conformance.cases.TINY`` by name, or a spec; else the marker's.
            params: by canonical name; else seeded ones.
            dtype: "float64" or "float32".
            size: height and width of the image; else small, odd and not square.

        Raises:
            AssertionError: it does not agree; the message names the first tap that is off.
            InputError: there is no such network, or the parameters or the size do not fit it.
        """
        __tracebackhide__ = True
        from conformance import cases
        from conformance.judge import port
        from weights import InputError, graph, shapes

        named = network or self.network
        if named is None:
            raise InputError("which network? assert_agrees(adapter, 'se-resnet-50'), or a marker senet('se-resnet-50')")
        spec = port.network(named)
        height, width = size or self.size or SIZE
        params = params or cases.seeded(spec, self.seed)
        x = cases.image(self.seed + 1, 1, height, width)
        cotangent = cases.top_diff(self.seed + 2, 1, *shapes(spec)[graph(spec)[-1].name])
        results = tuple(port.results(adapter, spec, params, x, cotangent, dtype or self.dtype))
        for result, what in zip(results, ("tap", "gradient"), strict=False):
            if result.status != "agreed":
                raise AssertionError(port.explain(result, spec, what))
        return results[0]
