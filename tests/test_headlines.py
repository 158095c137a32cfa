"""The results a reader expects, on full MNIST: Nielsen's networks, from the command line."""

import re

import pytest
from typer.testing import CliRunner

from jaxnets.cli import app

BEST = re.compile(r"best (\d+\.\d+)%")


def best_accuracy(*options):
    result = CliRunner().invoke(app, ["train", "mlp", "--data", "mnist", "--epochs", "30", "--seed", "0", *options])
    assert result.exit_code == 0, result.output
    return float(BEST.search(result.output)[1])


@pytest.mark.slow
def test_thirty_hidden_units_quadratic_cost():
    options = ("--sizes", "784,30,10", "--optimizer", "sgd", "--learning-rate", "3.0", "--batch-size", "10")
    assert best_accuracy(*options) >= 95.0


@pytest.mark.slow
def test_a_hundred_hidden_units_cross_entropy_and_weight_decay():
    options = ("--sizes", "784,100,10", "--cost", "cross-entropy", "--learning-rate", "0.5", "--l2", "1e-4")
    assert best_accuracy(*options, "--train-size", "50000") >= 97.8
