"""Trains every variant in every framework, says whether their losses agree, and draws the curves.

cd examples && python -m ablation --steps 300 --output ablation.png
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ablation.digits import VARIANTS

FRAMEWORKS = {"torch": "PyTorch", "jax": "Flax", "tf": "Keras"}
COMPARED = 50  # steps; each may multiply what the one before was off by
BOUND = 1e-8  # of the loss: rounding alone made 6e-16 in 50 steps, a learning rate that is off by 2e-8 made 5e-3


@click.group(invoke_without_command=True)
@click.option("--steps", default=300, show_default=True, type=click.IntRange(1))
@click.option("--output", default="ablation.png", show_default=True, type=click.Path(path_type=Path))
@click.pass_context
def main(context: click.Context, steps: int, output: Path) -> None:
    """Trains all variants in all frameworks, each framework in a process of its own."""
    if context.invoked_subcommand:
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}  # otherwise pages of notes on stderr
    running = {
        f: subprocess.Popen(
            [sys.executable, "-m", "ablation", "one", f, str(steps)], stdout=subprocess.PIPE, env=environment
        )
        for f in FRAMEWORKS
    }
    printed = {framework: process.communicate()[0] for framework, process in running.items()}
    failed = [framework for framework, process in running.items() if process.returncode]
    if failed:
        raise click.ClickException(f"{', '.join(failed)}: the training failed")
    table = Table("network", "loss at the end", "accuracy", "frameworks differ by")
    found = {framework: json.loads(text) for framework, text in printed.items()}
    agreed = True
    for variant in VARIANTS:
        curves = np.array([found[f][variant]["losses"] for f in FRAMEWORKS])[:, :COMPARED]
        apart = float((np.ptp(curves, axis=0) / curves.mean(axis=0)).max())
        agreed &= apart < BOUND
        accuracy = found["torch"][variant]["accuracy"]
        table.add_row(variant, f"{found['torch'][variant]['losses'][-1]:.4f}", f"{accuracy:.1%}", f"{apart:.1e}")
    Console().print(table)
    draw(found, output)
    lie = "lie on each other" if agreed else "do not lie on each other"
    click.echo(f"{output}: the loss of every step; over {COMPARED} steps the curves of the three frameworks {lie}")
    sys.exit(not agreed)


@main.command(hidden=True)
@click.argument("framework", type=click.Choice(list(FRAMEWORKS)))
@click.argument("steps", type=int)
def one(framework: str, steps: int) -> None:
    """Trains all variants in one framework and prints the losses as JSON."""
    train = import_module(f"ablation.train_{framework}").train
    results = {name: train(spec, steps) for name, spec in VARIANTS.items()}
    click.echo(json.dumps({name: {"losses": losses, "accuracy": a} for name, (losses, a) in results.items()}))


def draw(found: dict[str, dict[str, dict[str, list[float]]]], output: Path) -> None:
    """The curves as a PNG or SVG: a colour for each variant, a dash for each framework."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, variant in enumerate(VARIANTS):
        for framework, style in zip(FRAMEWORKS, ("-", "--", ":"), strict=True):
            label = variant if framework == "torch" else None
            axes.semilogy(found[framework][variant]["losses"], style, color=f"C{i}", linewidth=1, label=label)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(title="solid PyTorch, dashed Flax, dotted Keras", frameon=False)
    figure.savefig(output, dpi=150)


if __name__ == "__main__":
    main()
