"""A table of weights that consists of one small network, in this process or in another one."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import weights
from conformance import cases
from weights import hub
from weights.hub import Source, table

NAME = "tiny-se-resnet"

FETCH = """
import sys
import hub_of_tests
from weights import hub
hub_of_tests.install(sys.argv[1])
print(hub.fetch(sys.argv[2]), flush=True)
"""


def install(rows: str) -> None:
    """Lets these sources, as JSON, be all that are known."""
    known = tuple(Source(**row) for row in json.loads(rows))
    table.sources = hub.sources = lambda: known  # type: ignore[assignment]
    weights.MODELS.update(cases.TINY)


def published(folder: Path, suffix: str, server: str, **changes: object) -> tuple[Source, bytes]:
    """A file of the small network, and the row of the table about it."""
    path = folder / f"Tiny-SE-ResNet{suffix}"
    weights.write(path, cases.TINY[NAME], cases.seeded(cases.TINY[NAME], 1))
    data = path.read_bytes()
    row = {
        "network": NAME,
        "origin": "authors",
        "file": path.name,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "licence": "Apache-2.0",
        "address": f"{server}/there/{path.name}",
        "page": "https://example.org/by-hand",
        "top1_error": None,
        "top5_error": None,
    }
    return Source(**{**row, **changes}), data  # type: ignore[arg-type]


def elsewhere(home: Path, name: str, *known: Source) -> subprocess.Popen[str]:
    """Another process that fetches weights by name into a cache."""
    rows = json.dumps([asdict(source) for source in known])
    root = Path(__file__).parents[1]
    env = {**os.environ, "SENET_HOME": str(home), "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    command = [sys.executable, "-c", FETCH, rows, name]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
