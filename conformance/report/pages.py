"""Makes pages from the templates beside this file: self-contained, in one look, light or dark as the reader has it."""

from pathlib import Path

from conformance.report.titles import error_in_words
from weights.errors import printable


def rendered(template: str, **values: object) -> str:
    """A page in HTML; nothing is fetched when it is opened.

    Args:
        template: the name of a file beside this one.
        values: by their names in it; what it has no value for is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["error"] = error_in_words
    return environment.get_template(template).render(**values)


def _printable(value: object) -> object:
    """What a page shows: texts from anywhere without control characters, what is markup already as it is."""
    return printable(value) if type(value) is str else value
