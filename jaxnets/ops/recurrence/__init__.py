"""Rules over whole sequences, with backpropagation through time.  Derivations: derivations/rnn.md, lstm.md, gru.md."""

from jaxnets.ops.recurrence.attention_lstm import AttentionWeights as AttentionWeights
from jaxnets.ops.recurrence.attention_lstm import attention_lstm as attention_lstm
from jaxnets.ops.recurrence.elman import elman as elman
from jaxnets.ops.recurrence.gru import gru as gru
from jaxnets.ops.recurrence.lstm import LSTMState as LSTMState
from jaxnets.ops.recurrence.lstm import lstm as lstm
