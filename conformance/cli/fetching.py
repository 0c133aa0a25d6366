"""The command that gets trained weights: fetch."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import Command
from conformance.cli.printing import say, say_as_it_is, say_json, shown

if TYPE_CHECKING:
    from weights.hub import Source


@click.command(cls=Command)
@click.argument("name", required=False, metavar="[NAME[@ORIGIN]]")
@click.option("--from", "file", type=FILE, metavar="FILE", help="Take a file that you have, if it is one of these.")
@click.option("--mirror", metavar="URL", help="Where files of the same names are. Default: SENET_MIRROR.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache, as SENET_OFFLINE=1 does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fetch(name: str | None, file: Path | None, mirror: str | None, offline: bool, as_json: bool) -> None:
    """Get trained weights by name, once, and print the path of the file.

    They are downloaded, checked, recognised and converted to .safetensors in a cache: SENET_HOME, or where this system
    keeps caches. Every command that reads a checkpoint takes the name as well. Without NAME, the known weights are
    listed. "Proven" is whether the published file is known by its whole sha256; what is not is taken only if it has the
    structure of the network.
    """
    from weights import hub

    if name is None and file is None:
        _list(as_json)
        return
    with options.warnings_in_a_line():
        if file is not None:
            source, path = hub.take(file, name)
            said = f"{shown(file)}: is {source.file}, the weights of {source.network} by {source.origin}"
            say(f"{said} ({source.licence}); known {source.known_by}", err=True)
        else:
            source, path = hub.find(name or ""), hub.fetch(name or "", mirror=mirror, offline=offline)
    if as_json:
        say_json({**_to_dict(source), "cached": str(path)})
    else:
        say_as_it_is(f"{path}\n")


def _list(as_json: bool) -> None:
    from weights import hub

    if as_json:
        say_json([_to_dict(source) for source in hub.sources()])
        return
    header = ("name", "file", "MB", "licence", "from", "proven", "cached")
    lines = [
        (
            source.name,
            source.file,
            f"{source.size / 1e6:.1f}" if source.size else "unknown",
            source.licence,
            urlsplit(source.address or source.page).netloc + ("" if source.address else ", by hand"),
            source.proven,
            "yes" if hub.cached(source) else "no",
        )
        for source in hub.sources()
    ]
    options.say_table(header, lines, spare=("file", "from", "licence", "MB"))
    say(f"\ncache: {shown(hub.home())}")


def _to_dict(source: "Source") -> dict[str, Any]:
    from weights import hub

    path = hub.cached(source)
    return {"name": source.name, **asdict(source), "proven": source.proven, "cached": path and str(path)}
