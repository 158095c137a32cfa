"""`jaxnets train NETWORK`: train one of the library's networks on real data, with an epoch table."""

import typer

from jaxnets.cli.train.convolutional import train_cnn, train_lenet5
from jaxnets.cli.train.deep import train_alexnet, train_inception, train_resnet
from jaxnets.cli.train.mlp import train_mlp
from jaxnets.cli.train.recurrent import train_gru, train_lstm, train_rnn
from jaxnets.cli.train.seq2seq import train_seq2seq

train = typer.Typer(help="Train a network.", no_args_is_help=True)


@train.callback()
def networks() -> None:
    """Train a network on real data, on whatever device JAX finds."""


train.command("mlp")(train_mlp)
train.command("cnn")(train_cnn)
train.command("lenet5")(train_lenet5)
train.command("alexnet")(train_alexnet)
train.command("inception")(train_inception)
train.command("resnet")(train_resnet)
train.command("rnn")(train_rnn)
train.command("lstm")(train_lstm)
train.command("gru")(train_gru)
train.command("seq2seq")(train_seq2seq)
