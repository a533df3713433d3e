"""Sphinx: the site of `make docs`."""

import re
import sys

import matplotlib

from dmdlab import __version__

matplotlib.use("Agg")
sys.dont_write_bytecode = True

project, author, release = "dmdlab", "The dmdlab authors", __version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]
suppress_warnings: list[str] = []
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"dmdlab {release}"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "github-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00588a", "color-brand-content": "#00588a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
}

SPECIAL = re.compile(r"([\\*|])|(?<=\w)_(?=\W|$)")
TOGETHER = re.compile(r"^(\s+)(\w+(?:, \w+)+):")
"""Several arguments that are told of in one line: 'n, d: rows and dimension'."""

HEADS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:", "Example:", "Note:")


def as_plain(line: str) -> str:
    """A line whose bars, stars and trailing underscores are themselves; code in backticks stays code."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(p if p.startswith("`") else SPECIAL.sub(lambda m: "\\" + m[0], p) for p in parts)


def literal(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with formulas on indented lines: say so to Sphinx, before napoleon reads the heads."""
    found: list[str] = []
    in_head = formula = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and not indent:
            in_head, formula = line.strip() in HEADS, False
        if indent and not in_head and not formula:
            formula = True
            found += ["", "::", ""]
        if in_head:  # one name to Sphinx, which would take the first for the second's type
            line = TOGETHER.sub(lambda m: f"{m[1]}{m[2].replace(', ', ',')}:", line)
        found.append(line if formula else as_plain(line))
    lines[:] = found


def short(
    app: object, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A signature that is no Python, as one with a default <factory>, is shown as it stands: with the short names."""
    if signature is None or "<" not in signature:
        return signature, returns
    return re.sub(r"~(?:\w+\.)*(\w+)", r"\1", signature), returns


def setup(app: object) -> None:
    """Before napoleon, whose own listener has the priority 500."""
    app.connect("autodoc-process-docstring", literal, priority=400)  # type: ignore[attr-defined]
    app.connect("autodoc-process-signature", short)  # type: ignore[attr-defined]
