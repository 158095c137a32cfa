"""Where the commands print."""

import sys

from rich.console import Console

#: As wide as the terminal; in a pipe or a file, wide enough that no name is folded and every line can be searched.
console = Console(width=None if sys.stdout.isatty() else 160)
