"""The command line, by its exit status and what it prints."""

import json
import re
import shutil
import sys

import pytest
from typer.testing import CliRunner

from jaxnets.catalog import DERIVATIONS
from jaxnets.cli import app, workers
from jaxnets.verify import BATTERY, Level

RIGHT = """
import jax
import jax.numpy as jnp
from jaxnets.rule import rule
from jaxnets.verify import Derivation

def cube_forward(x):
    return x**3, x

def cube_backward(x, y_bar):
    return ({factor} * x**2 * y_bar,)

cube = rule(cube_forward, cube_backward)
derivations = [Derivation("cube", cube, lambda key: (jax.random.normal(key, (3,)),), "cube.md", ("CU1",))]
"""


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_verify_some_by_name_and_by_group():
    result = run("verify", "affine", "sigmoid")
    assert result.exit_code == 0
    for name in ("affine", "activations/sigmoid", "activations/sigmoid/prime", "activations/sigmoid/second"):
        assert name in result.output
    assert "4 of 4 derivations ok" in result.output


def test_verify_writes_every_row_as_json(tmp_path):
    path = tmp_path / "report.json"
    assert run("verify", "affine", "--json", path).exit_code == 0
    record = json.loads(path.read_text())
    assert record["ok"] is True
    (entry,) = record["derivations"]
    assert (entry["title"], entry["equations"]) == ("affine", ["AF1", "AF2", "AF3", "AF4"])
    checks = {row["check"] for row in entry["rows"]} | set(entry["not_applicable"])
    assert checks == {check.__name__ for check in BATTERY}
    at_the_input = [row for row in entry["rows"] if row["check"] in ("call_sites", "against_autodiff")]
    assert len(at_the_input) >= 6
    assert all(row["error"] <= 1e-12 for row in at_the_input)


def test_verify_writes_a_page(tmp_path):
    source, page = tmp_path / "mine.py", tmp_path / "report.html"
    source.write_text(RIGHT.format(factor=2))
    assert run("verify", "affine", source, "--html", page).exit_code == 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "1 of 2 derivations ok" in text
    assert text.count('class="derivation') == 2


def test_full_tries_more_than_quick(tmp_path):
    rows = {}
    for options in ((), ("--full",)):
        path = tmp_path / f"report{len(options)}.json"
        assert run("verify", "affine", "--json", path, *options).exit_code == 0
        (entry,) = json.loads(path.read_text())["derivations"]
        rows[options] = len(entry["rows"])
        assert ("Level.FULL" in entry["reproduce"]) == bool(options)
    assert rows[("--full",)] > rows[()]


def test_an_error_that_is_not_a_number_is_the_worst(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RIGHT.format(factor="float('nan')"))
    result = run("verify", "affine", path)
    assert result.exit_code == 1
    assert "worst error nan" in result.output


@pytest.mark.parametrize(("factor", "status"), [(3, 0), (2, 1)])
def test_verify_a_users_file(tmp_path, factor, status):
    path = tmp_path / "mine.py"
    path.write_text(RIGHT.format(factor=factor))
    result = run("verify", path)
    assert result.exit_code == status
    assert "cube" in result.output
    if status:
        assert "WRONG: rule cube, input 0" in result.output
        assert "first wrong equation: rule cube, input 0 (found by call_sites)" in result.output
        assert "diagnosis: off by the constant factor 0.666667" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("x = 1", "declares no jaxnets.verify.Derivation"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("import sys; sys.exit()", "cannot be imported: SystemExit"),
        (
            "import jax.numpy as jnp\nfrom jaxnets.verify import Derivation\n"
            "d = Derivation('plain', jnp.tanh, lambda key: (jnp.ones(3),), 'plain.md', ['A1'])",
            "plain cannot be verified: ValueError",
        ),
    ],
)
def test_a_file_that_declares_nothing_is_bad_usage(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    result = run("verify", path)
    assert result.exit_code == 2
    assert message in plain(result)


def test_an_unknown_name_is_bad_usage():
    result = run("verify", "afine")
    assert result.exit_code == 2
    assert "no derivation is called 'afine'" in result.output


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_file_needs_a_folder_before_anything_runs(option, tmp_path):
    result = run("verify", "affine", option, "/nowhere/report")
    assert result.exit_code == 2
    assert f"{option}: there is no folder" in result.output
    result = run("verify", "affine", option, tmp_path)
    assert result.exit_code == 2
    assert "is a directory" in result.output


def test_list_has_them_all():
    result = run("list")
    assert result.exit_code == 0
    assert all(entry.name in result.output and entry.document in result.output for entry in DERIVATIONS)


def test_data_says_what_there_is(monkeypatch, tmp_path):
    result = run("data")
    assert result.exit_code == 0
    assert "mnist-small" in result.output
    assert "6000" in result.output
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03")
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    result = run("data", "mnist")
    assert result.exit_code == 1
    assert "t10k-images-idx3-ubyte" in result.output


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--optimizer", "adam", "--learning-rate", "0.01", "--cost", "softmax", "--activation", "relu"),
        ("--batch-size", "7", "--l2", "0.001", "--cost", "cross-entropy", "--weights", "glorot"),
    ],
)
def test_train_prints_a_line_for_each_epoch_and_the_accuracy(options):
    result = run("train", "mlp", "--epochs", 2, "--train-size", 1000, "--sizes", "784,12,10", *options)
    assert result.exit_code == 0
    assert "epoch 1/2" in result.output
    assert "epoch 2/2" in result.output
    accuracy = float(result.output.split("test accuracy ")[-1].split("%")[0])
    assert accuracy > 25


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("cnn", ("--train-size", 1000, "--learning-rate", 0.002, "--filters", 4, "--kernel", 9)),
        ("lenet5", ("--train-size", 300, "--learning-rate", 0.005, "--batch-size", 10)),
        ("lenet5", ("--train-size", 300, "--learning-rate", 0.005, "--variant", "1998", "--criterion", "mse")),
    ],
)
def test_train_a_convolutional_network(network, options):
    result = run("train", network, "--epochs", 2, "--schedule", "constant", *options)
    assert result.exit_code == 0
    assert "epoch 2/2" in result.output
    accuracy = float(result.output.split("test accuracy ")[-1].split("%")[0])
    assert accuracy > 25


@pytest.mark.parametrize(
    ("network", "options"),
    [
        pytest.param("alexnet", ("--width", 0.05), marks=pytest.mark.slow),
        pytest.param("inception", ("--width", 4), marks=pytest.mark.slow),
        ("resnet", ("--shortcut", "projection", "--depth", 8)),
    ],
)
def test_train_a_deep_network(network, options):
    result = run("train", network, "--epochs", 1, "--train-size", 64, "--schedule", "constant", *options)
    assert result.exit_code == 0
    assert "epoch 1/1" in result.output
    assert "test accuracy " in result.output


@pytest.mark.parametrize(
    ("network", "options", "reached"),
    [
        pytest.param("lstm", ("--length", 20, "--memory", 20, "--examples", 40_000), 98, marks=pytest.mark.slow),
        pytest.param("gru", ("--examples", 6000, "--epochs", 2, "--batch-size", 20), 99, marks=pytest.mark.slow),
        ("rnn", ("--examples", 1000, "--epochs", 2, "--layers", 2, "--learning-rate", 0.005), 25),
        ("gru", ("--task", "temporal-order", "--examples", 200, "--epochs", 1), 0),
        ("lstm", ("--task", "copy", "--length", 5, "--examples", 200), 0),
    ],
)
def test_train_a_recurrent_network(network, options, reached):
    """The adding problem, the embedded Reber grammar, MNIST row by row; and that the others run."""
    result = run("train", network, *options)
    assert result.exit_code == 0
    assert float(result.output.split("best ")[-1].split("%")[0]) >= reached


SHORT_RUN = ("train", "mlp", "--train-size", 500, "--sizes", "784,12,10", "--optimizer", "adam")


def test_a_run_goes_on_from_its_checkpoints_and_keeps_a_record(tmp_path):
    kept = ("--checkpoints", tmp_path / "run", "--log", tmp_path / "run.jsonl", "--tensorboard", tmp_path / "board")
    whole = run(*SHORT_RUN, "--epochs", 3, *kept)
    assert whole.exit_code == 0, whole.output
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2].keys() == {"epoch", "loss", "seconds", "skipped", "test accuracy"}
    assert any((tmp_path / "board").iterdir())

    for epoch in (2, 3):
        shutil.rmtree(tmp_path / "run" / str(epoch))
    again = run(*SHORT_RUN, "--epochs", 3, *kept)
    assert again.exit_code == 2
    assert "--resume goes on from them" in plain(again)
    resumed = run(*SHORT_RUN, "--epochs", 3, *kept, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "epoch 1/3" not in resumed.output
    more = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()][3:]
    assert [line["loss"] for line in more] == [line["loss"] for line in lines[1:]]
    longer = run(*SHORT_RUN, "--epochs", 4, *kept, "--resume")
    assert "epoch 4/4" in longer.output
    assert "epoch 3/4" not in longer.output
    other = run(*SHORT_RUN, "--epochs", 3, *kept, "--resume", "--seed", 1)
    assert other.exit_code == 2
    assert "seed is 0 there, 1 here" in plain(other)


def plain(result):
    """The words of a message, without the frame around it."""
    return " ".join(result.output.replace("│", " ").split())


def test_train_to_write_backwards():
    result = run(
        "train", "seq2seq", "--no-attention", "--examples", 640, "--units", 8, "--epochs", 1, "--task", "reversal"
    )
    assert result.exit_code == 0
    assert "exact" in result.output
    assert len(re.findall(r"'[a-z]{1,10}' -> '[a-z]*'", result.output)) == 5


@pytest.mark.training
def test_train_to_translate_dates():
    """A third of the default's examples, and half of its units: most unseen dates are right."""
    smaller = ("--examples", 6400, "--units", 32, "--features", 16, "--batch-size", 32, "--learning-rate", 0.01)
    result = run("train", "seq2seq", *smaller)
    assert result.exit_code == 0
    assert float(result.output.split("best ")[-1].split("%")[0]) >= 80
    assert len(re.findall(r"' -> '\d{4}-\d\d-\d\d'", result.output)) == 5


def test_train_a_model_of_characters():
    result = run("train", "gru", "--task", "characters", "--length", 200, "--units", 16, "--epochs", 1)
    assert result.exit_code == 0
    assert "bits a character" in result.output
    assert len(result.output.split("s of training\n")[-1].strip()) > 100


def test_train_to_remember(tmp_path):
    picture = tmp_path / "digits.png"
    options = ("--patterns", "10,20", "--noise", "0,0.2", "--picture", picture)
    result = run("train", "hopfield", *options)
    assert result.exit_code == 0, result.output
    rows = [re.findall(r"(\d\.\d{3}) \((\d+)%\)", line) for line in result.output.splitlines()]
    assert [row for row in rows if row] == [[("1.000", "100")] * 2] * 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    correlated = run("train", "hopfield", "--storage", "hebb", "--patterns", "10", "--noise", "0")
    assert "(0%)" in correlated.output


LIKELIHOOD = re.compile(r"ln p of a test image (-\d+\.\d\d) on average \((\S+) to (\S+)\)")


@pytest.mark.training
@pytest.mark.parametrize(
    "options",
    [
        ("--cd-steps", 2, "--sparsity", 0.1, "--means", "--schedule", "constant"),
        pytest.param(("--persistent",), marks=pytest.mark.slow),
    ],
)
def test_train_without_labels(options, tmp_path):
    picture, kept = tmp_path / "rbm.png", ("--checkpoints", tmp_path / "run")
    small = ("train", "rbm", "--hidden", 12, "--train-size", 1000, *options, *kept, "--temperatures")
    result = run(*small, 500, "--epochs", 6, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert "test pseudo-log-likelihood" in result.output
    likelihood, low, high = map(float, LIKELIHOOD.search(result.output).groups())
    # Pixels that know nothing of each other reach -203, with their means over the whole training set.
    assert -200 < likelihood < -100
    assert low < likelihood < high < likelihood + 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = run(*small, 400, "--epochs", 6, "--resume")
    assert again.exit_code == 0, again.output
    assert "epoch 1/6" not in again.output
    assert abs(float(LIKELIHOOD.search(again.output)[1]) - likelihood) < 2


def test_a_picture_without_matplotlib_is_bad_usage(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("train", "hopfield", "--picture", "digits.png")
    assert result.exit_code == 2
    assert "pip install 'jaxnets[plot]'" in plain(result)


def test_training_stops_at_a_loss_that_is_not_finite():
    result = run(
        "train", "mlp", "--cost", "cross-entropy", "--activation", "relu", "--learning-rate", 1e19, "--epochs", 1
    )
    assert result.exit_code == 1
    assert "at epoch 1, step" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mlp", "--sizes", "784,10,x"), "wanted numbers such as"),
        (("mlp", "--sizes", "784"), "at least two"),
        (("mlp", "--sizes", "100,10"), "wanted 784 first"),
        (("mlp", "--train-size", "7000"), "mnist-small has 6000"),
        (("mlp", "--batch-size", "6001"), "there are 6000"),
        (("mlp", "--epochs", "0"), "--epochs"),
        (("mlp", "--optimizer", "sgdd"), "--optimizer"),
        (("cnn", "--kernel", "4"), "wanted an odd number below 28"),
        (("cnn", "--batch-size", "6001"), "there are 6000"),
        (("lenet5", "--variant", "1989"), "--variant"),
        (("lstm", "--clip", "-1"), "--clip"),
        (("rbm", "--persistent", "--means"), "--persistent chains are drawn"),
        (("rbm", "--batch-size", "6001"), "there are 6000"),
        (("hopfield", "--patterns", "10,x"), "wanted numbers such as 10,50"),
        (("hopfield", "--patterns", "0,10"), "--patterns is 0,10, wanted 1 to"),
        (("hopfield", "--noise", "nan"), "--noise is nan, wanted parts of the pixels, 0 to 1"),
        (("hopfield", "--noise", "0.1,1.5"), "--noise is 0.1,1.5, wanted parts of the pixels, 0 to 1"),
        (("seq2seq", "--examples", "10"), "--batch-size is 64, there are 10 training pairs"),
    ],
)
def test_bad_options_are_bad_usage(options, message):
    result = run("train", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_many_derivations_are_verified_in_order_by_several_processes(monkeypatch):
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 2)
    chosen = [entry for entry in DERIVATIONS if entry.name.startswith("activations/") and "relu" in entry.name]
    chosen += [entry for entry in DERIVATIONS if entry.name.startswith("activations/linear")]
    assert len(chosen) > workers.EACH
    found = list(workers.reports(chosen, 0, Level.QUICK))
    assert [report.title for report in found] == [entry.name for entry in chosen]
    assert all(report.ok for report in found)
