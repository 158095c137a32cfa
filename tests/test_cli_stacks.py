"""`jaxnets train dbn` and `dbm`: what they print, draw, and refuse; small, and a few epochs."""

import re

import pytest
from typer.testing import CliRunner

from jaxnets.cli import app
from jaxnets.cli.train import dbm

SMALL = ("--train-size", "1000", "--batch-size", "20", "--pretrain-epochs", "12", "--epochs", "12")


def run(*arguments):
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def errors_of_layers(text):
    return {layer: float(error) for layer, error in re.findall(r"RBM \d of (\S+ and \S+) units: .* error (\S+)", text)}


def test_a_deep_belief_network_by_backpropagation(tmp_path):
    path = tmp_path / "samples.png"
    shown = run(
        "dbn", *SMALL, "--sizes", "784,64,32", "--dropout", "0.1", "--learning-rate", "0.003", "--picture", path
    )
    assert shown.exit_code == 0, shown.output
    errors = errors_of_layers(shown.output)
    assert set(errors) == {"784 and 64", "64 and 32"}
    assert errors["784 and 64"] < 30
    assert float(re.search(r"test accuracy (\S+)%", shown.output)[1]) > 70
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.training
def test_a_deep_belief_network_by_up_down(tmp_path):
    path = tmp_path / "samples.png"
    options = ("--fine-tuning", "up-down", "--optimizer", "sgd", "--learning-rate", "0.01", "--picture", path)
    shown = run("dbn", *SMALL, "--sizes", "784,64,48", *options)
    assert shown.exit_code == 0, shown.output
    assert set(errors_of_layers(shown.output)) == {"784 and 64", "74 and 48"}
    assert float(re.search(r"test accuracy (\S+)%", shown.output)[1]) > 70
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.training
def test_a_deep_boltzmann_machine(tmp_path):
    path = tmp_path / "samples.png"
    options = ("--epochs", "4", "--fine-tuning", "12", "--temperatures", "100", "--picture", path)
    shown = run("dbm", *SMALL, "--sizes", "784,64,48", *options)
    assert shown.exit_code == 0, shown.output
    assert set(errors_of_layers(shown.output)) == {"784 and 64", "64 and 48"}
    bound = float(re.search(r"ln p of a test image, pixels drawn: at least (\S+) on average", shown.output)[1])
    assert -203 < bound < -80, "better than independent pixels, and possible"
    assert float(re.search(r"test accuracy (\S+)%", shown.output)[1]) > 70
    assert path.read_bytes().startswith(b"\x89PNG")


def test_fine_tuning_that_is_not_finite_ends_with_a_word(monkeypatch):
    monkeypatch.setattr(dbm, "FINE_TUNING_RATE", 1e38)
    options = ("--train-size", "100", "--pretrain-epochs", "1", "--epochs", "1", "--temperatures", "2")
    shown = run("dbm", *options, "--sizes", "784,4,3")
    assert shown.exit_code == 1
    assert "stopped: " in shown.output


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        ("dbn", ("--sizes", "784"), "wanted at least 2 positive numbers"),
        ("dbn", ("--sizes", "700,10"), "wanted 784 first"),
        ("dbn", ("--sizes", "784,ten"), "wanted numbers"),
        ("dbn", ("--labels", "50"), "--labels is 50, wanted 100"),
        ("dbn", ("--fine-tuning", "up-down", "--sizes", "784,30"), "wanted at least 3 positive numbers"),
        ("dbn", ("--fine-tuning", "up-down", "--dropout", "0.5"), "are for backpropagation"),
        ("dbm", ("--sizes", "784,30"), "wanted at least 3 positive numbers"),
    ],
)
def test_what_is_refused(network, options, said):
    refused = run(network, *options)
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.replace("│", " ").split())
