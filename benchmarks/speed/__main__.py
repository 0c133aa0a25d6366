"""Measures, and writes speed.json beside this package, docs/speed-tables.md and docs/speed.svg.

python -m benchmarks.speed                                       # everything, ten minutes
python -m benchmarks.speed --quick                               # SE-ResNet-50, a few rounds; nothing is written
python -m benchmarks.speed --part inference --network senet-154  # these rows again
python -m benchmarks.speed --render                              # the page, the plot and the README's table only
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

import weights
from benchmarks.speed import conversion, gpu, whole
from benchmarks.speed.page import page, with_table
from benchmarks.speed.plot import draw
from benchmarks.speed.rounds import FRAMEWORKS, LEAST, PACKAGES, TRAINABLE, Effort, Task, measure, processes
from conformance import cases

EVIDENCE = Path(__file__).parents[1] / "speed.json"
ROOT = Path(__file__).parents[2]
PAGE, PLOT, README = ROOT / "docs" / "speed-tables.md", ROOT / "docs" / "speed.svg", ROOT / "README.md"
NETWORKS = ("se-resnet-50", "senet-154", "se-bn-inception", "efficientnet-b0")
PARTS = ("inference", "training", "memory", "conversion", "start", "gpu")
BATCHES = (1, 8)
TRAINED = 8
"""Images of a step of training, and of what memory is measured of."""

QUICK = Effort(seconds=2, rounds=LEAST)
KEY = ("part", "what", "network", "batch", "framework", "way", "name")
"""What tells rows apart; of the same ones the later one counts."""


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="What is measured. Default: all.")
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True, help="Which networks.")
@click.option("--batch", "batches", multiple=True, default=BATCHES, show_default=True, help="Images at a time.")
@click.option("--seconds", default=20.0, show_default=True, help="Of the rounds of each table.")
@click.option("--device", default="cuda", show_default=True, help="Of the part gpu, as PyTorch names it.")
@click.option("--quick", is_flag=True, help="SE-ResNet-50 alone, three rounds; prints the page, writes nothing.")
@click.option("--render", is_flag=True, help="Measure nothing; write the page, the plot, the README's table.")
def main(
    parts: tuple[str, ...],
    networks: tuple[str, ...],
    batches: tuple[int, ...],
    seconds: float,
    device: str,
    quick: bool,
    render: bool,
) -> None:
    """Measure how fast the networks are."""
    if render:
        write(json.loads(EVIDENCE.read_text()))
        return
    networks, parts = networks[:1] if quick else networks, parts or PARTS
    effort = QUICK if quick else Effort(seconds=seconds)
    load = round(os.getloadavg()[0], 1)  # of what else runs, before anything of this does
    found = []
    for row in (row | {"load": load} for row in measured(parts, networks, batches, effort, device)):
        print(*(f"{value:.4g}" if isinstance(value, float) else value for value in row.values()), file=sys.stderr)
        found.append(row)
    if quick:
        print(page(described(found)))
        return
    before = json.loads(EVIDENCE.read_text())["rows"] if EVIDENCE.exists() else []
    evidence = described(merged(before, found))
    EVIDENCE.write_text(json.dumps(evidence, indent=1) + "\n")
    write(evidence)
    if any(not row["kept"] for row in found if row["part"] == "conversion"):
        raise click.ClickException("a conversion or a diff took longer, or more memory, than it may")


def measured(
    parts: Sequence[str], networks: Sequence[str], batches: Sequence[int], effort: Effort, device: str
) -> Iterator[dict[str, Any]]:
    """The rows of all parts, one network after the other."""
    if "start" in parts:
        yield from whole.starts(LEAST)
    for network in networks:
        spec = weights.MODELS[network]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "network.onnx")
            weights.write(file, spec, cases.seeded(spec, 1))
            yield from _timed(parts, network, str(file), batches, effort)
            if "memory" in parts and network == NETWORKS[0]:
                for what in ("inference", "training"):
                    task = Task(what=what, network=network, file=str(file), batch=TRAINED, side=224)
                    yield from whole.memory(task)
        if "conversion" in parts and network in conversion.NETWORKS:
            yield from conversion.measure(network, LEAST)
        if "gpu" in parts:
            yield from gpu.measure(spec, device)


def _timed(
    parts: Sequence[str], network: str, file: str, batches: Sequence[int], effort: Effort
) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        if "inference" in parts:
            running = stack.enter_context(processes(tuple(FRAMEWORKS)))
            for batch in batches:
                task = Task(what="inference", network=network, file=file, batch=batch, side=224)
                yield from measure(task, running, effort)
    with ExitStack() as stack:
        if "training" in parts:
            running = stack.enter_context(processes(TRAINABLE))
            task = Task(what="training", network=network, file=file, batch=TRAINED, side=224)
            yield from measure(task, running, effort)


def merged(before: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows, of which later ones take the place of earlier ones, in the order of parts and networks."""
    rows = {tuple(row.get(field) for field in KEY): row for row in (*before, *found)}
    order = {name: place for place, name in enumerate((*PARTS, *NETWORKS))}
    return sorted(rows.values(), key=lambda row: (order[row["part"]], order.get(row.get("network", ""), -1)))


def described(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows with the machine and the versions that made them."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "memory": _memory()},
        "versions": {
            "Python": platform.python_version(),
            **{package: v for packages in PACKAGES.values() for package in packages if (v := _version(package))},
        },
        "rows": list(rows),
    }


def _cpu() -> str:
    if (info := Path("/proc/cpuinfo")).exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        return next((value.strip() for key, _, value in lines if key.strip() == "model name"), platform.machine())
    return platform.processor() or platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def write(evidence: Mapping[str, Any]) -> None:
    """Writes the page, the plot and the README's table."""
    PAGE.write_text(page(evidence))
    draw(evidence, PLOT)
    README.write_text(with_table(README.read_text(), evidence))


if __name__ == "__main__":
    main()
