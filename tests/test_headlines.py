"""The results a reader expects, on full MNIST and Fashion-MNIST, from the command line and from the examples."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jaxnets.cli import app

BEST = re.compile(r"best (\d+\.\d+)%")


def best_accuracy(network, *options):
    result = CliRunner().invoke(app, ["train", network, "--data", "mnist", "--seed", "0", *options])
    assert result.exit_code == 0, result.output
    return float(BEST.search(result.output)[1])


@pytest.mark.slow
def test_thirty_hidden_units_quadratic_cost():
    options = ("--sizes", "784,30,10", "--optimizer", "sgd", "--learning-rate", "3.0", "--batch-size", "10")
    assert best_accuracy("mlp", "--epochs", "30", *options) >= 95.0


@pytest.mark.slow
def test_a_hundred_hidden_units_cross_entropy_and_weight_decay():
    options = ("--sizes", "784,100,10", "--cost", "cross-entropy", "--learning-rate", "0.5", "--l2", "1e-4")
    assert best_accuracy("mlp", "--epochs", "30", *options, "--train-size", "50000") >= 97.8


@pytest.mark.slow
def test_the_lenet_of_the_paper():
    options = ("--epochs", "20", "--learning-rate", "0.002", "--batch-size", "32")
    assert best_accuracy("lenet5", "--variant", "1998", *options) >= 99.05


@pytest.mark.slow
def test_todays_lenet():
    options = ("--epochs", "40", "--learning-rate", "0.002", "--batch-size", "32")
    assert best_accuracy("lenet5", *options) >= 99.2


@pytest.mark.slow
def test_shortcuts_make_a_hundred_layers_trainable():
    example = Path(__file__).parent.parent / "examples" / "residual_or_plain.py"
    options = ("--data", "fashion-mnist", "--depth", "110", "--examples", "12000", "--epochs", "2")
    shown = subprocess.run([sys.executable, example, *options], capture_output=True, text=True, check=True).stdout
    residual, plain = (float(re.findall(r"(\d+\.\d+)% in", part)[-1]) for part in shown.split("plain, ")[:2])
    assert residual >= 60, shown
    assert plain <= 20, shown
