"""Puts mutants into frameworks and says at which tap the suite finds each."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from conformance import cases
from conformance.adapters import adapter
from conformance.judge.answer import Answer
from conformance.judge.measure import judge
from conformance.judge.question import Forward, Given
from conformance.judge.standard import Standard
from weights.networks.network import Network, as_network
from weights.networks.parameters import schema
from weights.networks.se import SE
from weights.networks.spec import Spec

from . import choices, conditions, constants, excitation, geometry, layout, structure
from .mutant import Arrays, Finding, Mutant, Nodes, Substitute
from .substitution import StaleError, substituted

MUTANTS: dict[str, Mutant] = {
    m.name: m
    for m in (
        *geometry.MUTANTS,
        *constants.MUTANTS,
        *layout.MUTANTS,
        *excitation.MUTANTS,
        *choices.MUTANTS,
        *structure.MUTANTS,
        *conditions.MUTANTS,
    )
}
"""All of them, by name."""

DTYPES = ("float64", "float32")
"""What bugs are looked for in."""

MODULES = {"numpy": "reference", "torch": "torch", "jax": "jax", "tf": "tf"}
"""By framework, the module of this package that has its substitutes."""


def _shortened(spec: Any) -> Any:
    """The first two stages of a small network."""
    cut = {name: getattr(spec, name)[:2] for name in ("reduce", "width", "out_channels")}
    return replace(spec, depths=(1, 2), **cut)


_UNIT = replace(
    _shortened(cases.TINY["tiny-se-resnet"]),
    depths=(1,),
    reduce=(4,),
    width=(8,),
    out_channels=(8,),
    se=SE(reduction=3),
)


def _unit(**changes: Any) -> Spec:
    return replace(_UNIT, se=replace(_UNIT.se, **changes))


NETWORKS: dict[str, Spec] = {
    "se-resnet": _shortened(cases.TINY["tiny-se-resnet"]),
    "se-resnext": _shortened(cases.TINY["tiny-se-resnext"]),
    "senet": _shortened(cases.TINY["tiny-senet"]),
    "se-bn-inception": cases.TINY["tiny-se-bn-inception"],
    # One unit, with as many channels everywhere, so that an SE block has the same parameters wherever it stands.
    "unit": _UNIT,
    **{f"unit-{position}": _unit(position=position) for position in ("pre", "identity", "3x3")},
    "unit-max": _unit(squeeze="max"),
    "unit-no-squeeze": _unit(squeeze="none"),
    "unit-hard-sigmoid": _unit(gate="hard-sigmoid"),
    "small-gates": _UNIT,
    "dead-channel": _UNIT,
}
"""What the bugs are put into: two stages, three modules, one unit, because they come in kinds and not in depths."""


def params_of(network: str) -> Arrays:
    """Seeded weights with variances near 1/16, where a wrong eps shows 16 times as much as near 1."""
    params = dict(cases.seeded(NETWORKS[network], 31))
    for name in params:
        if name.endswith(".running_var"):
            params[name] = params[name] / 16
            params[name.replace("running_var", "weight")] = params[name.replace("running_var", "weight")] / 4
    if network == "small-gates":
        params["stage1.0.se.fc2.bias"][:2] -= 13
    if network == "dead-channel":
        params["stem.bn1.weight"][0] = params["stem.bn1.bias"][0] = 1e-9
    return params


@cache
def standard_of(network: str, dtype: str) -> Standard:
    """What a network is judged by: two images that are not square."""
    given = NETWORKS[network].network(), params_of(network), dtype, Forward(cases.image(32, 2, 64, 48))
    return Standard(Given(*given))


def inject(mutant: Mutant, framework: str, dtype: str = "float64") -> Finding:
    """Puts a bug into a framework and compares it with the reference.

    Raises:
        StaleError: the bug cannot be put there any more: the code has changed.
    """
    spec = NETWORKS[mutant.network]
    standard = standard_of(mutant.network, dtype)
    params, x = params_of(mutant.network), cases.image(32, 2, 64, 48).astype(dtype)
    of, changed, substitutes = spec, params, ()
    if framework in mutant.code:
        substitutes = _substitutes(mutant.name, framework)
    else:
        of = _network(mutant, spec)
        changed = mutant.params(params) if mutant.params else params
        changed = {p.name: changed[p.name] for p in schema(of)}  # some changes leave parameters without a layer
    with substituted(substitutes), _compiled_anew(framework, bool(substitutes)):
        run = adapter(framework)
        taps = {tap: np.asarray(array) for tap, array in run.taps(run.build(of, changed, dtype), x).items()}
    known = {tap: array for tap, array in taps.items() if tap in standard.truth[0]}
    verdict = judge(framework, Answer(dtype=dtype, tensors=known), standard)
    errors, found = verdict.errors, verdict.first_divergent
    touched = _downstream(as_network(spec).nodes, mutant.at)
    return Finding(
        mutant=mutant.name,
        framework=framework,
        dtype=dtype,
        expected=next(tap for tap in errors if tap in touched),
        found=found,
        error=errors[found] if found else max(errors.values()),
        share=verdict.layers.get(found or ""),
    )


@contextmanager
def _compiled_anew(framework: str, changed: bool) -> Generator[None, None, None]:
    """JAX keeps what it has compiled, of functions as they were then: it forgets it before and after a change."""
    if framework != "jax" or not changed:
        yield
        return
    clear = import_module("jax").clear_caches
    clear()
    try:
        yield
    finally:
        clear()


def _network(mutant: Mutant, spec: Spec) -> Network | Spec:
    if mutant.nodes:
        return Network(mutant.name, mutant.nodes(as_network(spec).nodes))
    return mutant.spec(spec) if mutant.spec else spec


def _substitutes(name: str, framework: str) -> tuple[Substitute, ...]:
    table = import_module(f"{__package__}.{MODULES[framework]}").SUBSTITUTES
    if name not in table:
        raise StaleError(f"{framework} has no substitute for {name}")
    return table[name]


def _downstream(nodes: Nodes, start: str) -> set[str]:
    """A node and all that depend on it."""
    touched = {start}
    for node in nodes:
        if touched.intersection(node.inputs):
            touched.add(node.name)
    return touched


def findings(framework: str) -> list[Finding]:
    """Every bug that can be put into a framework.

    Raises:
        StaleError: a bug cannot be put there any more, or the framework has a substitute for which there is no bug.
    """
    reached = [m for m in MUTANTS.values() if framework in m.frameworks]
    if framework in MODULES:
        table = import_module(f"{__package__}.{MODULES[framework]}").SUBSTITUTES
        if unknown := table.keys() - {m.name for m in reached if framework in m.code}:
            raise StaleError(f"{framework} has substitutes for {', '.join(unknown)}, which no mutant lists")
    # Those in data first: code makes what is compiled useless.
    ordered = sorted(reached, key=lambda m: framework in m.code)
    return [inject(m, framework, dtype) for m in ordered for dtype in DTYPES]


def isolated(framework: str) -> list[Finding]:
    """The same, from a process of its own, which no change outlives."""
    command = [sys.executable, "-m", "tests.mutants", "--json", framework]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"mutants of {framework}: {done.stderr[-2000:]}")
    return [Finding(**found) for found in json.loads(done.stdout)]
