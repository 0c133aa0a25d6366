"""The command that shows what the SE blocks of a network let through."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import CHECKPOINT, OUTPUT, Command, deliver, is_stdout
from conformance.cli.photos import in_folder
from conformance.cli.printing import say, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    import numpy as np

    from conformance.judge.stream import Predictor
    from weights import Checkpoint

_BATCH = 8  # photographs at a time: the outputs of all nodes are in memory
_GATE = ".se.gate"  # of a block's name


@click.command(cls=Command)
@click.argument("photos", nargs=-1, type=FILE, required=True, metavar="PHOTO|FOLDER...")
@click.option(
    "--weights",
    "file",
    type=CHECKPOINT,
    required=True,
    help="The checkpoint, of any format, or a name as of senet fetch.",
)
@options.given
@options.dialect
@options.max_pixels
@options.framework
@options.timeout
@options.memory
@options.device
@click.option(
    "--plot", type=OUTPUT, metavar="FILE.png|svg", help="Draw the last block of each stage. Needs Matplotlib."
)
@click.option("--every-block", is_flag=True, help="Draw all blocks.")
@click.option(
    "--json", "result", type=OUTPUT, metavar="FILE.json", help="Write every channel of every block; -: print them."
)
def excite(
    photos: tuple[Path, ...],
    file: Path,
    given: options.Given,
    dialect: str | None,
    max_pixels: int | None,
    framework: str,
    timeout: float,
    memory: float | None,
    device: str,
    plot: Path | None,
    every_block: bool,
    result: Path | None,
) -> None:
    """Show which channels the SE blocks let through.

    Prints, for each block and class, the mean of the gate's activations over the photographs and the most and least
    excited channels, as Figures 6 and 7 of the paper plot them. The photographs in a FOLDER are one class, named after
    it; those named one by one are the class "photos".
    """
    import numpy as np

    from conformance.judge.compare import Conditions
    from conformance.judge.stream import predicting
    from conformance.report.excitation import HEADER, excited, rows, to_dict
    from weights import InputError
    from weights.images import prepare, takes_photographs

    if plot and plot.suffix.lower() not in (".png", ".svg"):
        raise InputError(f"{plot}: a plot is written as .png or .svg")
    if every_block and not plot:
        raise InputError("--every-block: says what to draw; name a file with --plot")
    if plot:
        import_module("matplotlib")  # missing, it is told before the networks run and not after
    options.check_adapters([framework])
    classes = _classes(photos)
    bars, conditions = Bars(), Conditions(timeout=timeout, memory=memory, device=device)
    with bars.busy(f"Reading {file.name}"):
        found = options.checkpoint(file, given, dialect=dialect)
    if not found.spec.se:
        raise InputError(f"{file}: {found.spec.name} has no SE blocks")
    if found.info.preprocessing is None:
        raise InputError(f"{file}: does not say how images are prepared; state --preprocessing (caffe, imagenet, ...)")
    options.say_what_is_assumed(file, found)
    takes_photographs(found.spec, photos[0])
    gates, predictor = {}, None
    with ExitStack() as stack:
        for kind, members in classes.items():
            x = np.concatenate([prepare(p, found.info.preprocessing, max_pixels=max_pixels) for p in members])
            with bars.busy(f"Looking at {kind}"):
                predictor = predictor or stack.enter_context(
                    predicting(framework, found.spec, found.params, x.shape[1:], conditions)
                )
                batches = (x[i : i + _BATCH] for i in range(0, len(x), _BATCH))
                gates[kind] = [_gates(predictor, found, batch) for batch in batches]
    excitations = excited(gates)
    err = is_stdout(result) or is_stdout(plot)
    options.say_table(HEADER, rows(excitations), spare=("least excited", "channels' means", "photos"), err=err)
    if result:
        deliver(result, json.dumps(to_dict(excitations)))
    if plot:
        from conformance.report.excitation_plot import draw

        draw(excitations, f"{found.spec.name}: gates of the SE blocks, mean and deviation", plot, every_block)
        say(f"\nPlot      {shown(plot)}", err=err)


def _gates(predictor: "Predictor", found: "Checkpoint", x: "np.ndarray") -> "dict[str, np.ndarray]":
    """The gates of images (N, 3, H, W) by block.

    Raises:
        InputError: the framework failed, or does not show them.
    """
    from weights.networks.network import graph

    names = [node.name for node in graph(found.spec) if node.name.endswith(_GATE)]
    return {name.removesuffix(_GATE): gate for name, gate in predictor.outputs(x, names).items()}


def _classes(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Photographs by class.

    Raises:
        InputError: a folder without photographs, or several folders of one name.
    """
    from weights import InputError

    found: dict[str, list[Path]] = {}
    for path in dict.fromkeys(Path(os.path.realpath(path)) for path in paths):
        if not path.is_dir():
            found.setdefault("photos", []).append(path)
            continue
        members = in_folder(path)
        if path.name in found:
            raise InputError(
                f"{path}: there is another class {path.name!r}, from {found[path.name][0].parent}; rename one"
            )
        found[path.name] = members
    return found
