"""How long a conversion takes and what memory it needs, against a Python process that reads and writes the same bytes.

    python benchmarks/convert.py            # SE-ResNet-50 and SENet-154, seeded weights, five rounds

Bounds: at most 3 times as long, and at most the file's size plus 150 MB resident. Exit code 1 if one is missed. Python
keeps compiled modules, as after an installation; the file is in the system's cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

MODELS = ("se-resnet-50", "senet-154")
TIMES = 3
MEMORY = 150e6  # bytes beside the file's

_WRITE = "import sys, weights; from conformance import cases; spec = weights.MODELS[sys.argv[1]]; " + (
    "weights.write(sys.argv[2], spec, cases.seeded(spec, 1))"
)
_COPY = "import sys; data = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(data)"


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Runs of each, in turn; the median counts.")
@click.option("--model", "models", multiple=True, default=MODELS, show_default=True, help="Which network.")
def main(rounds: int, models: tuple[str, ...]) -> None:
    """Time `senet convert X.caffemodel out.safetensors` as a whole process."""
    table = Table(
        Column("network", no_wrap=True), "file, MB", "copy, s", "convert, s", "times", "peak, MB", "above, MB"
    )
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            source, target = Path(folder, f"{model}.caffemodel"), Path(folder, "out.safetensors")
            run(folder, "-c", _WRITE, model, str(source))
            run(folder, "-m", "conformance", "convert", str(source), str(target))  # compiles the modules
            size = source.stat().st_size
            copies, conversions = [], []
            for _ in range(rounds):
                copies.append(run(folder, "-c", _COPY, str(source), str(target)))
                target.unlink()
                conversions.append(run(folder, "-m", "conformance", "convert", str(source), str(target)))
                target.unlink()
            source.unlink()
            copy, convert = (statistics.median(seconds for seconds, _ in runs) for runs in (copies, conversions))
            peak = max(memory for _, memory in conversions)
            missed |= convert > TIMES * copy or peak > size + MEMORY
            numbers = (copy, convert, convert / copy)
            table.add_row(
                *(model, f"{size / 1e6:.0f}", *(f"{n:.2f}" for n in numbers)),
                *(f"{peak / 1e6:.0f}", f"{(peak - size) / 1e6:.0f}"),
            )
    Console().print(table)
    sys.exit(missed)


def run(folder: str, *arguments: str) -> tuple[float, int]:
    """Runs Python to its end, its compiled modules in ``folder``: seconds, and the most bytes that it had resident."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)  # this process stays small: its own size would count at the start
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(arguments)[:80]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
