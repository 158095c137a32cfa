"""Every document is executed, cell by cell: its equations are asserted by the library itself."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxnets.catalog import DERIVATIONS

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
    assert text.count("```{code-cell}") == len(CELL.findall(text)), "a cell in another form would not be run"
    names = {"__name__": document.stem}
    for match in CELL.finditer(text):
        line = text.count("\n", 0, match.start(1))
        exec(compile("\n" * line + match[1], str(document), "exec"), names)


def test_every_document_is_listed_and_every_derivation_has_one():
    stems = {document.stem for document in DOCUMENTS}
    index = (DOCUMENTS[0].parent / "index.md").read_text()
    assert all(f"\n{stem}\n" in index for stem in stems - {"index"})
    assert {Path(entry.document).stem for entry in DERIVATIONS} <= stems


@pytest.mark.slow
def test_documents_build_to_html_without_a_warning(tmp_path):
    source = DOCUMENTS[0].parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-d",
            tmp_path / "trees",
            source,
            tmp_path / "html",
        ],
        check=True,
    )
    assert (tmp_path / "html" / "mlp.html").is_file()
