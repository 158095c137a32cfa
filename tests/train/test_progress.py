"""The console's view: plain lines into a file, a bar on a terminal."""

import io
import subprocess
import sys

import pytest

from jaxnets.train import Epoch, epoch_progress

EPOCHS = [
    Epoch(1, 0.5, {"accuracy": 0.75}, 1.5),
    Epoch(2, 0.25, {"accuracy": 0.875}, 1.25),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def show():
    with epoch_progress(2) as on_epoch:
        for epoch in EPOCHS:
            on_epoch(epoch)


def test_a_pipe_or_file_gets_one_plain_line_an_epoch(capsys):
    show()
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/2  loss 5.0000e-01  accuracy 0.75  1.50 s",
        "epoch 2/2  loss 2.5000e-01  accuracy 0.875  1.25 s",
    ]


def test_a_long_line_is_not_broken_and_names_are_not_markup(capsys):
    metrics = {f"[b]metric_{i}[/b]": 0.125 for i in range(30)}
    with epoch_progress(1) as on_epoch:
        on_epoch(Epoch(1, 0.5, metrics, 1.0))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.count("[/b] 0.125") == 30


def test_a_terminal_gets_the_lines_and_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show()
    text = terminal.getvalue()
    assert "epoch 1/2  loss 5.0000e-01  accuracy 0.75  1.50 s" in text
    assert "epoch 2/2  loss 2.5000e-01  accuracy 0.875  1.25 s" in text
    assert "2/2" in text.replace("epoch 2/2", "")
    assert "\x1b[" in text


def test_an_error_in_training_passes_through():
    with pytest.raises(FloatingPointError, match="boom"), epoch_progress(2):
        raise FloatingPointError("boom")


def test_the_loop_does_not_import_rich():
    code = "import sys, jaxnets.train; assert not any(m.split('.')[0] == 'rich' for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
