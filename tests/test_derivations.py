"""Every document is executed, cell by cell: its equations are asserted by the library itself."""

import re
from pathlib import Path

import jax
import pytest

DOCUMENTS = sorted((Path(__file__).parent.parent / "derivations").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def float64():
    """The documents switch float64 on for good; the tests after them must not notice."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("float64")
def test_document_runs(document):
    text = document.read_text()
    names = {"__name__": document.stem}
    for match in CELL.finditer(text):
        line = text.count("\n", 0, match.start(1))
        exec(compile("\n" * line + match[1], str(document), "exec"), names)


def test_there_is_a_document_for_every_derivation():
    assert len(DOCUMENTS) >= 6
