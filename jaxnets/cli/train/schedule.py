"""How the step size goes on while a network is trained."""

import enum


class Schedule(enum.Enum):
    """How the step size goes on."""

    CONSTANT = "constant"
    COSINE = "cosine"


def steps_in(epochs: int, examples: int, batch_size: int) -> int:
    """How many steps `fit` takes, and a schedule has: the last batch of an epoch may be a smaller one."""
    return epochs * -(-examples // batch_size)
