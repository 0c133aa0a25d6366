"""A hook of MkDocs: links of a page that lead outside the site become what setup.py makes of them."""

from pathlib import Path, PurePosixPath
from runpy import run_path

from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
setup = run_path(str(ROOT / "setup.py"))


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """The page's text; what stands in docs/ is linked by MkDocs itself, which checks it."""
    folder = PurePosixPath("docs", page.file.src_uri).parent
    return setup["outward"](markdown, folder, inside=PurePosixPath("docs"), base=setup["repository"]())
