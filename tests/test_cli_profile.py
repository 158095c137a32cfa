"""`jaxnets train NETWORK --profile`: the table, and that training goes on."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jaxnets.cli import app
from jaxnets.cli.train.profile import profile_table
from jaxnets.train import Flops, Memory, Profile, profile

MEMORY = Memory(arguments=3 << 20, outputs=2048, temporary=1 << 25, aliased=1024, device_peak=1 << 30)


def rows(table):
    text = io.StringIO()
    Console(file=text, width=120).print(table)
    title, _, *lines = text.getvalue().splitlines()
    cells = ([cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines)
    return title.strip(), {cell[0]: cell[1:] for cell in cells if len(cell) > 1}


def test_the_table_of_a_step():
    title, shown = rows(profile_table(Profile(1, Flops(2_000_000), 0.004, 1.5, MEMORY, 1e10), 64))
    assert title == "a step of 64 examples"
    assert shown == {
        "": ["a step"],
        "time": ["4 ms"],
        "FLOP of products and convolutions": ["2 M"],
        "FLOP/s achieved": ["500 M"],
        "of the measured peak of matrix products": ["5.0%"],
        "that peak, FLOP/s": ["10 G"],
        "peak memory": ["35 MiB"],
        "arguments: state and batch": ["3072 KiB"],
        "temporary": ["32 MiB"],
        "outputs": ["2 KiB"],
        "of them in place of arguments": ["1 KiB"],
        "most held on the device so far": ["1024 MiB"],
        "time to compile": ["1.5 s"],
    }


def test_a_call_of_several_updates_is_told_from_one_of_them():
    title, shown = rows(profile_table(Profile(20, Flops(1999, exact=False), 9.9996e-4, 0.0, None, 1e10), 200))
    assert title == "20 updates, 200 examples, in one call"
    assert shown[""] == ["a call", "an update"]
    assert shown["time"] == ["1 ms", "50 µs"]
    assert shown["FLOP of products and convolutions"] == ["about 2 k", "about 100"]
    assert "peak memory" not in shown


@pytest.mark.parametrize(("optimizer", "title"), [("sgd", "20 updates, 200 examples"), ("adam", "a step of 10 ex")])
def test_training_goes_on_after_it(monkeypatch, optimizer, title):
    monkeypatch.setattr(profile, "matmul_peak", lambda: 1e12)
    options = ("--profile", "--epochs", "1", "--train-size", "500", "--sizes", "784,12,10", "--optimizer", optimizer)
    result = CliRunner().invoke(app, ["train", "mlp", *options], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    before, after = result.output.split("time to compile")
    assert title in before
    assert "FLOP/s achieved" in before
    assert "epoch 1/1" in after
