"""For the tests of other projects: "my model, this architecture, must agree", with a fixture and a marker.

Installing senet registers it. It is imported whenever pytest starts, so nothing is imported here before it is used.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import ModuleType

    import numpy as np

    from conformance.adapters.protocol import Adapter
    from conformance.judge.verdict import Verdict
    from weights.networks.spec import Spec

    __version__: str

SIZES = (69, 61), (64, 96)
"""Heights and widths of the images: quick, not square. The first is odd, and so is the map after a stride of 2."""

SEED = 1  # of the weights; the image has the next one, the gradient on the logits the one after


def __getattr__(name: str) -> object:
    if name == "__version__":
        with _our_packages():
            return import_module("weights").__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pytest_configure(config: pytest.Config) -> None:
    """Describes the marker."""
    config.addinivalue_line(
        "markers",
        "senet(network, dtype='float64', size=None, seed=1, batch=2, require=(), taps=None, allow_dtype=()): what the "
        "fixture 'senet' compares with: a name such as 'se-resnet-50' or a weights.Spec, the precision, height and "
        "width of the images, seed of the weights, images; what the port has to answer, of 'taps', 'gradients' and "
        "'training', how many taps, and the precisions that it may compute in instead.",
    )


@pytest.fixture
def senet(request: pytest.FixtureRequest) -> "Conformance":
    """Judges ports of Squeeze-and-Excitation networks: ``senet.assert_agrees(adapter)``."""
    marker = request.node.get_closest_marker("senet")
    return Conformance(*marker.args, **marker.kwargs) if marker else Conformance()


class Conformance:
    """Compares a port with the reference; its arguments are the defaults of ``assert_agrees``."""

    def __init__(
        self,
        network: "str | Spec | None" = None,
        dtype: str = "float64",
        size: tuple[int, int] | None = None,
        seed: int = SEED,
        batch: int = 2,
        require: "Collection[str]" = (),
        taps: int | str | None = None,
        allow_dtype: "Collection[str]" = (),
    ) -> None:
        self.network, self.dtype, self.size, self.seed, self.batch = network, dtype, size, seed, batch
        self.require, self.taps, self.allow_dtype = require, taps, allow_dtype

    def assert_agrees(
        self,
        adapter: "str | Adapter",
        network: "str | Spec | None" = None,
        params: "Mapping[str, np.ndarray] | None" = None,
        *,
        dtype: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> "Verdict":
        """Passes if every tap of the port is the reference's, within the bound of the precision, and so is every layer.

        If the port has gradients, they are compared as well: of a seeded functional of the logits with respect to the
        images and every parameter, in inference mode and through the statistics of the batch. If it trains, so are the
        running statistics after one step, all parameters after two and, in float64, after ten.

        Args:
            adapter: a module (or any object) with the functions of ``conformance.adapters.protocol.Adapter``, or its
                name.
            network: one of ``weights.MODELS`` or ``conformance.cases.TINY`` by name, or a spec; else the marker's.
            params: by canonical name; else seeded ones.
            dtype: "float64", "float32", "bfloat16" or "float16"; else the marker's.
            size: height and width of the images; else the marker's, or two small sizes, not square, one of them odd.

        Returns:
            The verdict on the taps.

        Raises:
            AssertionError: it does not agree; the message names the first tap that is off.
            InputError: there is no such network, or the parameters or the size do not fit it.
        """
        __tracebackhide__ = True
        with _our_packages():
            from conformance import cases
            from conformance.judge.compare import verdicts
            from conformance.judge.measure import demanding
            from conformance.judge.question import Forward, every
            from conformance.report.explain import explain
            from weights import InputError

            named = network or self.network
            if named is None:
                raise InputError(
                    "which network? assert_agrees(adapter, 'se-resnet-50'), or a marker senet('se-resnet-50')"
                )
            found = cases.find(named).network()
            one = size or self.size or found.size
            sizes = (one,) if one else tuple(filter(lambda size: cases.takes(found, *size), SIZES))
            params = params or cases.seeded(found, self.seed)
            if self.batch < 1:
                raise InputError(f"{self.batch} images: expected at least one")
            inputs = [cases.image(self.seed + 1 + i, self.batch, *at, found.in_channels) for i, at in enumerate(sizes)]
            batches = cases.batches(found, self.seed + 3, size=sizes[0]) if found.classes else ()
            questions = every(found, inputs, self.seed + 2, batches)
            demands = demanding(self.require, self.taps, self.allow_dtype)
            first: Verdict | None = None
            for question, verdict in verdicts(adapter, found, params, questions, dtype or self.dtype, demands):
                outputs = isinstance(question, Forward)  # which every port has
                if verdict.status != "agreed" and (outputs or verdict.status != "absent"):
                    raise AssertionError(explain(verdict, found, question))
                if outputs:
                    first = verdict
            if first is None:
                raise InputError(f"nothing is compared in {dtype or self.dtype}")
        return first


_HOME = str(Path(__file__).parents[1])
_OURS = ("conformance", "weights")
_set_aside: "dict[str, ModuleType]" = {}  # our modules, between two uses, where the project has packages of those names


@contextmanager
def _our_packages() -> Generator[None]:
    """While the block runs, ``conformance`` and ``weights`` are ours, also in a project with packages of those names.

    Theirs are put back afterwards, and ours are kept for the next time.
    """
    if all(map(_is_ours, _OURS)):
        yield
        return
    theirs = _taken()
    sys.modules.update(_set_aside)
    sys.path.insert(0, _HOME)
    try:
        yield
    finally:
        sys.path.remove(_HOME)
        _set_aside.update(_taken())
        sys.modules.update(theirs)


def _taken() -> "dict[str, ModuleType]":
    """The modules under those names, which are forgotten."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in _OURS}


def _is_ours(name: str) -> bool:
    """Whether a package of that name is, or would be, the one beside this package."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module without a spec, made by hand
        return False
    if spec is None or spec.origin is None:
        return False
    return Path(spec.origin).resolve().parents[1] == Path(_HOME).resolve()
