"""The pytest plugin, as another project uses it, and what it says when a port is wrong."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from conformance.adapters import numpy as reference
from conformance.cases import TINY, image, seeded
from conformance.judge.answer import UnableError
from conformance.judge.compare import compare
from pytest_senet import Conformance
from weights import InputError

pytest_plugins = ["pytester"]


class Port:
    """The reference under another name, with what a test changes."""

    NAME = "mine"

    def __init__(self, **changes):
        self.changes = changes

    def version(self):
        return "mine 1.0"

    def build(self, spec, params, dtype):
        return reference.build(spec, params, dtype)

    def taps(self, model, x):
        found = reference.taps(model, x)
        return found | {tap: change(found[tap]) for tap, change in self.changes.items()}


class Differentiable(Port):
    def gradients(self, model, x, cotangent):
        found = reference.gradients(model, x, cotangent)
        return found | {name: change(found[name]) for name, change in self.changes.items()}

    def taps(self, model, x):
        return reference.taps(model, x)


def test_three_lines_are_a_test(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.senet("tiny-se-resnext")
        def test_port(senet):
            senet.assert_agrees("conformance.adapters.numpy")
        """
    )
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=1)


def test_a_wrong_port_fails_with_the_tap(pytester):
    pytester.makepyfile(
        mine="""
        from conformance.adapters.numpy import NAME, build, version
        from conformance.adapters import numpy

        def taps(model, x):
            found = numpy.taps(model, x)
            return found | {"stage2.0.bn1": found["stage2.0.bn1"] * (1 + 1e-12)}
        """,
        test_mine="""
        import mine

        def test_port(senet):
            senet.assert_agrees(mine, "tiny-se-resnet")
        """,
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*disagrees with the reference on tiny-se-resnet in float64, first at stage2.0.bn1",
            "E*stage2.0.bn1 is BatchNorm(*) of stage2.0.conv1 (agreed)",
            "E*stage2.0.conv1*",
            "E*stage2.0.bn1 *1.0e-12  off *1.1e+03",
        ]
    )


def test_the_marker_is_described(pytester):
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(["*senet(network, dtype='float64', size=None*"])


def test_starting_pytest_imports_nothing_of_the_suite():
    found = "[name for name in sys.modules if name.startswith(('numpy', 'weights'))]"
    code = f"import sys, pytest, pytest_senet; print({found})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_assert_agrees_returns_the_verdict():
    result = Conformance("tiny-se-bn-inception").assert_agrees(Port())
    assert (result.status, result.adapter) == ("agreed", "mine")
    assert set(result.errors.values()) == {0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage3.0": lambda a: a[:, ::-1]}, "first at stage3.0"),
        ({"stage3.0": lambda a: a[:, :1]}, "stage3.0 has shape (2, 1, 5, 4), expected (2, 64, 5, 4)"),
        ({"logits": lambda a: a * np.nan}, "first at logits"),
    ],
)
def test_assert_agrees_raises_with_the_first_divergent_tap(changes, said):
    with pytest.raises(AssertionError) as failure:
        Conformance("tiny-se-resnet").assert_agrees(Port(**changes))
    assert said in str(failure.value)


def test_a_port_without_outputs_does_not_agree():
    class Refusing(Port):
        def taps(self, model, x):
            del model, x
            raise UnableError("not today")

    with pytest.raises(AssertionError, match="not today"):
        Conformance("tiny-se-resnet").assert_agrees(Refusing())


def test_assert_agrees_raises_with_the_first_wrong_gradient_of_the_backward_pass():
    names = ("stage1.0.conv1.weight", "stage3.0.bn2.weight")
    wrong = Differentiable(**dict.fromkeys(names, lambda g: g * (1 + 1e-10)))
    with pytest.raises(AssertionError, match=r"first at stage3\.0\.bn2\.weight"):
        Conformance("tiny-se-resnet").assert_agrees(wrong)
    Conformance("tiny-se-resnet").assert_agrees(Differentiable())


def test_a_test_says_what_the_marker_does_not():
    result = Conformance("tiny-se-resnet", size=(64, 64)).assert_agrees(Port(), "tiny-senet", dtype="float32")
    assert result.dtype == "float32"
    assert "stem.conv3" in result.errors


@pytest.mark.parametrize(
    ("network", "said"), [(None, "which network"), ("se-resnet-51", "unknown network 'se-resnet-51'")]
)
def test_a_network_has_to_be_named(network, said):
    with pytest.raises(InputError, match=said):
        Conformance().assert_agrees(Port(), network)


OWN_PACKAGES = {
    "conformance/__init__.py": "MINE = True\n",
    "conformance/later.py": "from weights.table import ROWS\n",
    "weights/__init__.py": "MINE = True\n",
    "weights/table.py": "ROWS = 3\n",
    "port.py": """
        import sys

        def __getattr__(name):  # the reference, wherever the suite finds it
            from importlib import import_module
            return getattr(import_module("conformance.adapters.numpy"), name)
        """,
    "test_port.py": """
        import conformance
        import port
        import pytest
        import weights

        @pytest.mark.senet("tiny-se-resnet")
        @pytest.mark.parametrize("again", range(2))
        def test_port(senet, again):
            assert senet.assert_agrees(port).status == "agreed"
            assert conformance.MINE and weights.MINE

        def test_own_packages_are_there_as_before():
            from conformance.later import ROWS
            import sys
            assert ROWS == 3 and sys.modules["weights"] is weights
        """,
}
"""A project that has packages of its own under our names."""


def test_plugin_works_where_a_project_has_packages_of_our_names(pytester, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", str(Path(__file__).parents[2])
    )  # this copy of senet, also where another is installed
    for name, text in OWN_PACKAGES.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
    # In a process of its own, started in the project: its folder comes first on the path.
    pytester.runpython_c("import conformance; assert conformance.MINE")
    result = pytester.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)


def test_process_of_an_adapter_finds_our_packages_where_the_folder_has_others(tmp_path, monkeypatch):
    for name in ("conformance", "weights"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    spec = TINY["tiny-se-resnet"]
    found = compare(spec, seeded(spec, 1), image(1, 1, 33, 33), ["numpy"])
    assert (found.results["numpy"].status, found.results["numpy"].message) == ("agreed", "")
