"""The battery: one check a module, each a function `check(problem, level) -> list[Row]`.

A check that has nothing to say about a problem raises `NotApplicable`, with the reason.
"""
