"""How the step size goes on while a network is trained."""

import enum


class Schedule(enum.Enum):
    """How the step size goes on."""

    CONSTANT = "constant"
    COSINE = "cosine"
