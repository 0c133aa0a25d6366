"""Runs for machines and for pull requests: JUnit XML, which every CI server reads, and a whole report in Markdown.

What a run is, as a dict, stands in ``conformance.record`` and, field by field, in docs/formats.md.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from conformance.report.table import HEADER, agreed, rows, title_of
from conformance.report.table import markdown as table


def junit(run: Mapping[str, Any]) -> str:
    """A suite for each framework and comparison, a case for each tap.

    A tap above its bound is a failure; a framework that broke down is one error, one that is absent one skipped case.
    """
    root = ElementTree.Element("testsuites", name="senet compare")
    for comparison in run["comparisons"]:
        for name, found in comparison["frameworks"].items():
            dtype = found["dtype"] or comparison["dtype"]
            suite = ElementTree.SubElement(
                root, "testsuite", name=f"{name}.{comparison['what']}.{dtype}", time=f"{found['seconds']:.3f}"
            )
            properties = ElementTree.SubElement(suite, "properties")
            for key, value in (
                ("framework", title_of(name)),
                ("version", found["version"]),
                ("network", comparison["network"]),
                ("input", "x".join(map(str, comparison["shape"]))),
                ("bound", str(found["bound"])),
                ("command", run["command"]),
            ):
                ElementTree.SubElement(properties, "property", name=key, value=value)
            place = f"{comparison['network']}.{name}.{comparison['what']}.{dtype}"
            for tap, error in found["taps"].items():
                case = ElementTree.SubElement(suite, "testcase", classname=place, name=tap)
                if not _within(error, found["bound"]):
                    said = f"error {_number(error)}, bound {_number(found['bound'])}"
                    ElementTree.SubElement(case, "failure", message=said, type="disagreed")
            if found["message"]:
                kind = {"absent": "skipped", "failed": "error"}.get(found["status"], "failure")
                case = ElementTree.SubElement(suite, "testcase", classname=place, name="answer")
                # XML has no place for control characters, which last words may hold.
                said = "".join(c if c.isprintable() else " " for c in found["message"])
                ElementTree.SubElement(case, kind, message=said)
            for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
                suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
            suite.set("tests", str(len(suite.findall("testcase"))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(run: Mapping[str, Any]) -> str:
    """The agreement table, where each framework that disagrees first does, and how to run it again."""
    checkpoint, seen = run["checkpoint"], run["input"]
    verdict = "all agree" if agreed(run) else "they do not all agree"
    facts = (
        ("checkpoint", f"`{checkpoint['file']}`" + (f", {checkpoint['note']}" if checkpoint["note"] else "")),
        ("sha256", f"`{checkpoint['sha256']}`" if checkpoint["sha256"] else "not known"),
        ("input", f"{seen['what']}, {'x'.join(map(str, seen['shape']))}"),
        ("versions", ", ".join(f"{name} {found}" for name, found in run["machine"]["versions"].items())),
        ("again", f"`{run['command']}`"),
    )
    lines = [
        f"# {run['network']['name']}: {verdict}",
        "",
        table(HEADER, [tuple(map(_cell, row)) for row in rows(run)]),
        "",
    ]
    for title, around in _divergences(run):
        lines += [f"## {title}", "", table(("tap", "error"), around), ""]
    return "\n".join([*lines, table(("", ""), facts)]) + "\n"


def _divergences(run: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each framework with a first divergent tap, the errors around it."""
    for comparison in run["comparisons"]:
        for name, found in comparison["frameworks"].items():
            if first := found["first_divergent"]:
                errors = list(found["taps"].items())
                at = list(found["taps"]).index(first)
                title = f"{title_of(name)}, {comparison['what']} in {found['dtype']}: first at {first}"
                yield title, [(f"`{tap}`", _number(error)) for tap, error in errors[max(at - 2, 0) : at + 4]]


def _within(error: float | None, bound: float) -> bool:
    return error is not None and error <= bound


def _number(value: float | None) -> str:
    return f"{value:.1e}" if value is not None and math.isfinite(value) else "not a number"


def _cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
