"""Sphinx configuration: `make docs`."""

project = "flashfftconv"
author = "The flashfftconv authors"
copyright = "2026, the flashfftconv authors"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "breathe", "myst_parser"]
html_theme = "furo"
html_title = "flashfftconv"
exclude_patterns = ["_build"]

napoleon_google_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"

breathe_projects = {"flashfftconv": "_build/doxygen/xml"}
breathe_default_project = "flashfftconv"
