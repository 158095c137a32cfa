"""`jaxnets train NETWORK`: train one of the library's networks on real data, with an epoch table."""

import typer

from jaxnets.cli.train.convolutional import train_cnn, train_lenet5
from jaxnets.cli.train.dbm import train_dbm
from jaxnets.cli.train.dbn import train_dbn
from jaxnets.cli.train.deep import train_alexnet, train_inception, train_resnet
from jaxnets.cli.train.engine import with_engine
from jaxnets.cli.train.hopfield import train_hopfield
from jaxnets.cli.train.mlp import train_mlp
from jaxnets.cli.train.rbm import train_rbm
from jaxnets.cli.train.recurrent import train_birnn, train_gru, train_lstm, train_rnn
from jaxnets.cli.train.seq2seq import train_seq2seq
from jaxnets.cli.train.textcnn import train_textcnn

train = typer.Typer(help="Train a network.", no_args_is_help=True)


@train.callback()
def networks() -> None:
    """Train a network on real data, on whatever device JAX finds."""


train.command("mlp")(with_engine(train_mlp))
train.command("cnn")(with_engine(train_cnn))
train.command("lenet5")(with_engine(train_lenet5))
train.command("alexnet")(with_engine(train_alexnet))
train.command("inception")(with_engine(train_inception))
train.command("resnet")(with_engine(train_resnet))
train.command("rnn")(with_engine(train_rnn))
train.command("lstm")(with_engine(train_lstm))
train.command("gru")(with_engine(train_gru))
train.command("birnn")(with_engine(train_birnn))
train.command("textcnn")(with_engine(train_textcnn))
train.command("seq2seq")(with_engine(train_seq2seq))
train.command("rbm")(with_engine(train_rbm))
train.command("hopfield")(train_hopfield)
train.command("dbn")(with_engine(train_dbn))
train.command("dbm")(with_engine(train_dbm))
