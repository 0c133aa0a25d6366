"""A run as JUnit XML, which every CI server reads."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from conformance.adapters import title_of
from conformance.judge.verdict import Comparison, Verdict
from conformance.report.run import Run
from conformance.report.titles import error_in_words
from weights.errors import in_a_line


def to_junit(run: Run) -> str:
    """A suite for each framework and comparison, a case for each tensor.

    A tensor above its bound is a failure. A framework that failed is one error, one that is absent one skipped case.
    """
    root = Element("testsuites", name="senet compare")
    for comparison in run.comparisons:
        for name, found in comparison.results.items():
            root.append(_suite(run, comparison, name, found))
    for element in root.iter():  # XML cannot hold control characters; names and the last words of a crash may
        element.attrib = {key: in_a_line(value) for key, value in element.attrib.items()}
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(run: Run, comparison: Comparison, name: str, found: Verdict) -> Element:
    dtype = found.dtype or comparison.dtype
    place = f"{name}.{comparison.what}.{dtype}"
    suite = Element("testsuite", name=place, time=f"{found.seconds:.3f}")
    facts = {
        "framework": title_of(name),
        "version": found.version,
        "network": comparison.network,
        "input": ", ".join("x".join(map(str, shape)) for shape in comparison.shapes),
        "asked": comparison.dtype,
        "bound": str(found.bound),
        "command": run.command,
    }
    properties = SubElement(suite, "properties")
    for key, value in facts.items():
        SubElement(properties, "property", name=key, value=value)
    place = f"{comparison.network}.{place}"
    # A layer may be wrong in the pass of the gradients, whose outputs are not among what is compared.
    shown = {**dict.fromkeys(found.wrong_layers, 0.0), **found.errors}
    for tensor, error in shown.items():
        case = SubElement(suite, "testcase", classname=place, name=tensor)
        wrong = [] if error <= found.bound else [f"error {error_in_words(error)}, bound {error_in_words(found.bound)}"]
        if tensor in found.wrong_layers:
            wrong.append(f"the layer by itself is off by {found.layers[tensor]:.2g} times what rounding can explain")
        if wrong:
            SubElement(case, "failure", message="; ".join(wrong), type="disagreed")
    for tensor in found.missing:
        SubElement(SubElement(suite, "testcase", classname=place, name=tensor), "skipped", message="not answered")
    if found.message:
        kind = {"absent": "skipped", "failed": "error"}.get(found.status, "failure")
        case = SubElement(suite, "testcase", classname=place, name="answer")
        SubElement(case, kind, message=found.message)
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    return suite
