"""The command that counts how many photographs a network names rightly."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import CHECKPOINT, FOLDER, OUTPUT, Command, deliver, is_stdout, outside
from conformance.cli.photos import classifying
from conformance.cli.printing import message, runnable, say, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from conformance.evaluate.counting import Counted
    from conformance.evaluate.evaluation import Counting, Worker
    from conformance.evaluate.journal import Shard
    from conformance.evaluate.listed import ListLabels
    from conformance.judge.compare import Conditions
    from weights.params import Checkpoint, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Which images are evaluated, and how they are read."""

    folder: Path | None
    listed: Path | None
    list_labels: "ListLabels | None"
    max_pixels: int | None
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where what is counted is kept, and the result is written."""

    journal: Path | None
    fresh: bool
    merge: Path | None
    result: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The checkpoint, and what its file does not state."""

    file: Path | None
    dialect: str | None
    labels: "Labels | None"


@click.command(cls=Command)
@click.argument("folder", type=FILE, required=False)
@click.option("--weights", "file", type=CHECKPOINT, help="The checkpoint, of any format, or a name as of senet fetch.")
@click.option("--list", "listed", type=FILE, metavar="FILE", help="Photographs and classes: a path and a class a line.")
@click.option(
    "--list-labels",
    type=click.Choice(["sorted", "devkit", "names", "indices"]),
    help="What the numbers of a list are: ImageNet's classes in one of their orders, or names or places of your own.",
)
@options.given
@options.dialect
@options.labels
@options.max_pixels
@options.framework
@options.timeout
@options.memory
@options.device
@click.option("--batch", type=click.IntRange(1, 4096), default=32, show_default=True, help="Photographs at a time.")
@click.option(
    "--journal", type=FOLDER, metavar="FOLDER", help="Keep what is counted there, and go on from what was kept."
)
@click.option("--fresh", is_flag=True, help="Begin a journal anew.")
@click.option("--merge", type=FILE, metavar="JOURNAL", help="Print the result of what several processes have counted.")
@click.option("--json", "result", type=OUTPUT, metavar="FILE.json", help="Write the result as JSON; -: print it.")
@options.grouped(images=Images, kept=Kept, weights=Weights)
def evaluate(
    images: Images,
    weights: Weights,
    given: options.Given,
    framework: str,
    timeout: float,
    memory: float | None,
    device: str,
    kept: Kept,
) -> None:
    """Count how many photographs of a FOLDER a network names rightly.

    Prints the shares of those whose class is the most probable one (top-1) and one of the five most probable (top-5).
    FOLDER has a folder for each class, named by its WordNet id or as the checkpoint calls it; or --list names the
    photographs in it. With --journal a run that was killed goes on where it ended. Started by torchrun, or with RANK
    and WORLD_SIZE set, each process counts its share of the batches into the journal, and --merge prints the result.
    Exit codes: 0 all photographs were counted, 1 some cannot be read.
    """
    from conformance.evaluate.provenance import origin_of, run_of
    from conformance.judge.compare import Conditions
    from weights import InputError

    for folder, option in ((kept.journal, "--journal"), (kept.merge, "--merge")):
        outside(kept.result, folder, f"the journal of {option}")
    if kept.merge:
        if images.folder or weights.file or images.listed or kept.journal or kept.fresh:
            raise InputError("--merge: takes a journal and no images, weights or other journal; leave these out")
        _finish(_whole(kept.merge), kept.result)
        return
    if not images.folder or not weights.file:
        raise click.UsageError("name a FOLDER and --weights, or a journal with --merge", click.get_current_context())
    worker = _worker(kept)
    options.check_adapters([framework])
    with Bars().busy(f"Reading {weights.file.name}"):
        found = options.checkpoint(weights.file, given, dialect=weights.dialect, labels=weights.labels)
    counting = _counting(weights.file, found, images.folder, images)
    options.say_what_is_assumed(weights.file, found)
    evaluation = _Evaluation(
        counting=counting,
        found=found,
        framework=framework,
        conditions=Conditions(timeout=timeout, memory=memory, device=device),
        worker=worker,
        run=run_of(weights.file, found, counting.images, images.batch, images.max_pixels, framework),
        origin=origin_of(weights.file, found, images.folder, images.listed, images.list_labels),
    )
    counted = _count(evaluation, kept)
    if worker.world > 1:
        done = f"{shown(kept.journal)}: the batches of process {worker.rank} of {worker.world} are counted"
        merging = runnable("evaluate", "--merge", str(kept.journal))
        say(f"{done}; {merging} prints the result of all")
        return
    _finish(counted, kept.result)


def _worker(kept: Kept) -> "Worker":
    """Which process of how many this is, by the variables that torchrun sets.

    Raises:
        InputError: they are no numbers, or several processes are to do what one has to.
    """
    from conformance.evaluate.evaluation import Worker
    from weights import InputError

    rank, world = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    numbers = all(text.isdecimal() and len(text) < 10 for text in (rank, world))
    if not numbers or int(rank) >= int(world):
        raise InputError(f"RANK={rank[:20]}, WORLD_SIZE={world[:20]}: expected two numbers, the first one smaller")
    if int(world) > 1:
        if not kept.journal:
            raise InputError(f"WORLD_SIZE={world}: name a --journal, in which each process keeps what it counts")
        if kept.fresh:
            raise InputError("--fresh: one process would remove what another counts; remove the journal yourself")
        if kept.result:
            merging = runnable("evaluate", "--merge", str(kept.journal))
            raise InputError(f"--json: the result is known when all have ended: {merging}")
    elif kept.fresh and not kept.journal:
        raise InputError("--fresh: there is no --journal to begin anew")
    return Worker(int(rank), int(world))


def _counting(file: Path, found: "Checkpoint", folder: Path, images: Images) -> "Counting":
    from conformance.evaluate.evaluation import Counting
    from conformance.evaluate.labelled import Classes, in_folders
    from conformance.evaluate.listed import in_list
    from weights import InputError

    preprocessing = classifying(file, found)
    classes = Classes.of(found)
    if images.list_labels and not images.listed:
        raise InputError("--list-labels: is for the numbers of a --list; folders are named by their classes")
    with options.warnings_in_a_line():
        members = (
            in_list(images.listed, folder, classes, images.list_labels)
            if images.listed
            else in_folders(folder, classes)
        )
    return Counting(
        images=members,
        size=images.batch,
        preprocessing=preprocessing,
        labels=classes.labels,
        max_pixels=images.max_pixels,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """One process's part of an evaluation."""

    counting: "Counting"
    found: "Checkpoint"
    framework: str
    conditions: "Conditions"
    worker: "Worker"
    run: dict[str, Any]
    origin: dict[str, Any]


def _count(asked: _Evaluation, kept: Kept) -> "_Result":
    """Counts the batches of this process that no journal has."""
    from conformance.evaluate import journal
    from conformance.evaluate.evaluation import batch_count
    from conformance.judge.stream import predicting

    counting, run = asked.counting, asked.run
    count = batch_count(len(counting.images), counting.size)
    if kept.journal:
        journal.check_count(count)
        if kept.fresh:
            journal.remove(kept.journal)
    shards = journal.read(kept.journal) if kept.journal else ()
    known = ("version", "dtype")
    journal.check_same(shards, run, but=known)
    before = journal.batches(shards)
    numbers = asked.worker.of(count, before)
    if not numbers:  # all is done, or there are more processes than batches
        if shards:
            run |= {name: shards[0].run.get(name) for name in known}
            journal.check_same(shards, run)
        return _Result(run, asked.origin, before)
    total = sum(len(counting.batch(number)) for number in asked.worker.of(count, ()))
    left = sum(len(counting.batch(number)) for number in numbers)
    crop = counting.preprocessing.crop
    found = asked.found
    with ExitStack() as stack:
        bars = Bars()
        with bars.busy(f"Starting {asked.framework}"):
            logits = stack.enter_context(
                predicting(asked.framework, found.spec, found.params, (3, crop, crop), asked.conditions)
            )
        run |= {"version": logits.version, "dtype": logits.dtype}
        journal.check_same(shards, run)
        add = None
        if kept.journal:
            add = stack.enter_context(journal.appending(kept.journal, asked.worker.rank, run, asked.origin))
        advance = stack.enter_context(bars.counting(f"Evaluating with {asked.framework}", total, total - left))
        for counted in counting.run(numbers, logits, before.values()):
            if add:
                add(counted)
            before[counted.batch] = counted
            advance(len(counting.batch(counted.batch)))
    return _Result(run, asked.origin, before)


@dataclass(frozen=True, slots=True)
class _Result:
    """Batches by number, and what they are of."""

    run: Mapping[str, Any]
    origin: Mapping[str, Any]
    counted: "Mapping[int, Counted]"


def _whole(folder: Path) -> _Result:
    """What all processes have counted.

    Raises:
        InputError: there is no journal, its files are of several evaluations, or batches are missing.
    """
    from conformance.evaluate import journal
    from conformance.evaluate.evaluation import batch_count
    from weights import InputError

    shards: Sequence[Shard] = journal.read(folder)
    if not shards:
        raise InputError(f"{folder}: has no journal (rank-0.jsonl, ...)")
    one = shards[0]
    journal.check_same(shards, one.run)
    counted = journal.batches(shards)
    count = batch_count(one.run["images"], one.run["batch"])
    if len(counted) < count:
        first = next(number for number in range(count) if number not in counted)
        raise InputError(
            f"{folder}: {count - len(counted)} of {count} batches are missing, the first is {first}; run the processes "
            "again, or copy their files there"
        )
    return _Result(one.run, one.origin, counted)


def _finish(result: _Result, path: Path | None) -> None:
    """Prints the result, and writes it.

    Raises:
        InputError: not one photograph could be read.
    """
    from conformance.evaluate.evaluation import Evaluated
    from conformance.recording import this_machine
    from conformance.report.evaluation import lines, to_dict
    from weights import InputError

    found = Evaluated.of(result.counted.values())
    for name, why in found.skipped:
        say(message(f"senet: skipped: {name}: {why}"), err=True)
    if not found.images:
        raise InputError(f"none of the {len(found.skipped)} photographs can be read")
    for line in lines(found, result.run):
        say(shown(line), err=is_stdout(path))
    if path:
        deliver(path, json.dumps(to_dict(found, result.run, result.origin, this_machine()), indent=1))
    if found.skipped:
        click.get_current_context().exit(1)
