"""The package's description: README.md with links that lead somewhere from a page that is not in the repository.

The repository's address is stated once, as ``Repository`` of ``project.urls`` in pyproject.toml. Where it is not, links
to files become their words. All else about the package is in pyproject.toml.
"""

import posixpath
import re
import tomllib
from pathlib import Path, PurePosixPath

from setuptools import setup

ROOT = Path(__file__).parent


def repository() -> str:
    """The address of the repository's files, "" where it is not stated."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    return f"{urls['Repository'].rstrip('/')}/blob/main" if "Repository" in urls else ""


def outward(text: str, folder: PurePosixPath, *, inside: PurePosixPath | None = None, base: str = "") -> str:
    """Markdown whose links to files of the repository are absolute, or mere words where its address is not stated.

    Args:
        text: of a page.
        folder: of that page, in the repository.
        inside: a folder of the repository; links to files in it stay as they are.
        base: the address of the repository's files, "" where it is not stated.
    """

    def made(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return found[0]
        whole = PurePosixPath(posixpath.normpath(folder / path))
        if inside and whole.is_relative_to(inside):
            return found[0]
        return f"[{words}]({base}/{whole}{mark}{anchor})" if base else words

    # Blocks of code are left alone: what looks like a link there is none.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    return "".join(part if i % 2 else re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", made, part) for i, part in enumerate(parts))


if __name__ == "__main__":
    readme = (ROOT / "README.md").read_text("utf-8")
    setup(
        long_description=outward(readme, PurePosixPath(), base=repository()),
        long_description_content_type="text/markdown",
    )
