"""Every equation tag stands in one document, in one docstring, and at the line that computes it."""

import ast
import collections
import io
import re
import tokenize
from pathlib import Path

from jaxnets.catalog import DERIVATIONS

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "jaxnets").rglob("*.py"))
TAG = re.compile(r"\(([A-Z]{2}\d+)\)")
DISPLAY = re.compile(r"\\tag\{([A-Z]{2}\d+)\}")


def in_documents():
    return collections.Counter(
        tag for path in sorted((ROOT / "derivations").glob("*.md")) for tag in DISPLAY.findall(path.read_text())
    )


def in_module_docstrings():
    """Where an equation is stated: only module docstrings state them, the others may refer to them."""
    return collections.Counter(
        tag
        for path in SOURCES
        for tag in set(TAG.findall(ast.get_docstring(ast.parse(path.read_text())) or ""))
        if tag_is_stated(path, tag)
    )


def tag_is_stated(path, tag):
    """In a module's docstring a tag states an equation if a formula follows it on an indented line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return any(re.search(rf"^ +.*\({tag}\) +\S", line) for line in text.splitlines())


def in_comments():
    tags = set()
    for path in SOURCES:
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT:
                tags.update(TAG.findall(token.string))
    return tags


def test_every_tag_stands_in_a_document_a_docstring_and_at_a_line():
    documents, docstrings, comments = in_documents(), in_module_docstrings(), in_comments()
    assert set(documents) == set(docstrings) == comments
    assert len(documents) > 100


def test_no_tag_stands_twice():
    assert [tag for tag, count in in_documents().items() if count > 1] == []
    assert [tag for tag, count in in_module_docstrings().items() if count > 1] == []


def test_the_catalog_names_only_equations_of_its_document():
    for entry in DERIVATIONS:
        tags = set(DISPLAY.findall((ROOT / entry.document).read_text()))
        assert set(entry.equations) <= tags, entry.name


def test_every_gradient_of_ops_and_nets_is_in_the_catalog():
    """Each tag of a rule's backward pass belongs to some derivation; only forward equations may stand alone."""
    listed = {tag for entry in DERIVATIONS for tag in entry.equations}
    for path in SOURCES:
        if not {"ops", "nets", "kernels"} & set(path.parts):
            continue
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_backward"):
                comments = "\n".join(line.partition("#")[2] for line in lines[node.lineno : node.end_lineno])
                tags = set(TAG.findall(comments))
                assert tags <= listed, node.name
