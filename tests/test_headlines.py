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


def example(name, *options):
    """What an example prints."""
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    return subprocess.run([sys.executable, path, *options], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_shortcuts_make_a_hundred_layers_trainable():
    options = ("--data", "fashion-mnist", "--depth", "110", "--examples", "12000", "--epochs", "2")
    shown = example("residual_or_plain", *options)
    residual, plain = (float(re.findall(r"(\d+\.\d+)% in", part)[-1]) for part in shown.split("plain, ")[:2])
    assert residual >= 60, shown
    assert plain <= 20, shown


@pytest.mark.slow
def test_an_lstm_adds_where_a_simple_network_does_not():
    shown = example("adding_problem")
    long, short = (float(percent) for percent in re.findall(r"(\d+\.\d)% right", shown))
    assert long >= 99, shown
    assert short < 30, shown


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_an_lstm_adds_from_the_command_line(seed):
    result = CliRunner().invoke(app, ["train", "lstm", "--seed", str(seed)])
    assert float(BEST.search(result.output)[1]) >= 99, result.output


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_embedded_reber_grammar(cell):
    options = ["--task", "reber", "--examples", "20000", "--epochs", "3", "--learning-rate", "0.01"]
    result = CliRunner().invoke(app, ["train", cell, *options])
    whole = float(re.findall(r"whole strings (\S+)", result.output)[-1])
    assert whole >= 0.99, result.output


@pytest.mark.slow
def test_unseen_dates_are_translated():
    result = CliRunner().invoke(app, ["train", "seq2seq"])
    assert float(BEST.search(result.output)[1]) >= 99, result.output


@pytest.mark.slow
def test_a_model_of_characters_knows_more_than_single_characters():
    shown = example("write_text")
    bits = [float(number) for number in re.findall(r"(\d+\.\d+) bits", shown)]
    assert bits[0] > 4 > 2.4 > bits[-1], shown


AVERAGE = re.compile(r"ln p of a test image (-\d+\.\d\d) on average \((\S+) to (\S+)\)")
MACHINE = ["train", "rbm", "--data", "mnist", "--hidden", "500", "--batch-size", "100"]
FROM_THE_DATA = ["--epochs", "20", "--learning-rate", "0.05", "--momentum", "0.9", "--weight-decay", "0.001"]
PERSISTENT = ["--persistent", "--epochs", "30", "--learning-rate", "0.05", "--temperatures", "20000", "--chains", "300"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "wanted"), [([*FROM_THE_DATA, "--temperatures", "14500"], -130.0), (PERSISTENT, -93.0)]
)
def test_how_probable_images_are(options, wanted):
    """Salakhutdinov and Murray 2008, 500 hidden units (quoted from memory): -125.53 by CD-1, -86.34 by CD-25."""
    result = CliRunner().invoke(app, [*MACHINE, *options])
    average, low, high = map(float, AVERAGE.search(result.output).groups())
    assert high > average > wanted, result.output
    assert average - low < 3, result.output


@pytest.mark.slow
def test_a_deep_belief_network_is_pre_trained_and_fine_tuned():
    """Error after the last epoch, not the best: 1.25% by up-down in the paper of 2006, 1.15% by backpropagation."""
    options = ["--data", "mnist", "--sizes", "784,500,500,2000", "--epochs", "30", "--dropout", "0.2"]
    result = CliRunner().invoke(app, ["train", "dbn", *options])
    assert result.exit_code == 0, result.output
    assert 100 - float(re.search(r"^test accuracy (\d+\.\d+)%", result.output, re.MULTILINE)[1]) <= 1.4


@pytest.mark.slow
def test_digits_are_generated(tmp_path):
    shown = example("generate_digits", tmp_path / "digits.png")
    assert int(re.search(r"(\d+)% of the digits that it generates", shown)[1]) >= 75, shown
