"""The options of every network that is trained down a gradient: they work, and what does not fit is said."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxnets.cli import app

SMALL = ("mlp", "--train-size", 500, "--sizes", "784,12,10", "--epochs", 2)
ADAM = (*SMALL, "--optimizer", "adam", "--learning-rate", 0.01)


def run(*arguments):
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, " ".join(result.output.replace("│", " ").split())


def losses(text):
    return [float(found) for found in re.findall(r"loss (\S+)", text)]


def trained(*arguments):
    result, text = run(*arguments)
    assert result.exit_code == 0, text
    return losses(text), text


def test_an_ensemble_has_a_row_for_each_member_and_a_member_is_the_network_of_its_seed(tmp_path):
    log = tmp_path / "log.jsonl"
    _, text = trained(*ADAM, "--ensemble", 3, "--seed", 4, "--spread", 2, "--log", log)
    for seed, rate in ((4, "0.005"), (5, "0.01"), (6, "0.02")):
        assert re.search(rf"{seed} {rate} \d", text), text
    assert "test accuracy of 3 networks: mean" in text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [len(line["test accuracy"]) for line in lines] == [3, 3]
    alone, _ = trained(*ADAM, "--seed", 4, "--learning-rate", 0.005)
    np.testing.assert_allclose([line["loss"][0] for line in lines], alone, rtol=1e-3)


def test_members_that_diverge_are_counted_and_all_of_them_end_it():
    steep = (*SMALL, "--cost", "cross-entropy", "--activation", "relu", "--ensemble", 2)
    _, text = trained(*steep, "--learning-rate", 1e9, "--spread", 1e10)
    assert "1 not finite" in text
    assert "of 1 networks" in text
    result, text = run(*steep, "--learning-rate", 1e19)
    assert result.exit_code == 1
    assert "stopped: no member's" in text


def test_training_stops_when_the_validation_set_becomes_no_better():
    # With no step at all nothing becomes better.
    _, text = trained(*ADAM[:-1], 0, "--epochs", 9, "--validation", 100, "--patience", 1)
    assert "400 training" in text
    assert "stopped after epoch 3 of 9: it had become no better" in text
    assert re.search(r"chosen by the validation set: epoch 1, validation accuracy \S+%, test accuracy", text)


def test_options_reach_the_training():
    """What must not change the losses does not, and what must does."""
    plain, _ = trained(*ADAM)
    for same in (("--micro-batch", 5), ("--stream", 2), ("--average", 0.5), ("--by-equations",), ("--clip", 1e9)):
        np.testing.assert_allclose(trained(*ADAM, *same)[0], plain, rtol=2e-3, err_msg=str(same))
    for other in (("--weight-decay", 0.5), ("--clip", 1e-9), ("--schedule", "cosine"), ("--optimizer", "nesterov")):
        assert abs(trained(*ADAM, *other)[0][-1] - plain[-1]) > 0.01 * plain[-1], other
    narrow, _ = trained(*ADAM, "--bfloat16")
    assert 0 < abs(narrow[-1] - plain[-1]) < 0.1 * plain[-1]


def test_plain_descent_by_the_kernel_is_that_by_optax():
    kernel, _ = trained(*SMALL)
    np.testing.assert_allclose(trained(*SMALL, "--average", 0.9)[0], kernel, rtol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--validation", 500), "--validation is 500, there are 500 training images"),
        (("--validation", 495), "--batch-size is 10, there are 5 training images"),
        (("--patience", 2), "--patience wants examples to judge by: --validation"),
        (
            ("--micro-batch", 3),
            "--micro-batch is 3, wanted a divisor of every batch: 10 examples, and the last 0 of 500",
        ),
        (("--batch-size", 8, "--micro-batch", 8), "8 examples, and the last 4 of 500"),
        (("--resume",), "--resume and --fallback want the directory of a run: --checkpoints"),
        (("--skip-bad-steps", "--trace-bad-steps"), "one of them fits"),
        (("--log", "/proc/no/log"), "--log cannot be written to"),
        (("--checkpoints", "/proc/no/run"), "--checkpoints cannot be written to"),
        (("--spread", 2), "--spread is for the step sizes of an --ensemble"),
        (("--ensemble", 2, "--checkpoints", "run"), "--checkpoints is for one network"),
        (("--ensemble", 2, "--skip-bad-steps"), "--skip-bad-steps is for one network"),
        (("--ensemble", 2, "--validation", 100, "--patience", 1), "--patience is for one network"),
        (("--ensemble", 0), "--ensemble"),
        (("--average", 1), "--average"),
        (("--stream", 1), "--stream"),
        (("--optimizer", "sgdd"), "'sgd', 'momentum', 'nesterov', 'adagrad', 'rmsprop', 'adadelta', 'adam'"),
    ],
)
def test_what_does_not_fit_is_said(options, message):
    result, text = run(*SMALL, *options)
    assert result.exit_code == 2
    assert message in text


def test_a_network_that_reads_from_the_end_cannot_tell_what_comes_next():
    result, text = run("birnn", "--task", "reber")
    assert result.exit_code == 2
    assert "temporal-order, copy and mnist-rows fit" in text


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        pytest.param(("birnn", "--examples", 4000, "--epochs", 2), 70, marks=pytest.mark.slow),
        (("birnn", "--task", "mnist-rows", "--cell", "gru", "--units", 8, "--examples", 200, "--epochs", 1), 5),
        pytest.param(("textcnn", "--filters", 16, "--epochs", 4), 60, marks=pytest.mark.slow),
    ],
)
def test_networks_that_read_all_of_a_text(options, reached):
    _, text = trained(*options)
    assert float(text.split("best ")[-1].split("%")[0]) >= reached


def test_a_network_with_batch_normalisation_takes_no_parts_of_batches():
    result, text = run("resnet", "--train-size", 64, "--micro-batch", 8)
    assert result.exit_code == 2
    assert "--micro-batch wants a loss that is a mean over examples" in text


NETWORKS = "mlp", "cnn", "lenet5", "alexnet", "inception", "resnet", "rnn", "lstm", "gru", "birnn", "textcnn", "seq2seq"


@pytest.mark.parametrize("network", NETWORKS)
def test_every_option_of_every_network_is_explained(network):
    result, _ = run(network, "--help")
    assert result.exit_code == 0
    found = re.findall(r"^[│ ]+\*?\s*--([a-z0-9-]+)(.*)$", result.output, re.MULTILINE)
    assert {"ensemble", "stream", "validation", "resume", "epochs"} <= {name for name, _ in found}
    for name, rest in found:
        said = re.sub(r"\[.*?\]|--\S+|<[^>]*>|[A-Z]{3,}|[│|]", " ", rest)
        assert len(re.findall(r"[a-z]+", said)) >= 2, (name, rest)
