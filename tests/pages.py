"""What every page of the dashboard must be, and the page as a person reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HANDLER = re.compile(r"(data-)?(hx-)?on")  # onclick, hx-on:click ...


class Page(HTMLParser):
    """The elements of a page that the rules speak of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.flaws: list[str] = []
        self.headings = 0
        self.lang: str | None = None
        self.title = ""
        self.ids: list[str] = []
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        given = dict(attrs)
        self.flaws += [f"<{tag} {name}>" for name in given if name == "style" or HANDLER.match(name)]
        if tag == "style" or (tag == "script" and not (given.get("src") or "").startswith("/static/")):
            self.flaws.append(f"<{tag}>")
        self.headings += tag == "h1"
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "html":
            self.lang = given.get("lang")
        self._in_title = self._in_title or tag == "title"

    def handle_endtag(self, tag: str) -> None:
        """Leave the title."""
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data: str) -> None:
        """Read the title."""
        self.title += data if self._in_title else ""


def flaws(text: str) -> list[str]:
    """Return what is wrong with a page: inline code or styles, its language, title or headings, an id given twice."""
    page = Page(text)
    found = list(page.flaws)
    if page.headings != 1:
        found.append(f"{page.headings} h1")
    if page.lang != "en":
        found.append(f"lang {page.lang}")
    if not re.fullmatch(r".+ · Ringback", page.title.strip()):
        found.append(f"title {page.title!r}")
    return found + sorted({f"id {id} twice" for id in page.ids if page.ids.count(id) > 1})


def words(text: str) -> str:
    """Return a page as a person reads it: without tags, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())
