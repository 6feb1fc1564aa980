"""Sphinx configuration. Build the site with: sphinx-build -W docs docs/_build"""

project = "tui-trainer"
author = "the tui-trainer authors"
project_copyright = author

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # links such as measurements.md#teaching
suppress_warnings: list[str] = []

html_theme = "alabaster"
html_theme_options = {"description": "Fine-tune language models in the terminal"}
html_show_sourcelink = False
