"""How a check says that it has nothing to say."""


class NotApplicable(Exception):
    """The reason why a check does not apply to a problem."""
