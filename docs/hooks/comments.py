"""An extension of Griffe: the comment behind a field of a record is its description."""

import re
from pathlib import Path

import griffe


class Comments(griffe.Extension):
    """Attributes without a docstring get the comment of their line."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """Called once for each attribute."""
        if attr.docstring is None and attr.endlineno is not None and isinstance(attr.parent, griffe.Class):
            line = attr.lines_collection[Path(str(attr.filepath))][attr.endlineno - 1]
            if found := re.search(r"\s#\s(?!noqa|type:)(.+)$", line):
                said = found[1].strip()
                sentence = said[0].upper() + said[1:].rstrip(".") + "."
                attr.docstring = griffe.Docstring(sentence, lineno=attr.lineno, parent=attr)
