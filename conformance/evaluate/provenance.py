"""What the numbers of an evaluation depend on, as plain data: by it a journal is known, and a result is told."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.evaluate.labelled import Labelled, digest
from weights.networks.models import to_dict
from weights.params import Checkpoint


def run_of(
    file: Path, found: Checkpoint, images: Sequence[Labelled], batch: int, max_pixels: int | None, framework: str
) -> dict[str, Any]:
    """What decides the numbers, but for the version of the framework, which only it can tell.

    Args:
        file: the checkpoint's.
        found: what it holds, with what was stated by hand.
        images: what is evaluated.
        batch: how many at a time: sums of other lengths are rounded otherwise.
        max_pixels: that an image may have.
        framework: what computes.
    """
    run = {
        "images": len(images),
        "images_sha256": digest(images),
        "batch": batch,
        "max_pixels": max_pixels,
        "weights_sha256": sha256(file),
        "spec": to_dict(found.spec),
        "preprocessing": asdict(found.info.preprocessing) if found.info.preprocessing else None,
        "labels": found.info.labels,
        "framework": framework,
    }
    return json.loads(json.dumps(run))  # as a journal gives it back


def origin_of(
    file: Path, found: Checkpoint, folder: Path, listed: Path | None, list_labels: str | None
) -> dict[str, Any]:
    """Where the numbers come from besides: the same in another place is the same evaluation."""
    info = found.info
    return {
        "weights": str(file),
        "source": info.source,
        "source_sha256": info.sha256,
        "assumed": list(info.assumed),
        "folder": str(folder),
        "list": str(listed) if listed else None,
        "list_labels": list_labels,
    }


def sha256(path: Path) -> str:
    """The checksum of a file; of a folder, that of the checksums and names of its files."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # the stub wants less
    lines = (f"{sha256(part)}  {part.relative_to(path)}\n" for part in sorted(path.rglob("*")) if part.is_file())
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
