"""The package as a whole: light to import, and its README true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jaxnets
from jaxnets.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_import_is_light():
    """No plotting, command line, data set, optimizer or checkpoint library comes with the networks and the verifier."""
    loaded = set(python("import sys, jaxnets; jaxnets.nets.mlp.apply, jaxnets.verify.rules; print(*sys.modules)"))
    assert {"jaxnets.nets.mlp", "jaxnets.verify.battery"} <= loaded
    assert "jaxnets.nets.resnet" not in loaded
    heavy = {"optax", "flax", "orbax", "chex", "typer", "rich", "pooch", "matplotlib", "scipy.optimize"}
    assert not {name for name in loaded if name.split(".")[0] in heavy}
    assert "jaxnets.cli" not in loaded
    assert "jaxnets.data" not in loaded


def test_an_unknown_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jaxnets' has no attribute 'layers'"):
        jaxnets.layers  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'jaxnets.nets' has no attribute 'perceptron'"):
        jaxnets.nets.perceptron  # noqa: B018


def test_the_example_of_the_readme_prints_what_it_says(tmp_path):
    example, printed = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL).groups()
    path = tmp_path / "example.py"
    path.write_text(example)
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip() == printed.rstrip()
    assert len([line for line in example.splitlines() if line.strip()]) <= 10


SHORT = {
    "contrastive_divergence": ("--epochs", "1", "--temperatures", "1000", "--picture", "here.png"),
    "adding_problem": ("--length", "12", "--examples", "400"),
    "hopfield_capacity": ("--trials", "6", "--picture", "here.png"),
    "residual_or_plain": ("--depth", "8", "--epochs", "1", "--examples", "640", "--picture", "here.png"),
    "vanishing_gradients": ("--steps", "50", "--images", "50", "--picture", "here.png"),
    "translate_dates": ("--epochs", "1", "--examples", "640", "--picture", "here.png"),
    "write_text": ("--epochs", "1", "--units", "16", "--characters", "20000"),
}
"""Arguments for the examples that take minutes without them."""

LONG = {
    *("contrastive_divergence", "finding_structure", "flax_layer", "generate_digits", "look_into_a_network"),
    *("multihost", "optax_loop", "residual_or_plain", "translate_dates", "vanishing_gradients", "write_text"),
}
"""Examples that take long whatever their arguments are."""

EXAMPLES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in sorted((ROOT / "examples").glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_examples_run(path, tmp_path):
    command = [sys.executable, str(path), *SHORT.get(path.stem, ())]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)


def test_the_command_line_verifies_the_derivation_of_an_example():
    result = CliRunner().invoke(app, ["verify", str(ROOT / "examples" / "check_your_derivation.py")])
    assert result.exit_code == 0, result.output
    assert "1 of 1 derivations ok" in result.output
