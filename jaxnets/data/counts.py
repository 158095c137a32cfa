"""The check that the generators of data share."""


def check_at_least(function: str, argument: str, value: int, least: int) -> None:
    """Raise ValueError, which names the function and the argument, when the value is below the least one."""
    if value < least:
        raise ValueError(f"{function}: {argument} is {value}, wanted at least {least}")
