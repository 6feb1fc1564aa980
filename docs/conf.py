"""Sphinx configuration. Build the site with: sphinx-build -W docs docs/_build"""

project = "tui-trainer"
author = "the tui-trainer authors"
project_copyright = author

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # links such as measurements.md#teaching

html_theme = "alabaster"
html_theme_options = {
    "description": "Fine-tune language models in the terminal",
    "page_width": "1240px",  # tables are wide
    "body_max_width": "1000px",
}
html_show_sourcelink = False
