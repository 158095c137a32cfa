"""Sphinx configuration: `sphinx-build -W derivations derivations/_build`."""

project = "jaxnets"
copyright = "the jaxnets authors"
extensions = ["myst_nb"]
myst_enable_extensions = ["amsmath", "dollarmath"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
html_theme = "furo"
html_title = "jaxnets"
exclude_patterns = ["_build", "jupyter_execute"]
