"""Renders the pages: no script, nothing from elsewhere, and not a word that a caller chose."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from authapi.html.operations import read

FOLDER = Path(__file__).parent / "templates"
STYLE = (FOLDER / "style.css").read_text()
_STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; "
    f"style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MAX_ADDRESSES = 8
"""Of this machine, by which the page is read."""
_CODE = re.compile("`([^`]+)`")


def _with_code(text: str) -> Markup:
    """What stands between backticks is shown as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # is escaped


_environment = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_environment.globals["style"] = Markup(STYLE)  # noqa: S704  # it is ours
_environment.filters["code"] = _with_code


class Page(Response):
    """HTML under a policy that lets nothing run and nothing load."""

    media_type = "text/html"

    def __init__(self, content: str) -> None:
        super().__init__(content, headers=HEADERS)


def landing(document: dict[str, Any], is_ready: bool, has_metadata: bool) -> Page:
    values = {"info": document["info"], "is_ready": is_ready, "has_metadata": has_metadata}
    return Page(_render("landing.html", values))


class Docs:
    """The description as a page. It is rendered once for each address at which it is read, since
    that takes as long as a hundred requests, and anybody may ask for it."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self._content = lru_cache(MAX_ADDRESSES)(self._render)

    def page(self, base_url: str) -> Page:
        return Page(self._content(base_url))

    def _render(self, base_url: str) -> str:
        document = self._document()
        values = {"info": document["info"], "tags": read(document, base_url), "base_url": base_url}
        return _render("docs.html", values)


def _render(name: str, values: Mapping[str, Any]) -> str:
    return _environment.get_template(name).render(values)
