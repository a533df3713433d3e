"""How a page is put together: jinja2 templates, one shared look, and a content policy that allows nothing else.

Text is escaped by the template, style and scripts are allowed by their SHA-256 alone, and nothing is ever fetched.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

HERE = Path(__file__).parent


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, *, style: str = "", script: str = "", **fields: Any) -> str:
    """A whole page as text.

    Args:
        template: file in this folder, an extension of base.html.
        style: CSS after the shared look.
        script: JavaScript, run at the end of the body; none by default, and then none may run.
        fields: what the template names.

    Raises ValueError for a script or style that would end its own element.
    """
    css = (HERE / "look.css").read_text(encoding="utf-8") + style
    for name, source in (("style", css), ("script", script)):
        if f"</{name}" in source.lower():
            raise ValueError(f"the page's {name} holds '</{name}', which would end it; expected it split or escaped.")
    allowed = Markup(policy(css, script))
    page = _environment().get_template(template)
    return page.render(policy=allowed, style=Markup(css), script=Markup(script), **fields)


def policy(style: str, script: str) -> str:
    """The content policy of a page with this style and script."""
    scripts = f"'sha256-{_digest(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; script-src {scripts}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def embedded(value: Any) -> Markup:
    """JSON that no HTML parser can leave: "<", ">" and "&" are escapes in its strings. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
